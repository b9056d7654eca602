package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func TestJailsChooseTheirSinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMemory("a"), newMemory("b")
		f := start(t, Config{Sinks: []Sink{a, b}, Jails: map[string][]string{"ssh": {"a"}, "mail": {"a", "b"}, "none": nil}})
		f.Send([]event.Ban{ban("ssh", 1, 1), ban("mail", 2, 2), ban("manual", 3, 3), ban("none", 4, 4), ban("unknown", 5, 5)})
		flush(t, f)
		expect(t, a, "mail 192.0.2.2 2", "manual 192.0.2.3 3", "ssh 192.0.2.1 1")
		expect(t, b, "mail 192.0.2.2 2", "manual 192.0.2.3 3")
		if got := f.Unrouted(); got != 1 {
			t.Errorf("unrouted: got %d, want 1", got)
		}

		if err := f.SetJails(map[string][]string{"ssh": {"nosuch"}}); err == nil {
			t.Error("a sink that is not there: got no error")
		}
		if err := f.SetJails(map[string][]string{"ssh": {"b"}}); err != nil {
			t.Fatal(err)
		}
		f.Send([]event.Ban{ban("ssh", 6, 6)})
		flush(t, f)
		expect(t, b, "mail 192.0.2.2 2", "manual 192.0.2.3 3", "ssh 192.0.2.6 6")
	})
	if _, err := New(Config{Sinks: []Sink{newMemory("a"), newMemory("a")}}); err == nil {
		t.Error("two sinks of one name: got no error")
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var applied []string
		var mu sync.Mutex
		a := newMemory("a")
		f := start(t, Config{
			Sinks: []Sink{a}, Log: zerolog.New(&log),
			Gate: func(b event.Ban) bool { return b.Prefix != addr(1) },
			Applied: func(sink string, b event.Ban, _ time.Time) {
				mu.Lock()
				defer mu.Unlock()
				applied = append(applied, fmt.Sprintf("%s %d", sink, b.Seq))
			},
		})
		f.Send([]event.Ban{ban("manual", 1, 1), ban("manual", 2, 2), ban("manual", 3, 3)})
		flush(t, f)
		expect(t, a, "manual 192.0.2.2 2", "manual 192.0.2.3 3")
		if !strings.Contains(log.String(), "192.0.2.1/32") {
			t.Errorf("log: got %s, want a line about 192.0.2.1", &log)
		}
		// What was enforced and is now only observed, or lifted, is removed.
		f.Send([]event.Ban{observed(ban("manual", 2, 4)), lifted(ban("manual", 3, 5))})
		flush(t, f)
		expect(t, a)
		all := ban("manual", 0, 6)
		all.Prefix = netip.MustParsePrefix("0.0.0.0/0")
		f.Send([]event.Ban{all, {Jail: "manual", Until: event.Forever}})
		flush(t, f)
		expect(t, a)
		if s := f.Stats()[0]; s.Stopped != 4 || s.Pending != 0 || s.Refused != 0 {
			t.Errorf("stats: got %+v, want 4 stopped", s)
		}
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(applied), "[a 2 a 3 a 5]"; got != want {
			t.Errorf("applied: got %s, want %s", got, want)
		}
	})
}

func TestSlowSinkDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := newMemory("slow"), newMemory("quick")
		goOn := make(chan struct{})
		slow.before = func(context.Context, []event.Ban) error { <-goOn; return nil }
		f := start(t, Config{Sinks: []Sink{slow, quick}})
		f.Send([]event.Ban{ban("manual", 1, 1)})
		synctest.Wait()
		expect(t, quick, "manual 192.0.2.1 1")
		expect(t, slow)
		// While it hangs only the newest state waits, whatever the order of arrival.
		f.Send([]event.Ban{ban("manual", 1, 2), ban("manual", 1, 4), ban("manual", 1, 3)})
		f.Send([]event.Ban{ban("manual", 2, 5), lifted(ban("manual", 2, 6))})
		synctest.Wait()
		if s := f.Stats()[0]; s.Pending != 3 || s.Replaced != 3 {
			t.Errorf("stats of slow: got %+v, want 3 pending, 3 replaced", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow") || strings.Contains(err.Error(), "quick") {
			t.Errorf("flush: got %v, want the deadline of slow", err)
		}
		close(goOn)
		flush(t, f)
		expect(t, slow, "manual 192.0.2.1 4")
	})
}

func TestFailedBatchComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newMemory("a")
		var f *Fanout
		a.before = func(_ context.Context, bans []event.Ban) error {
			switch a.calls {
			case 1: // fails as a whole, while something newer arrives
				f.Send([]event.Ban{ban("manual", 1, 9)})
				return errors.New("broken")
			case 2:
				return &partial{retry: bans[:1], refused: bans[1:2]}
			}
			return nil
		}
		f = start(t, Config{Sinks: []Sink{a}})
		began := time.Now()
		f.Send([]event.Ban{ban("manual", 1, 1), ban("manual", 2, 2), ban("manual", 3, 3)})
		synctest.Wait()
		if s := f.Stats()[0]; s.Error != "broken" || s.Pending != 3 {
			t.Errorf("stats: got %+v, want the error and 3 pending", s)
		}
		flush(t, f)
		// Second call: 2, 3, 9 in this order: 2 is to be retried, 3 is refused.
		expect(t, a, "manual 192.0.2.1 9", "manual 192.0.2.2 2")
		if got, want := fmt.Sprint(a.seen), "[2 3 9 2]"; got != want {
			t.Errorf("seen: got %s, want %s", got, want)
		}
		if got, want := time.Since(began), firstDelay+2*firstDelay; got != want {
			t.Errorf("back-off: got %v, want %v", got, want)
		}
		if s := f.Stats()[0]; s.Refused != 1 || s.Failures != 2 || s.Applied != 2 || s.Error != "" {
			t.Errorf("stats: got %+v, want 1 refused, 2 failures, 2 applied, no error", s)
		}
	})
}

func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, full := newMemory("plain"), &syncing{memory: newMemory("full"), fail: errors.New("not yet")}
		goOn := make(chan struct{})
		wait := func(context.Context, []event.Ban) error { <-goOn; return nil }
		plain.before, full.before = wait, wait
		var store []event.Ban
		f := start(t, Config{Sinks: []Sink{plain, full}, Pending: 4, Source: func(yield func(event.Ban) bool) {
			for _, b := range store {
				if !yield(b) {
					return
				}
			}
		}})
		send := func(bans ...event.Ban) {
			f.Send(bans)
			synctest.Wait()
		}
		send(ban("manual", 1, 1)) // is being applied
		for i := 2; i <= 7; i++ {
			send(ban("manual", i, uint64(i)))
		}
		send(lifted(ban("manual", 1, 8)))
		store = []event.Ban{ban("manual", 2, 2), ban("manual", 3, 3), observed(ban("manual", 4, 10)), ban("manual", 5, 5), ban("manual", 6, 6), ban("manual", 7, 7),
			lifted(ban("manual", 9, 9)), ban("jail that is gone", 8, 11)}
		close(goOn)
		flush(t, f)
		expect(t, plain, "manual 192.0.2.1 1", "manual 192.0.2.2 2", "manual 192.0.2.3 3", "manual 192.0.2.4 4", "manual 192.0.2.5 5")
		expect(t, full.memory, "manual 192.0.2.2 2", "manual 192.0.2.3 3", "manual 192.0.2.5 5", "manual 192.0.2.6 6", "manual 192.0.2.7 7")
		s := f.Stats()
		if s[0].Dropped != 3 || s[0].Overflow != 3 || s[0].Syncs != 0 {
			t.Errorf("stats of plain: got %+v, want 3 dropped", s[0])
		}
		if s[1].Dropped != 0 || s[1].Overflow != 1 || s[1].Syncs != 1 || s[1].Failures != 1 || s[1].Behind {
			t.Errorf("stats of full: got %+v, want 1 overflow, 1 sync, 1 failure", s[1])
		}
	})
}

func TestLostSinkIsRefilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &syncing{memory: newMemory("m")}
		store := []event.Ban{ban("manual", 1, 1), ban("manual", 2, 2)}
		f := start(t, Config{Sinks: []Sink{m}, Source: slices.Values(store)})
		f.Resync("")
		flush(t, f)
		expect(t, m.memory, "manual 192.0.2.1 1", "manual 192.0.2.2 2")

		m.before = func(_ context.Context, bans []event.Ban) error {
			m.mu.Lock()
			clear(m.held)
			m.mu.Unlock()
			m.before = nil
			return &partial{retry: bans, lost: true}
		}
		f.Send([]event.Ban{ban("manual", 2, 2)})
		flush(t, f)
		expect(t, m.memory, "manual 192.0.2.1 1", "manual 192.0.2.2 2")
		f.Resync("another")
		flush(t, f)
		if s := f.Stats()[0]; s.Syncs != 2 {
			t.Errorf("syncs: got %d, want 2", s.Syncs)
		}
	})
}

func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, hung, broken := newMemory("late"), newMemory("hung"), newMemory("broken")
		late.before = func(ctx context.Context, _ []event.Ban) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		never := make(chan struct{})
		hung.before = func(context.Context, []event.Ban) error { <-never; return nil }
		broken.before = func(context.Context, []event.Ban) error { return errors.New("no connection") }
		f, err := New(Config{Sinks: []Sink{late, hung, broken}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		f.Send([]event.Ban{ban("manual", 1, 1)})
		synctest.Wait()
		f.Send([]event.Ban{ban("manual", 2, 2)}) // must still be applied after the end
		cancel()
		err = <-done
		expect(t, late, "manual 192.0.2.1 1", "manual 192.0.2.2 2")
		if err == nil || strings.Contains(err.Error(), "late") || !strings.Contains(err.Error(), "hung: 2 bans") || !strings.Contains(err.Error(), "broken: 2 bans were not applied: no connection") {
			t.Errorf("run: got %v, want hung and broken with 2 bans each", err)
		}
		close(never)
	})
}

// After its end Source may yield nothing: that must not empty a sink.
func TestNoRefillAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &syncing{memory: newMemory("m")}
		store := []event.Ban{ban("manual", 1, 1)}
		f, err := New(Config{Sinks: []Sink{m}, Source: func(yield func(event.Ban) bool) { slices.Values(store)(yield) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		f.Resync("m")
		flush(t, f)
		store = nil
		f.Send([]event.Ban{ban("manual", 2, 2)})
		cancel()
		f.Resync("m")
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.Resync("m")
		expect(t, m.memory, "manual 192.0.2.1 1", "manual 192.0.2.2 2")
	})
}

// However often the sink fails, and however little room there is, the newest state is what holds in the end.
func TestNewestStateWins(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type step struct {
			i      int
			lifted bool
		}
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{rapid.IntRange(1, 5).Draw(r, "address"), rapid.Bool().Draw(r, "lifted")}
		}), 1, 40).Draw(r, "steps")
		fails := rapid.SliceOfN(rapid.IntRange(0, 2), 0, 20).Draw(r, "fails")
		room := rapid.IntRange(1, 6).Draw(r, "room")
		synctest.Test(t, func(t *testing.T) {
			m := &syncing{memory: newMemory("m")}
			m.before = func(_ context.Context, bans []event.Ban) error {
				if m.calls > len(fails) {
					return nil
				}
				switch fails[m.calls-1] {
				case 1:
					return errors.New("broken")
				case 2:
					return &partial{retry: bans[:(len(bans)+1)/2]}
				}
				return nil
			}
			newest := map[netip.Prefix]event.Ban{}
			bans := make([]event.Ban, len(steps))
			for i, s := range steps {
				bans[i] = ban("manual", s.i, uint64(i+1))
				bans[i].Lifted = s.lifted
				newest[bans[i].Prefix] = bans[i]
			}
			f := start(t, Config{Sinks: []Sink{m}, Pending: room, Source: func(yield func(event.Ban) bool) {
				for _, b := range newest {
					if !yield(b) {
						return
					}
				}
			}})
			for i := range bans {
				f.Send(bans[i : i+1])
				if i%3 == 0 {
					synctest.Wait()
				}
			}
			flush(t, f)
			var want []string
			for p, b := range newest {
				if !b.Lifted {
					want = append(want, fmt.Sprintf("manual %s %d", p.Addr(), b.Seq))
				}
			}
			slices.Sort(want)
			if got := m.holds(); !slices.Equal(got, want) {
				r.Errorf("holds: got %q, want %q", got, want)
			}
		})
	})
}

func BenchmarkSend(b *testing.B) {
	f, err := New(Config{Sinks: []Sink{newMemory("a")}})
	if err != nil {
		b.Fatal(err)
	}
	bans := []event.Ban{ban("manual", 1, 1)}
	b.ReportAllocs()
	for b.Loop() {
		f.Send(bans)
	}
}
