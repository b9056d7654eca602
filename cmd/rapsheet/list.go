package main

import (
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func newList(c *cli) *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use:   "list",
		Short: "List the bans that run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var bans []event.Ban
			if err := c.call(cmd.Context(), "GET", "/v1/bans", nil, &bans); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(bans)
			}
			return c.printBans(bans, time.Now())
		},
	})
}

func (c *cli) printBans(bans []event.Ban, now time.Time) error {
	if len(bans) == 0 {
		c.printf("nobody is banned\n")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	tab := &cli{stdout: w}
	tab.printf("OFFENDER\tJAIL\tLEFT\tTRAFFIC\tSTRIKE\tWHY\n")
	for i := range bans {
		b := &bans[i]
		left := "for ever"
		if !b.Until.Equal(event.Forever) {
			left = span(b.Until.Sub(now))
		}
		traffic := "all"
		if b.Ports {
			traffic = "ports"
		}
		if b.Observed {
			traffic = "observed"
		}
		why := plain(b.Reason)
		if b.Sender != "" {
			why += ", NOT enforced on " + plain(b.Sender)
		}
		tab.printf("%s\t%s\t%s\t%s\t%d\t%s\n", offender(b.Prefix), b.Jail, left, traffic, b.Strike, why)
	}
	return w.Flush()
}
