package ipset

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A meddler changes sets behind the daemon's back.
type meddler struct {
	t *testing.T
	c *conn
}

func newMeddler(t *testing.T) *meddler {
	t.Helper()
	c, err := dial()
	must(t, err)
	t.Cleanup(func() { c.close() })
	return &meddler{t, c}
}

func (x *meddler) flush(set string) {
	x.t.Helper()
	var r request
	r.set(nl.IPSET_CMD_FLUSH, unix.NLM_F_ACK, v4, set)
	must(x.t, x.c.one(&r))
}

// entry adds or deletes prefixes, for an hour.
func (x *meddler) entry(cmd uint16, set string, p ...string) {
	x.t.Helper()
	timeout := uint32(3600)
	if cmd == nl.IPSET_CMD_DEL || strings.Contains(set, "-allow-") {
		timeout = never
	}
	for _, p := range prefixes(p...) {
		var r request
		r.entry(cmd, unix.NLM_F_EXCL, set, p, timeout)
		r.ack()
		must(x.t, x.c.one(&r))
	}
}

// swap puts an empty set in the place of another.
func (x *meddler) swap(set string, timeouts bool) {
	x.t.Helper()
	x.strange(set, timeouts)
	var r request
	r.pair(nl.IPSET_CMD_SWAP, "strange", set)
	must(x.t, x.c.one(&r))
	must(x.t, x.c.destroy(x.t.Context(), "strange"))
}

func (x *meddler) strange(set string, timeouts bool) {
	x.t.Helper()
	h, ok, err := x.c.header(set)
	must(x.t, err)
	if !ok {
		x.t.Fatalf("no set %s", set)
	}
	revision, err := x.c.probe()
	must(x.t, err)
	var r request
	r.create("strange", h.family, revision, h.maxelem, 0, timeouts)
	must(x.t, x.c.one(&r))
}

// watched opens a sink whose log the test reads.
func watched(t *testing.T, jails ...*event.Jail) (s *Sink, lines func() int) {
	t.Helper()
	s = open(t, Config{}, jails...)
	var log bytes.Buffer
	s.log = zerolog.New(zerolog.MultiLevelWriter(&log, zerolog.TestWriter{T: t}))
	s.Lost = func() { t.Error("bans are said to be lost") }
	return s, func() int {
		defer log.Reset()
		return strings.Count(log.String(), "somebody else")
	}
}

// look is one look as long after the one before that nothing is put off.
func look(t *testing.T, s *Sink) {
	t.Helper()
	s.watch.rest, s.watch.refill, s.watch.quiet = time.Time{}, time.Time{}, time.Time{}
	s.compare(t.Context())
}

func TestForeignChanges(t *testing.T) {
	inLab(t, func(l *lab) {
		s, lines := watched(t, sshJail)
		x := newMeddler(t)
		must(t, s.Allow(prefixes(allowed4+"/32", "203.0.113.0/24", allowed6+"/128")))
		bans := append(many(1000, v4), ban("ssh", attacker4+"/32", portsOnly), ban("ssh", attacker6+"/128", lasts(365*24*time.Hour)), ban("manual", "198.51.100.0/24"))
		apply(t, s, bans...)
		var want []string
		must(t, s.Entries(func(e Entry) bool { want = append(want, fmt.Sprint(e.Jail, e.Prefix, e.Ports)); return true }))
		slices.Sort(want)

		repaired := uint64(0)
		f := func(what string, change func()) {
			t.Helper()
			look(t, s)
			if n := lines(); n != 0 || s.Repaired() != repaired {
				t.Fatalf("before %s: got %d lines, %d repairs, want 0, %d", what, n, s.Repaired(), repaired)
			}
			change()
			look(t, s)
			repaired++
			if n := lines(); n != 1 || s.Repaired() != repaired {
				t.Errorf("%s: got %d lines, %d repairs, want 1, %d", what, n, s.Repaired(), repaired)
			}
			var got []string
			must(t, s.Entries(func(e Entry) bool {
				if e.Left < time.Hour-time.Minute {
					t.Errorf("%s: %s has %v left", what, e.Prefix, e.Left)
				}
				got = append(got, fmt.Sprint(e.Jail, e.Prefix, e.Ports))
				return true
			}))
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s: got %d entries, want %d", what, len(got), len(want))
			}
			l.arrives(attacker4, false)
			l.arrives(attacker6, false)
			l.arrives(allowed4, true)
		}
		f("flush", func() { x.flush("rapsheet-manual-4") })
		f("flush of a set for ports", func() { x.flush("rapsheet-ssh-4p") })
		f("flush of a long ban", func() { x.flush("rapsheet-ssh-6") })
		f("one entry of a thousand", func() { x.entry(nl.IPSET_CMD_DEL, "rapsheet-manual-4", "10.0.1.1/32") })
		f("one entry while others come", func() {
			x.entry(nl.IPSET_CMD_DEL, "rapsheet-manual-4", "10.0.1.1/32", "10.0.1.2/32")
			young := slices.Collect(yields(ban("manual", "192.0.2.8/32"), ban("manual", "192.0.2.9/32"), ban("manual", "192.0.2.10/32")))
			apply(t, s, young...)
			for i := range young {
				want = append(want, fmt.Sprint("manual", young[i].Prefix, false))
			}
			slices.Sort(want)
		})
		f("one entry while others go", func() {
			x.entry(nl.IPSET_CMD_DEL, "rapsheet-manual-4", "10.0.1.1/32")
			apply(t, s, ban("manual", "192.0.2.8/32", lifted), ban("manual", "192.0.2.77/32", lifted))
			want = slices.DeleteFunc(want, func(w string) bool { return strings.Contains(w, "192.0.2.8/") })
		})
		f("swap with an empty set", func() { x.swap("rapsheet-manual-4", true) })
		f("a foreign entry", func() { x.entry(nl.IPSET_CMD_ADD, "rapsheet-ssh-4", "192.0.2.1/32") })
		f("flush of the allow set", func() { x.flush("rapsheet-allow-4") })
		f("a foreign entry in the allow set", func() { x.entry(nl.IPSET_CMD_ADD, "rapsheet-allow-4", attacker4+"/32") })
		f("swap of the allow set", func() { x.swap("rapsheet-allow-4", false) })

		// Where the numbers are right only the comparison of everything notices.
		whole := func(f func()) func() {
			return func() {
				f()
				look(t, s)
				if n := lines(); n != 0 {
					t.Errorf("equal numbers: got %d lines, want 0", n)
				}
				s.watch.due = time.Now()
			}
		}
		f("an entry in the place of another", whole(func() {
			x.entry(nl.IPSET_CMD_DEL, "rapsheet-manual-4", "10.0.1.1/32")
			x.entry(nl.IPSET_CMD_ADD, "rapsheet-manual-4", "192.0.2.1/32")
		}))
		f("an entry in the place of another in the allow set", whole(func() {
			x.entry(nl.IPSET_CMD_DEL, "rapsheet-allow-4", allowed4+"/32")
			x.entry(nl.IPSET_CMD_ADD, "rapsheet-allow-4", attacker4+"/32")
		}))

		// Entries can't end in a set without timeouts: only a refill replaces it.
		lost := 0
		s.Lost = func() { lost++; must(t, s.Sync(t.Context(), yields(bans...))) }
		x.swap("rapsheet-manual-4", false)
		look(t, s)
		look(t, s)
		if lost != 1 || s.Repaired() != repaired+1 {
			t.Errorf("a set without timeouts: got %d losses, %d repairs, want 1, %d", lost, s.Repaired(), repaired+1)
		}
		l.arrives(attacker4, false)
		must(t, s.Close())
		look(t, s)
	})
}

// Somebody flushes a set every second: it is filled every time, the log is not. What is less urgent is put off.
func TestRepeatedChanges(t *testing.T) {
	inLab(t, func(l *lab) {
		s, lines := watched(t, sshJail)
		x := newMeddler(t)
		apply(t, s, many(100, v4)...)
		for range 5 {
			x.flush("rapsheet-manual-4")
			s.compare(t.Context())
		}
		if n, got := lines(), s.Repaired(); n != 1 || got != 5 {
			t.Errorf("flushed 5 times: got %d lines, %d repairs, want 1, 5", n, got)
		}
		x.entry(nl.IPSET_CMD_DEL, "rapsheet-manual-4", "10.0.0.1/32")
		s.watch.rest = time.Now().Add(time.Hour) // as if a comparison had taken minutes
		s.compare(t.Context())
		if got := s.Repaired(); got != 5 {
			t.Errorf("one entry, and comparisons rest: got %d repairs, want 5", got)
		}
		x.flush("rapsheet-manual-4")
		s.compare(t.Context())
		if got := s.Repaired(); got != 6 {
			t.Errorf("all entries, and comparisons rest: got %d repairs, want 6", got)
		}
	})
}

// Bans end, are refreshed, lifted and refilled, sets grow: nothing of it is taken for somebody else's doing.
func TestOwnChanges(t *testing.T) {
	inLab(t, func(*lab) {
		s, lines := watched(t, sshJail)
		s.every, s.limit = 5*time.Millisecond, 4*time.Second
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		bans := many(3000, v4)
		for i := range bans {
			bans[i].Until = bans[i].Issued.Add([]time.Duration{time.Second, 2 * time.Second, 3 * time.Second, time.Hour}[i%4])
		}
		apply(t, s, bans...)
		apply(t, s, bans[:1500]...)
		for i := range 1000 {
			b := bans[i]
			b.Lifted = i%3 == 0
			b.Until = b.Until.Add(time.Second)
			apply(t, s, b)
		}
		must(t, s.Sync(ctx, yields(bans...)))
		until(t, "the short ones have ended", func() bool {
			n, err := s.Count()
			must(t, err)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.watch.rest, s.watch.due = time.Time{}, time.Now() // the next look compares everything
			return n["rapsheet-manual-4"] == len(bans)/4
		})
		cancel()
		<-ended
		if n := lines(); n != 0 || s.Repaired() != 0 {
			t.Errorf("got %d lines, %d repairs, want none", n, s.Repaired())
		}
	})
}

// What an earlier daemon left is not known before the first refill: until then nothing is taken out, and a comparison
// of everything asks for one.
func TestAdoptedIsUnknown(t *testing.T) {
	inLab(t, func(l *lab) {
		s, _ := watched(t, sshJail)
		bans := []event.Ban{ban("ssh", attacker4+"/32"), ban("ssh", attacker6+"/128")}
		apply(t, s, bans...)
		must(t, s.Close())
		s, lines := watched(t, sshJail)
		lost := 0
		s.Lost = func() { lost++; must(t, s.Sync(t.Context(), yields(bans...))) }
		look(t, s)
		l.arrives(attacker4, false)
		if lost != 0 || lines() != 0 {
			t.Errorf("adopted: got %d losses before it was time", lost)
		}
		for range 2 {
			s.watch.due = time.Now()
			look(t, s)
		}
		if lost != 1 || lines() != 0 || s.Repaired() != 0 {
			t.Errorf("adopted: got %d losses, %d repairs, want 1, 0", lost, s.Repaired())
		}
		newMeddler(t).flush("rapsheet-ssh-4")
		look(t, s)
		l.arrives(attacker4, false)
		holds(t, s, "ssh 198.51.100.66/32", "ssh 2001:db8:bad::66/128")
	})
}

// Prints what a look costs with very many bans (RAPSHEET_LONG: a million), a comparison of all of them, and a repair.
func TestManyEntries(t *testing.T) {
	inLab(t, func(*lab) {
		s, _ := watched(t)
		bans := many(100_000, v4)
		if os.Getenv("RAPSHEET_LONG") != "" {
			bans = many(1_000_000, v4)
		}
		must(t, s.Sync(t.Context(), yields(bans...)))
		took := func(f func()) time.Duration {
			began := time.Now()
			f()
			return time.Since(began)
		}
		bare := took(func() { s.Count() })
		plain := took(func() { look(t, s) })
		all := took(func() { s.watch.due = time.Now(); look(t, s) })
		if got := s.Repaired(); got != 0 {
			t.Errorf("unchanged: got %d repairs", got)
		}
		newMeddler(t).flush("rapsheet-manual-4")
		mend := took(func() { look(t, s) })
		n, err := s.Count()
		must(t, err)
		if got := n["rapsheet-manual-4"]; got != len(bans) || s.Repaired() != 1 {
			t.Errorf("flushed: got %d entries, %d repairs, want %d, 1", got, s.Repaired(), len(bans))
		}
		t.Logf("%d bans: kernel's count %v, a look %v, a whole comparison %v, a flushed set filled in %v", len(bans), bare, plain, all, mend)
		if plain > all {
			t.Errorf("a look took %v, longer than a comparison of all entries, %v", plain, all)
		}
	})
}
