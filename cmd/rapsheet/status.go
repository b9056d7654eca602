package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/pipeline/allow"
	"github.com/rapsheet/rapsheet/receiver"
	"github.com/rapsheet/rapsheet/sinks"
	"github.com/rapsheet/rapsheet/store"
)

// A status is what rapsheet status says. Others build on its JSON: names stay.
type status struct {
	Version   string    `json:"version"`
	Host      string    `json:"host"`
	Since     time.Time `json:"since"`
	Mode      string    `json:"mode"` // enforce, observe
	Off       string    `json:"off"`  // why nothing is enforced; empty: enforcing
	Protected bool      `json:"protected"`
	Warnings  []string  `json:"warnings"`

	Listeners []receiver.Stats `json:"listeners"`
	Jails     []jailStatus     `json:"jails"`
	Sets      map[string]int   `json:"sets"`     // kernel sets and how many entries each holds
	Repaired  uint64           `json:"repaired"` // how often others had changed the kernel's sets or rules, since arm or start

	BanIneffective  uint64        `json:"ban_ineffective"` // events of offenders long after their ban was applied
	BehindProxy     uint64        `json:"behind_proxy"`    // events whose address is a proxy's
	NotProtected    []string      `json:"not_protected"`   // senders on other hosts: bans set here don't protect them
	Ambiguous       uint64        `json:"ambiguous"`       // events whose address could not be told from the text around it
	NeverBanned     allow.Stats   `json:"never_banned"`
	Sinks           []sinks.Stats `json:"sinks"`
	Store           store.Stats   `json:"store"`
	EvidenceDropped uint64        `json:"evidence_dropped"` // lines a flood brought beyond what is kept
}

type jailStatus struct {
	Name     string `json:"name"`
	Bans     int    `json:"bans"`     // that run
	Observed int    `json:"observed"` // of these, decided in observe mode
	Kernel   int    `json:"kernel"`   // entries in its kernel sets
}

// tooMany ineffective events are no accident.
const ineffectiveAlarm = 5

func (d *daemon) status(ctx context.Context) (*status, error) {
	s := &status{Version: versionString(), Since: d.started, Off: d.why(), Mode: armed, Warnings: []string{}, NotProtected: []string{},
		Listeners: d.receiver.Stats(), Sets: map[string]int{}, NeverBanned: d.allow.Stats(), Sinks: d.fanout.Stats(), Store: d.store.Stats(),
		Ambiguous: d.filters.Ambiguous.Load(), EvidenceDropped: d.evidenceDropped.Load()}
	s.Host, _ = os.Hostname()
	s.BehindProxy = s.NeverBanned.BehindProxy
	if s.Off != "" {
		s.Mode = disarmed
	}
	if k := d.sink(); k != nil {
		counts, err := k.Count()
		if err != nil {
			s.Warnings = append(s.Warnings, "kernel sets can't be read: "+err.Error())
		}
		s.Sets, s.Repaired = counts, k.Repaired()
	}
	err := d.pipe.Do(ctx, func(time.Time) { s.Jails = d.jailStatus(s.Sets) })
	d.warnings(s)
	s.Protected = s.Off == "" && err == nil
	return s, err
}

func (d *daemon) jailStatus(sets map[string]int) []jailStatus {
	all := make([]jailStatus, 0, len(d.jails)+1)
	for _, j := range d.jails {
		all = append(all, jailStatus{Name: j.Name})
	}
	at := func(name string) *jailStatus {
		i := slices.IndexFunc(all, func(j jailStatus) bool { return j.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, jailStatus{Name: name})
		}
		return &all[i]
	}
	for b := range d.bans.Running {
		j := at(b.Jail)
		j.Bans++
		if b.Observed {
			j.Observed++
		}
	}
	for i := range all {
		for _, set := range []string{"-4", "-6", "-4p", "-6p"} {
			all[i].Kernel += sets["rapsheet-"+all[i].Name+set]
		}
	}
	return all
}

// warnings says what an operator should know.
func (d *daemon) warnings(s *status) {
	warn := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	if s.Off != "" {
		warn("nothing is enforced: %s", s.Off)
	}
	for _, l := range s.Listeners {
		if l.Received == 0 && time.Since(d.started) > time.Minute {
			warn("no message on %s yet: is it configured in rsyslog?", l.Name)
		}
		if n := l.Dropped["kernel"] + l.Dropped["full"]; n > 0 {
			warn("%d messages lost on %s", n, l.Name)
		}
		for _, from := range l.Senders {
			s.BanIneffective += from.Ineffective
			name := strings.TrimSpace(from.Name + " " + from.Addr)
			if name == "" {
				name = l.Name
			}
			if from.Ineffective >= ineffectiveAlarm {
				warn("still getting through at %s: other host, proxy or CDN in front, or the rule is gone", name)
			}
			if from.Addr != "" && from.Failures > 0 && d.elsewhere(from.Addr) && !slices.Contains(s.NotProtected, name) {
				s.NotProtected = append(s.NotProtected, name)
			}
		}
	}
	if len(s.NotProtected) > 0 {
		warn("bans are enforced here, NOT on %s", strings.Join(s.NotProtected, ", "))
	}
	if s.BehindProxy > 0 {
		warn("%d events carry a proxy's address: mend the service's real-IP setting", s.BehindProxy)
	}
	if s.Store.Degraded {
		warn("the store is degraded, bans are kept in memory: %s", s.Store.Reason)
	}
}

func newStatus(c *cli) *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use:   "status",
		Short: "Am I protected?",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s status
			if err := c.call(cmd.Context(), "GET", "/v1/status", nil, &s); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(&s)
			}
			return c.printStatus(&s, time.Now())
		},
	})
}

func (c *cli) printStatus(s *status, now time.Time) error {
	head := "PROTECTED"
	if !s.Protected {
		head = "NOT PROTECTED"
	}
	doing := "enforcing"
	if s.Off != "" {
		doing = "observing (" + plain(s.Off) + ")"
	}
	c.printf("%s, %d warnings   %s, %s for %s   rapsheet %s\n\n", head, len(s.Warnings), plain(s.Host), doing, span(now.Sub(s.Since)), s.Version)
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "LISTENER\tLAST\tRECEIVED\tLOST\tREFUSED\tCUT\tMALFORMED\n")
	for _, l := range s.Listeners {
		last := "never"
		if !l.Last.IsZero() {
			last = span(now.Sub(l.Last)) + " ago"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", plain(l.Name), last, l.Received, sum(l.Dropped), sum(l.Refused), l.Cut, l.Malformed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nJAIL\tBANS\tIN KERNEL\n")
	for _, j := range s.Jails {
		bans := fmt.Sprint(j.Bans)
		if j.Observed > 0 {
			bans += fmt.Sprintf(" (%d observed)", j.Observed)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\n", j.Name, bans, j.Kernel)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	n := s.NeverBanned
	c.printf("\nnever banned  %d allowed, %d proxies, %d own addresses\n", n.Allowed, n.Proxies, n.Own)
	for _, warning := range s.Warnings {
		c.printf("! %s\n", plain(warning))
	}
	if s.Off != "" {
		c.printf("to enforce: rapsheet arm\n")
	}
	return nil
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}
