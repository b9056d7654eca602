package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/pipeline"
	"github.com/rapsheet/rapsheet/pipeline/allow"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/filter"
	"github.com/rapsheet/rapsheet/pipeline/header"
	"github.com/rapsheet/rapsheet/pipeline/score"
	"github.com/rapsheet/rapsheet/pipeline/session"
	"github.com/rapsheet/rapsheet/pipeline/verdict"
	"github.com/rapsheet/rapsheet/receiver"
	"github.com/rapsheet/rapsheet/sinks"
	"github.com/rapsheet/rapsheet/store"
	"github.com/rapsheet/rapsheet/web"
)

func newRun(c *cli) *cobra.Command {
	var observe bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Receive messages and ban: the daemon",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded := configs.Load(configs.Options{File: c.config})
			configs.Report(c.stderr, append(loaded.Errors, loaded.Warnings...))
			if loaded.Fatal {
				return fmt.Errorf("%w: the configuration has mistakes", errUsage)
			}
			go keepMemory(cmd.Context())
			return run(cmd.Context(), loaded, observe, c)
		},
	}
	cmd.Flags().BoolVar(&observe, "observe", false, "decide and record, enforce nothing, until: rapsheet arm")
	return cmd
}

// run wires the daemon, top to bottom in the order in which a message goes through it, and blocks until ctx ends.
func run(ctx context.Context, loaded *configs.Result, observe bool, c *cli) error {
	unix.Umask(unix.Umask(0) | 0o022) // nobody else writes what we make, whatever shell we come from
	cfg := loaded.Config
	asUser := ownPaths(cfg)
	log := newLogger(cfg.Log.S, c.stderr)
	d := &daemon{cfg: cfg, jails: cfg.EventJails(), log: log, started: time.Now(), marks: marks{cfg.Store.State.S}, warned: make(map[string]bool)}

	api, err := web.Listen(cfg.Web) // first: it says when another daemon runs
	if err != nil {
		return err
	}
	defer api.Close()
	if d.store, err = store.Open(cfg.Store, log); err != nil {
		return err
	}
	defer d.store.Close()
	if d.receiver, err = receiver.Listen(cfg.Listen, log); err != nil { // from here on the kernel queues messages
		return err
	}
	defer d.receiver.Close()

	if err := d.wire(loaded.Filters); err != nil {
		return err
	}
	if err := d.restore(d.started); err != nil {
		return err
	}
	if err := d.begin(observe, asUser); err != nil {
		return err
	}
	d.routes(api)
	d.greet()
	return d.live(ctx, api, c.config)
}

// wire makes the stages and what they hand over to, in the order of the flow, over an open store.
func (d *daemon) wire(filters []filter.Config) error {
	d.allow = allow.New(d.cfg.Allow, allow.Host(), d.log)
	d.allow.AllowSenders(singleSenders(d.cfg))
	d.filters, _ = filter.New(filters) // what does not compile, loading has named and left out
	runs := func(jail string, p netip.Prefix) (from, until time.Time, ok bool) { return d.bans.Runs(jail, p) }
	d.scores = score.New(score.Config{Jails: d.jails, History: d.store, Runs: runs, Exhibit: d.exhibit}, d.started)
	d.bans = verdict.New(d.scores, d.store.Seq())
	d.bans.Local = d.local
	d.group = d.store.Group()
	var err error
	d.fanout, err = sinks.New(sinks.Config{Sinks: []sinks.Sink{enforcer{d}}, Jails: sinksOf(d.jails), Gate: d.gate, Source: d.source, Log: d.log})
	d.pipe = pipeline.New(pipeline.Config{
		Workers: runtime.GOMAXPROCS(0),
		First:   []pipeline.Stage{header.New(), d.filters},
		Second:  []pipeline.Stage{session.New(), d.allow},
		Scorer:  d.scores,
		Decider: d.bans,
		Settle:  d.settle,
		Wake:    d.store.Committed(),
		Tick:    rhythm,
	})
	return err
}

// live runs the parts until ctx ends or one of them fails, and then ends them in the order of the flow, each when what
// feeds it has ended: nothing that was received is lost.
func (d *daemon) live(ctx context.Context, api *web.Server, file string) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	batches := make(chan *event.Batch)
	apiCtx, endAPI := context.WithCancel(context.WithoutCancel(ctx))
	sinkCtx, endSinks := context.WithCancel(context.WithoutCancel(ctx))
	storeCtx, endStore := context.WithCancel(context.WithoutCancel(ctx))
	start := func(name string, f func() error) <-chan struct{} {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := f(); err != nil {
				d.log.Error().Err(err).Msg(name)
				fail(fmt.Errorf("%s: %w", name, err))
			}
		}()
		return ended
	}
	storeEnded := start("store", func() error { d.store.Run(storeCtx); return nil })
	sinksEnded := start("sinks", func() error { return d.fanout.Run(sinkCtx) })
	allowEnded := start("allow", func() error { return d.allow.Run(sinkCtx) })
	pipeEnded := start("pipeline", func() error { d.pipe.Run(batches); return nil })
	apiEnded := start("web", func() error { return api.Run(apiCtx) })
	receiverEnded := start("receiver", func() error { return d.receiver.Run(ctx, batches) })

	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-d.allow.Changed():
			_ = d.pipe.Do(ctx, d.allowChanged) // its errors mean that the daemon stops
		case <-hup:
			d.recheck(file)
		}
	}
	d.log.Info().Msg("stopping: bans stay in the kernel")
	<-receiverEnded
	<-pipeEnded
	endAPI()
	<-apiEnded
	d.drain(time.Now())
	endSinks()
	<-sinksEnded
	<-allowEnded
	if err := d.letGo(); err != nil {
		d.log.Error().Err(err).Msg("kernel sink")
	}
	endStore()
	<-storeEnded
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// recheck answers SIGHUP: it says whether the files are right. Taking them over needs a restart, which loses nothing.
func (d *daemon) recheck(file string) {
	r := configs.Load(configs.Options{File: file})
	for _, e := range r.Errors {
		d.log.Error().Str("place", e.Pos.String()).Msg(plain(e.Msg))
	}
	if len(r.Errors) == 0 {
		d.log.Info().Msg("configuration is right: restart to take it over, no message and no ban is lost")
	}
}
