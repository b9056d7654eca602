package sinks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Manual is the jail of bans by hand: they go to all sinks.
const Manual = "manual"

const (
	defaultPending = 200_000
	defaultDrain   = 5 * time.Second
)

// Config says what a Fanout works with. Only Sinks is required.
type Config struct {
	Sinks []Sink
	Jails map[string][]string // the names of the sinks of each jail; Manual's and no other's need not be there

	// Gate is the last look at a ban before it is enforced: false refuses it. It is called on several goroutines.
	Gate func(event.Ban) bool
	// Source yields every running ban, for a refill. It is called on several goroutines, and twice for one refill. nil:
	// there are no refills.
	Source iter.Seq[event.Ban]
	// Applied is told of every ban, and every removal, that was sent and has become true in a sink; not of what a refill
	// brought. It is called on several goroutines and must be quick.
	Applied func(sink string, b event.Ban, at time.Time)

	Pending int           // bans that may wait for one sink; 0: 200,000
	Drain   time.Duration // how long Run goes on after its context has ended; 0: 5 s
	Now     func() time.Time
	Log     zerolog.Logger
}

// A Fanout hands bans on to sinks, to each at its own pace.
type Fanout struct {
	cfg   Config
	lanes []*lane

	unrouted atomic.Uint64

	jailsMu sync.RWMutex
	jails   map[string][]*lane
}

// New makes a Fanout. Nothing is known of what the sinks hold: Resync("") before Run refills them.
func New(cfg Config) (*Fanout, error) {
	if cfg.Pending == 0 {
		cfg.Pending = defaultPending
	}
	if cfg.Drain == 0 {
		cfg.Drain = defaultDrain
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Fanout{cfg: cfg}
	names := map[string]bool{}
	for _, s := range cfg.Sinks {
		if names[s.Name()] {
			return nil, fmt.Errorf("sinks: two sinks are named %q", s.Name())
		}
		names[s.Name()] = true
		f.lanes = append(f.lanes, newLane(s, f))
	}
	if err := f.SetJails(cfg.Jails); err != nil {
		return nil, err
	}
	return f, nil
}

// SetJails changes which sinks each jail has.
func (f *Fanout) SetJails(jails map[string][]string) error {
	to := map[string][]*lane{Manual: f.lanes}
	for jail, names := range jails {
		if jail == Manual {
			continue
		}
		lanes := make([]*lane, 0, len(names))
		for _, name := range names {
			l := f.lane(name)
			if l == nil {
				return fmt.Errorf("sinks: jail %s: there is no sink %q", jail, name)
			}
			lanes = append(lanes, l)
		}
		to[jail] = lanes
	}
	f.jailsMu.Lock()
	f.jails = to
	f.jailsMu.Unlock()
	return nil
}

func (f *Fanout) lane(name string) *lane {
	for _, l := range f.lanes {
		if l.sink.Name() == name {
			return l
		}
	}
	return nil
}

// lanesOf returns the lanes of a jail's sinks, and false for a jail that is not configured.
func (f *Fanout) lanesOf(jail string) ([]*lane, bool) {
	f.jailsMu.RLock()
	defer f.jailsMu.RUnlock()
	lanes, ok := f.jails[jail]
	return lanes, ok
}

// Unrouted counts the states sent of jails that are not configured: no sink was told of them.
func (f *Fanout) Unrouted() uint64 { return f.unrouted.Load() }

// Send hands bans on. It never waits: where a sink is behind, the newest state of each ban waits for it. The states of
// one ban are to be sent in the order of their Seq; it does not keep the slice.
func (f *Fanout) Send(bans []event.Ban) {
	now := f.cfg.Now()
	for i := range bans {
		b := bans[i]
		lanes, ok := f.lanesOf(b.Jail)
		if !ok {
			f.unrouted.Add(1)
			continue
		}
		stopped := f.gate(&b, now)
		if stopped && !b.Observed {
			f.cfg.Log.Warn().Stringer("prefix", b.Prefix).Str("jail", b.Jail).Str("origin", b.Origin).Msg("refused to ban what is never banned")
		}
		for _, l := range lanes {
			l.send(waiting{b, stopped})
		}
	}
	for _, l := range f.lanes {
		l.wakeUp() // a round with nothing to do costs nothing
	}
}

// gate turns a ban that must not be enforced into its removal: the sink may hold an earlier state of it.
func (f *Fanout) gate(b *event.Ban, now time.Time) (stopped bool) {
	switch {
	case !b.Active(now):
		return false
	case b.Observed, b.Prefix.Bits() <= 0, f.cfg.Gate != nil && !f.cfg.Gate(*b):
		b.Lifted = true
		return true
	}
	return false
}

// source yields what is to hold in one lane's sink.
func (f *Fanout) source(l *lane) iter.Seq[event.Ban] {
	return func(yield func(event.Ban) bool) {
		now := f.cfg.Now()
		for b := range f.cfg.Source {
			lanes, _ := f.lanesOf(b.Jail)
			if !b.Enforced(now) || !slices.Contains(lanes, l) || f.gate(&b, now) {
				continue
			}
			if !yield(b) {
				return
			}
		}
	}
}

// Resync asks for a full refill of the named sink, or of all for "". It is for sinks that found themselves emptied.
func (f *Fanout) Resync(name string) {
	for _, l := range f.lanes {
		if name == "" || name == l.sink.Name() {
			l.resync()
		}
	}
}

// Run applies what is sent until ctx ends, and then what still waits, for as long as Config.Drain says. The error says
// what is left. A sink that hangs is left behind.
func (f *Fanout) Run(ctx context.Context) error {
	// Calls to sinks outlive ctx: what is being applied is not cut off.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var left sync.WaitGroup
	for _, l := range f.lanes {
		left.Go(func() { l.run(ctx, work) })
	}
	all := make(chan struct{})
	go func() {
		left.Wait()
		close(all)
	}()
	<-ctx.Done()
	select {
	case <-all:
	case <-time.After(f.cfg.Drain):
		cancel()
		select {
		case <-all: // sinks that heed their context
		case <-time.After(f.cfg.Drain / 10):
		}
	}
	var errs []error
	for _, s := range f.Stats() {
		if s.Pending > 0 {
			errs = append(errs, fmt.Errorf("sinks: %s: %d bans were not applied: %s", s.Name, s.Pending, s.Error))
		}
	}
	return errors.Join(errs...)
}

// Flush waits until all that was sent before is true in every sink, or was refused. The error names the sinks for which
// ctx ended first.
func (f *Fanout) Flush(ctx context.Context) error {
	var errs []error
	for _, l := range f.lanes {
		if err := l.flush(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sinks: %s: %w", l.sink.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// Stats returns what each sink has done.
func (f *Fanout) Stats() []Stats {
	all := make([]Stats, len(f.lanes))
	for i, l := range f.lanes {
		all[i] = l.stats()
	}
	return all
}
