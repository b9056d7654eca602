package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/sinks/ipset"
	"github.com/rapsheet/rapsheet/web"
)

func newShow(c *cli) *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use:   "show ADDRESS|PREFIX",
		Short: "The rap sheet: who, why, since when, until when, and the lines",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parsePrefix(args[0])
			if err != nil {
				return err
			}
			var s sheet
			err = c.call(cmd.Context(), "GET", "/v1/offenders/"+p.String(), nil, &s)
			switch {
			case errors.Is(err, web.ErrNoDaemon):
				return c.showAlone(p)
			case err != nil:
				return err
			case c.json:
				return c.printJSON(s)
			}
			c.printSheet(&s, time.Now())
			return nil
		},
	})
}

func format(d time.Duration) string { return value.FormatDuration(d) }

func (c *cli) printSheet(s *sheet, now time.Time) {
	if s.Never != "" {
		c.printf("%s is never banned: %s\n", s.Query, plain(s.Never))
	}
	for i, o := range s.Offenders {
		if i > 0 {
			c.printf("\n")
		}
		c.printOffence(s, o, now)
	}
	if s.Off != "" {
		c.printf("\nnothing is enforced: %s\n", plain(s.Off))
	}
	if len(s.NotProtected) > 0 {
		c.printf("\nenforced here, NOT on %s: run rapsheet there too\n", plain(strings.Join(s.NotProtected, ", ")))
	}
}

func (c *cli) printOffence(s *sheet, o *offence, now time.Time) {
	state := "not banned"
	if len(o.Running) > 0 {
		b := &o.Running[0]
		for i := range o.Running {
			if o.Running[i].Until.After(b.Until) {
				b = &o.Running[i]
			}
		}
		state = "BANNED " + until(b, now) + ", " + traffic(b)
		if b.Observed || s.Off != "" {
			state = "would be " + state
		}
	}
	c.printf("%-14s %s\n", offender(o.Prefix), state)
	for i := range o.Running {
		b := &o.Running[i]
		c.printf("%-14s %s%s\n", "why", plain(b.Reason), strike(b))
	}
	for _, t := range o.Tiers {
		c.printf("%-14s %d of %d %s within %s\n", t.Jail, t.Sum, t.Limit, t.What, t.FindTime)
	}
	if len(o.Log) > 0 {
		c.printf("\n")
	}
	for i := range o.Log {
		c.printf("%s  %s\n", stamp(o.Log[i].At), history(&o.Log[i]))
	}
	if len(o.Lines) > 0 {
		c.printf("\n")
	}
	for i := range o.Lines {
		x := &o.Lines[i]
		from := x.Host
		if x.Sender != "" {
			from += " (" + x.Sender + ")"
		}
		c.printf("%s  %s %s: %s\n", stamp(x.Time), plain(from), plain(x.Program), plain(x.Line))
	}
	if len(o.Running) > 0 {
		c.printf("\nlet in         rapsheet unban %s\n", offender(o.Prefix))
	}
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func traffic(b *event.Ban) string {
	if b.Ports {
		return "the jail's ports"
	}
	return "all traffic"
}

func strike(b *event.Ban) string {
	if b.Strike == 0 {
		return ""
	}
	return fmt.Sprintf(", strike %d", b.Strike)
}

// history writes one entry of the ban log.
func history(b *event.Ban) string {
	switch {
	case b.Lifted:
		s := b.Jail + ": lifted by " + plain(b.By)
		if b.Reason != "" {
			s += ": " + plain(b.Reason)
		}
		return s
	case b.Observed:
		return "would ban: " + plain(b.Reason)
	}
	length := "for ever"
	if !b.Until.Equal(event.Forever) {
		length = span(b.Until.Sub(b.Issued).Round(time.Second))
	}
	s := fmt.Sprintf("ban %s, %s%s: %s", length, traffic(b), strike(b), plain(b.Reason))
	if b.By != "" {
		s += " (" + plain(b.By) + ")"
	}
	return s
}

// showAlone answers from the kernel's sets.
func (c *cli) showAlone(p netip.Prefix) error {
	out := sheet{Query: offender(p), Off: "no daemon runs: this is what the kernel holds", NotProtected: []string{}, Offenders: []*offence{}}
	now := time.Now()
	err := ipset.List(func(e ipset.Entry) bool {
		b := event.Ban{Prefix: e.Prefix, Jail: e.Jail, Ports: e.Ports, Until: now.Add(e.Left), Reason: "kernel set of jail " + e.Jail}
		if e.Left == 0 {
			b.Until = event.Forever
		}
		if covers(p)(&b) {
			out.Banned = true
			out.Offenders = append(out.Offenders, &offence{Prefix: e.Prefix, Running: []event.Ban{b}, Log: []event.Ban{}, Tiers: []tierSum{}, Lines: []exhibit{}})
		}
		return true
	})
	switch {
	case err != nil:
		return err
	case !out.Banned:
		return fmt.Errorf("%w: no kernel set holds %s (no daemon runs, so the rap sheet can't be read)", web.ErrNotFound, offender(p))
	case c.json:
		return c.printJSON(&out)
	}
	for _, o := range out.Offenders {
		b := &o.Running[0]
		c.printf("%s is banned in jail %s, %s, %s in the kernel\n", offender(o.Prefix), b.Jail, traffic(b), until(b, now))
	}
	c.printf("%s\n", out.Off)
	return nil
}
