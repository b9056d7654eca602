package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/sinks/ipset"
	"github.com/rapsheet/rapsheet/web"
)

func newBan(c *cli) *cobra.Command {
	in := banRequest{}
	cmd := &cobra.Command{
		Use:   "ban ADDRESS|PREFIX...",
		Short: "Ban by hand",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := value.ParseDuration(in.For); err != nil {
				return fmt.Errorf("%w: --for: %w", errUsage, err)
			}
			var out change
			in.Prefixes = args
			if err := c.call(cmd.Context(), "POST", "/v1/bans", in, &out); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(out)
			}
			for i := range out.Bans {
				c.printf("%s banned %s, all traffic\n", out.Bans[i].Prefix, until(&out.Bans[i], time.Now()))
			}
			c.printState(&out)
			return nil
		},
	}
	cmd.Flags().StringVar(&in.For, "for", "1d", "how long: 10m, 1d, 1y, permanent")
	cmd.Flags().StringVar(&in.Reason, "reason", "by hand", "why, for the rap sheet")
	cmd.Flags().BoolVar(&in.Force, "force", false, "ban a prefix wider than /8 or /32 of IPv6")
	return c.jsonFlag(cmd)
}

func newUnban(c *cli) *cobra.Command {
	in := liftRequest{}
	cmd := &cobra.Command{
		Use:   "unban ADDRESS|PREFIX...",
		Short: "Lift every ban that covers an address or lies in a prefix",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Prefixes = args
			var out change
			err := c.call(cmd.Context(), "POST", "/v1/lifts", in, &out)
			if errors.Is(err, web.ErrNoDaemon) {
				return c.unbanAlone(args)
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(out)
			}
			for _, b := range out.Bans {
				c.printf("%s lifted in jail %s: what led to it scores no more\n", b.Prefix, b.Jail)
			}
			c.printState(&out)
			return nil
		},
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the rap sheet")
	return c.jsonFlag(cmd)
}

// printState says what keeps a change from being true in the kernel.
func (c *cli) printState(out *change) {
	if out.Off != "" {
		c.printf("recorded only, nothing is enforced: %s\n", plain(out.Off))
	}
	if out.Behind != "" {
		c.printf("recorded, and not yet everywhere: %s\n", plain(out.Behind))
	}
}

// unbanAlone takes the addresses out of the kernel sets and leaves the next daemon a note to do the rest.
func (c *cli) unbanAlone(args []string) error {
	prefixes, err := parsePrefixes(args)
	if err != nil {
		return err
	}
	m := marks{c.load().Store.State.S}
	var held []netip.Prefix
	err = ipset.List(func(e ipset.Entry) bool {
		if slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return covers(p)(&event.Ban{Prefix: e.Prefix}) }) {
			held = append(held, e.Prefix)
		}
		return true
	})
	if err != nil {
		return err
	}
	now := time.Now()
	for _, p := range prefixes { // first: what is interrupted below, the next daemon ends
		if err := m.addLift(p.String(), caller(os.Geteuid()), now); err != nil {
			return err
		}
	}
	removed, err := ipset.Remove(held...)
	if err != nil {
		return err
	}
	bans := []event.Ban{}
	for _, p := range held {
		bans = append(bans, event.Ban{Prefix: p, Lifted: true, At: now, By: caller(os.Geteuid())})
	}
	if c.json {
		return c.printJSON(change{Bans: bans, Off: "no daemon runs"})
	}
	c.printf("no daemon runs: removed %d entries from the kernel sets, the next rapsheet run lifts the bans\n", removed)
	return nil
}

// until says when a ban ends.
func until(b *event.Ban, now time.Time) string {
	if b.Until.Equal(event.Forever) {
		return "for ever"
	}
	return fmt.Sprintf("until %s (%s left)", b.Until.Local().Format("2006-01-02 15:04:05"), span(b.Until.Sub(now)))
}
