package sinks

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// slice is how many bans a sink gets at once: enough to make a kernel call cheap, few enough that what is newer does not
// wait long behind it.
const slice = 4096

// After an error a lane waits, twice as long each time.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 5 * time.Second
)

// A lane is the way to one sink: what waits for it, and one goroutine that applies it.
type lane struct {
	sink   Sink
	syncer Syncer // the sink, if it can be refilled
	fanout *Fanout
	wake   chan struct{} // holds one token while something waits

	mu      sync.Mutex
	pending map[key]waiting
	taken   int           // bans that are being applied
	refill  bool          // due; pending is applied after it
	ending  bool          // no more refills: Source may have ended before us and yield nothing. The next start refills
	sent    uint64        // counts sends and requests for refills
	done    uint64        // what sent was when all of that had become true
	settled chan struct{} // closed and replaced when done changes
	s       Stats
}

// waiting is the newest state of one ban; stopped says that the gate made it a removal.
type waiting struct {
	event.Ban
	stopped bool
}

// A key is what a sink holds one state of.
type key struct {
	jail   string
	prefix netip.Prefix
}

func keyOf(b *event.Ban) key { return key{b.Jail, b.Prefix} }

func newLane(s Sink, f *Fanout) *lane {
	l := &lane{sink: s, fanout: f, wake: make(chan struct{}, 1), pending: map[key]waiting{}, settled: make(chan struct{})}
	l.s.Name = s.Name()
	if f.cfg.Source != nil {
		l.syncer, _ = s.(Syncer)
	}
	return l
}

func (l *lane) send(w waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if w.stopped {
		l.s.Stopped++
	}
	l.mergeLocked(w)
}

func (l *lane) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) resync() {
	l.mu.Lock()
	if l.refillableLocked() {
		l.sent++
		l.refill = true
	}
	l.mu.Unlock()
	l.wakeUp()
}

func (l *lane) refillableLocked() bool { return l.syncer != nil && !l.ending }

// mergeLocked puts a state into pending where nothing newer lies.
func (l *lane) mergeLocked(w waiting) {
	k := keyOf(&w.Ban)
	old, waits := l.pending[k]
	switch {
	case waits && old.Seq > w.Seq:
		l.s.Replaced++
		return
	case waits:
		l.s.Replaced++
	case len(l.pending) >= l.fanout.cfg.Pending:
		if l.s.Overflow++; !l.refillableLocked() {
			l.s.Dropped++ // nothing could bring back what would make room
			return
		}
		clear(l.pending)
		l.refill = true
		l.fanout.cfg.Log.Warn().Str("sink", l.s.Name).Int("waiting", l.fanout.cfg.Pending).Msg("sink is too far behind: it will be refilled")
	}
	l.pending[k] = w
}

// run applies what is sent until ctx ends, then what is left until work ends.
func (l *lane) run(ctx, work context.Context) {
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.ending, l.refill = true, false
			l.mu.Unlock()
			l.until(work, work)
			return
		case <-l.wake:
			l.until(ctx, work)
		}
	}
}

// until tries until nothing waits any more, or ctx ends. Calls to the sink get work.
func (l *lane) until(ctx, work context.Context) {
	for delay := firstDelay; ctx.Err() == nil && !l.round(work); delay = min(2*delay, lastDelay) {
		again := time.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-again.C:
		}
		again.Stop()
	}
}

// round applies everything that waits, and reports whether all of it has become true.
func (l *lane) round(ctx context.Context) bool {
	l.mu.Lock()
	sent, refill := l.sent, l.refill
	l.refill = false
	l.mu.Unlock()
	if refill && !l.sync(ctx) {
		return false
	}
	l.mu.Lock()
	todo := make([]waiting, 0, len(l.pending))
	for _, w := range l.pending {
		todo = append(todo, w)
	}
	clear(l.pending)
	if len(todo) > slice {
		l.pending = map[key]waiting{} // a map keeps the room that a flood took
	}
	l.taken = len(todo)
	l.mu.Unlock()
	slices.SortFunc(todo, func(a, b waiting) int { return cmp.Compare(a.Seq, b.Seq) })

	complete := true
	for len(todo) > 0 {
		n := min(slice, len(todo))
		retry, err := l.apply(ctx, todo[:n])
		todo = todo[n:]
		if err != nil && len(retry) == n {
			retry = append(retry, todo...) // the sink is down: do not try it slice by slice
			todo = nil
		}
		complete = complete && len(retry) == 0
		l.giveBack(retry, len(todo))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if complete = complete && !l.refill; complete {
		l.done = sent
		close(l.settled)
		l.settled = make(chan struct{})
	}
	return complete
}

// giveBack returns what failed to pending; left is what is still to be tried.
func (l *lane) giveBack(failed []waiting, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = left
	if l.refill {
		return // which brings the newest state of everything; what newer state pending held may be cleared
	}
	for _, w := range failed {
		l.mergeLocked(w)
	}
}

// apply sends one slice and returns what is to be tried again. What follows from an error is counted here.
func (l *lane) apply(ctx context.Context, todo []waiting) (retry []waiting, err error) {
	bans := make([]event.Ban, len(todo))
	for i := range todo {
		bans[i] = todo[i].Ban
	}
	err = l.sink.Apply(ctx, bans)
	at := l.fanout.cfg.Now()

	failed := map[key]bool{} // true: to be tried again
	var partial interface {
		Unapplied() (retry, refused []event.Ban)
	}
	switch {
	case errors.As(err, &partial):
		again, refused := partial.Unapplied()
		for i := range refused {
			failed[keyOf(&refused[i])] = false
		}
		for i := range again {
			failed[keyOf(&again[i])] = true
		}
	case err != nil:
		retry = todo
	}
	var applied, refused uint64
	if retry == nil {
		for _, w := range todo {
			again, bad := failed[keyOf(&w.Ban)]
			switch {
			case again:
				retry = append(retry, w)
			case bad:
				refused++
			default:
				applied++
				if !w.stopped && l.fanout.cfg.Applied != nil {
					l.fanout.cfg.Applied(l.s.Name, w.Ban, at)
				}
			}
		}
	}
	l.account(err, func(s *Stats) {
		s.Applied += applied
		s.Refused += refused
	})
	if err != nil {
		l.fanout.cfg.Log.Error().Str("sink", l.s.Name).Int("retried", len(retry)).Uint64("refused", refused).Err(err).Msg("sink did not take all bans")
	}
	return retry, err
}

// sync refills the sink, and reports whether that succeeded.
func (l *lane) sync(ctx context.Context) bool {
	err := l.syncer.Sync(ctx, l.fanout.source(l))
	l.account(err, func(s *Stats) {
		if err == nil {
			s.Syncs++
		}
	})
	if err == nil {
		return true
	}
	l.mu.Lock()
	l.refill = l.refillableLocked()
	l.mu.Unlock()
	l.fanout.cfg.Log.Error().Str("sink", l.s.Name).Err(err).Msg("sink was not refilled")
	return false
}

// account notes the outcome of one call to the sink, and has f count.
func (l *lane) account(err error, f func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost interface{ Lost() bool }
	if errors.As(err, &lost) && lost.Lost() && l.refillableLocked() {
		l.refill = true
	}
	l.s.Error = ""
	if err != nil {
		l.s.Failures++
		l.s.Error = err.Error()
	}
	f(&l.s)
}

func (l *lane) flush(ctx context.Context) error {
	l.mu.Lock()
	want := l.sent
	for l.done < want {
		settled := l.settled
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-settled:
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
	return nil
}

func (l *lane) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.s
	s.Pending, s.Behind = len(l.pending)+l.taken, l.refill
	return s
}
