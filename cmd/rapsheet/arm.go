package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/verdict"
	"github.com/rapsheet/rapsheet/sinks/ipset"
	"github.com/rapsheet/rapsheet/web"
)

// begin chooses the mode: --observe, then what arm or disarm said last, then the configuration. Without the right to
// change the kernel's sets a user's own daemon observes; root's does not start half.
func (d *daemon) begin(flag, asUser bool) error {
	mode, err := d.marks.mode()
	if err != nil || mode != "" && mode != armed && mode != disarmed {
		d.log.Warn().Err(err).Str("mode", mode[:min(len(mode), 20)]).Msg("the mark of arm and disarm is damaged: the configuration decides")
	}
	switch {
	case flag:
		d.off = "run --observe"
	case mode == disarmed:
		d.off = "disarmed"
	case mode != armed && d.cfg.Observe():
		d.off = "mode: observe"
	}
	if d.off == "" {
		err := d.enforce(d.started)
		if err != nil && asUser && errors.Is(err, ipset.ErrPermission) {
			d.off, err = "a plain user may not change the kernel's sets: run as root", nil
		}
		if err != nil {
			return err
		}
	}
	d.bans.Observe = d.off != ""
	if d.off == "" {
		return nil
	}
	// What an earlier run left in the kernel is not to go on by itself.
	if err := disarm(false); err != nil && !errors.Is(err, ipset.ErrPermission) && !errors.Is(err, ipset.ErrModules) {
		d.log.Error().Err(err).Msg("observing, but kernel rules of an earlier run may stand: rapsheet disarm removes them")
	}
	return nil
}

// enforce opens the kernel sink, fills the allow set before any ban set, and swaps all running bans in at once, those
// that were only observed so far included. Only the judge calls it, or nobody yet.
func (d *daemon) enforce(now time.Time) error {
	k, err := ipset.Open(d.cfg.Sinks.IPSet, d.jails, d.log, d.vouches()...)
	if err != nil {
		return err
	}
	if err := k.Allow(d.allow.Prefixes()); err != nil {
		k.Close()
		return err
	}
	k.Lost = func() { d.fanout.Resync(kernelSink) }
	ctx, cancel := context.WithCancel(context.Background())
	go k.Run(ctx)
	d.mu.Lock()
	d.kernel, d.endKernel, d.off = k, cancel, ""
	d.mu.Unlock()
	for _, b := range d.bans.Arm(d.observes, now) {
		d.publish(b, now, nil)
	}
	if err := k.Sync(ctx, slices.Values(d.enforced(now))); err != nil {
		d.log.Error().Err(err).Msg("kernel sets are not filled yet: trying again")
		d.fanout.Resync(kernelSink)
	}
	return nil
}

// vouches are what the listeners would have the kernel say of local senders.
func (d *daemon) vouches() (all []ipset.Vouch) {
	for _, v := range d.receiver.Vouches() {
		all = append(all, ipset.Vouch{Name: v.Listener, Addr: v.Addr, UIDs: v.UIDs, Mark: v.Mark})
	}
	return all
}

// letGo ends the kernel sink, if there is one, and leaves its sets and rules as they are.
func (d *daemon) letGo() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kernel == nil {
		return nil
	}
	d.endKernel()
	err := d.kernel.Close()
	d.kernel = nil
	return err
}

// enforced are the bans that the kernel is to hold. Only the judge calls it, or nobody yet.
func (d *daemon) enforced(now time.Time) []event.Ban {
	var all []event.Ban
	for b := range d.bans.Running {
		if b.Enforced(now) && d.inKernel(b.Jail) && !d.observes(b.Jail) && d.gate(*b) {
			all = append(all, *b)
		}
	}
	return all
}

// jail returns the jail of that name, nil for that of manual bans and for those that are configured no more.
func (d *daemon) jail(name string) *event.Jail {
	i := slices.IndexFunc(d.jails, func(j *event.Jail) bool { return j.Name == name })
	if i < 0 {
		return nil
	}
	return d.jails[i]
}

// inKernel reports whether the jail's bans go to the kernel sets.
func (d *daemon) inKernel(jail string) bool {
	j := d.jail(jail)
	return jail == verdict.Manual || j != nil && slices.Contains(j.Sinks, kernelSink)
}

// observes reports whether the jail only observes, whatever the mode of the whole.
func (d *daemon) observes(jail string) bool { j := d.jail(jail); return j != nil && j.Observe }

// arm starts enforcing: what was observed so far is enforced from now on.
func (d *daemon) arm(ctx context.Context) error {
	var err error
	run := d.pipe.Do(ctx, func(now time.Time) {
		if d.sink() == nil {
			if err = d.enforce(now); err != nil {
				return
			}
			d.log.Warn().Int("bans", d.bans.Len()).Msg("armed: bans are enforced")
		}
		err = d.marks.setMode(armed) // also where it enforces: a disarm that got no answer may have left its mark
	})
	return errors.Join(run, err)
}

// disarm stops enforcing: the rules go, new bans are only recorded.
func (d *daemon) disarm(ctx context.Context, remove bool) error {
	var err error
	run := d.pipe.Do(ctx, func(time.Time) {
		err = errors.Join(d.letGo(), disarm(remove))
		d.mu.Lock()
		d.off = "disarmed"
		d.mu.Unlock()
		d.bans.Observe = true
		d.log.Warn().Msg("disarmed: nothing is enforced until rapsheet arm")
		err = errors.Join(err, d.marks.setMode(disarmed))
	})
	return errors.Join(run, err)
}

// An enforcer is the kernel sink as the fanout sees it: there whether or not anything is enforced at the time.
type enforcer struct{ d *daemon }

// kernelSink is the name that jails use for the kernel's sets.
const kernelSink = "ipset"

func (e enforcer) Name() string { return kernelSink }

func (e enforcer) Apply(ctx context.Context, bans []event.Ban) error {
	if k := e.d.sink(); k != nil {
		return k.Apply(ctx, bans)
	}
	return nil
}

func (e enforcer) Sync(ctx context.Context, bans iter.Seq[event.Ban]) error {
	all := slices.Values(slices.Collect(bans)) // before the sink locks: see source
	if k := e.d.sink(); k != nil {
		return k.Sync(ctx, all)
	}
	return nil
}

// disarm removes rules, and sets with remove. What another process owns it can only empty.
func disarm(remove bool) error {
	done, err := ipset.Disarm(remove)
	if err == nil && done.Owned {
		err = fmt.Errorf("a living process holds the rules: the sets are emptied, but it may fill them again: end it")
	}
	return err
}

func newArm(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "arm",
		Short: "Enforce bans, after disarm or run --observe",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := c.call(cmd.Context(), "PUT", "/v1/mode", modeRequest{Mode: armed}, nil)
			if errors.Is(err, web.ErrNoDaemon) {
				if err := (marks{c.load().Store.State.S}).setMode(armed); err != nil {
					return err
				}
				c.printf("armed: the next rapsheet run enforces (none runs now)\n")
				return nil
			}
			if err == nil {
				c.printf("armed: bans are enforced. Out again: rapsheet disarm\n")
			}
			return err
		},
	}
}

func newDisarm(c *cli) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "disarm",
		Short: "Let everybody in: remove the kernel rules, with or without a running daemon",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second) // a hung daemon must not keep anybody out
			defer cancel()
			err := c.call(ctx, "PUT", "/v1/mode", modeRequest{Mode: disarmed, Remove: remove}, nil)
			if errors.Is(err, web.ErrDenied) && os.Geteuid() != 0 {
				return err
			}
			if err != nil {
				if err := c.disarmAlone(remove); err != nil {
					return err
				}
			}
			c.printf("disarmed: nobody is kept out, and run only observes until: rapsheet arm\n")
			return nil
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the sets and tables too")
	return cmd
}

// disarmAlone does without a daemon. The mark comes second, whatever became of the first: what matters most is that
// people get in.
func (c *cli) disarmAlone(remove bool) error {
	err := disarm(remove)
	if mark := (marks{c.load().Store.State.S}).setMode(disarmed); mark != nil {
		err = errors.Join(err, fmt.Errorf("the next rapsheet run would enforce again: %w", mark))
	}
	return err
}
