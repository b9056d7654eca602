package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/pipeline/filter"
)

func newCheck(c *cli) *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Load the configuration and name every mistake, with its place",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			loaded := configs.Load(configs.Options{File: c.config})
			set, faults := filter.New(loaded.Filters)
			for i := range loaded.Filters {
				faults = append(faults, loaded.Filters[i].Check(set)...)
			}
			errs := append(loaded.Errors, faults...)
			configs.Report(c.stderr, errs)
			if len(loaded.Warnings) > 0 {
				fmt.Fprintln(c.stderr, "Warnings:")
				configs.Report(c.stderr, loaded.Warnings)
			}
			if effective {
				if err := loaded.Effective(c.stdout); err != nil {
					return err
				}
			}
			if len(errs) > 0 {
				return quiet{fmt.Errorf("%w: %d mistakes", errUsage, len(errs))}
			}
			if !effective {
				c.printf("configuration is right: %d listeners, %d jails, %d filters\n", len(loaded.Config.Listen), len(loaded.Config.Jails), len(loaded.Filters))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&effective, "effective", false, "print every value with the place it comes from")
	return cmd
}
