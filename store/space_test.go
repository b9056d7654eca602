package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A disk is a file system whose free space the test sets.
type disk struct{ free atomic.Uint64 }

func (d *disk) statfs(string) (uint64, error) {
	if n := d.free.Load(); n > 0 {
		return n, nil
	}
	return 0, errors.New("no such file system")
}

// With too little free space nothing is written and everything goes on; when it returns, the bans are written that came
// meanwhile, and each change is logged once.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	var d disk
	d.free.Store(1 << 30)
	var log bytes.Buffer
	s, err := openWith(config(dir), zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.InfoLevel), d.statfs)
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, s)
	year := time.Now().Add(8760 * time.Hour).UTC()
	putBan(t, s, ban("ssh", "192.0.2.1", 1, year))

	f := func(seq uint64, p, want string) {
		t.Helper()
		done := make(chan error, 1)
		s.PutBan(ban("ssh", p, seq, year), func(err error) { done <- err })
		if err := <-done; !errors.Is(err, ErrDegraded) || !strings.Contains(err.Error(), want) {
			t.Errorf("ban on a full disk: got %v, want %v: %s", err, ErrDegraded, want)
		}
		if st := s.Stats(); !st.Degraded || !strings.Contains(st.Reason, want) {
			t.Errorf("stats: got %v %q, want degraded: %s", st.Degraded, st.Reason, want)
		}
	}
	d.free.Store(64<<20 + 1)
	f(2, "192.0.2.2", "64 MiB free on "+dir+", 65 MiB needed")
	d.free.Store(0)
	f(3, "192.0.2.3", "is unknown: no such file system")
	s.Expire("ssh", prefix("192.0.2.1"), 1)
	commit(t, s, func(g *Group) {
		g.Record("ssh", prefix("192.0.2.1"), []byte("lost"))
		g.Evidence(evidence("192.0.2.1", 0, "lost"))
	})
	record(t, s, "ssh", "192.0.2.1", "")
	s.Audit(AuditEntry{Time: t0, Verb: "ban"})
	if err := s.SetNote("mode", "armed"); !errors.Is(err, ErrDegraded) {
		t.Errorf("note: got %v, want %v", err, ErrDegraded)
	}
	poll(t, "expiry held", func() bool { return s.Stats().Pending == 3 })
	if st := s.Stats(); st.Dropped["records"] != 1 || st.Dropped["evidence"] != 1 || st.Dropped["audit"] != 1 || st.Bans != 1 {
		t.Errorf("stats: got %+v, want 1 record, 1 line, 1 entry dropped, 1 ban written", st)
	}
	if got := bansOf(t, s); len(got) != 1 {
		t.Errorf("bans on disk: got %v, want 192.0.2.1 alone", got)
	}

	d.free.Store(1 << 30)
	poll(t, "bans written", func() bool { return s.Stats().Pending == 0 })
	if st := s.Stats(); st.Degraded || st.Bans != 3 {
		t.Errorf("stats: got %+v, want 3 bans, not degraded", st)
	}
	commit(t, s, func(g *Group) { g.Record("ssh", prefix("192.0.2.1"), []byte("kept")) })
	record(t, s, "ssh", "192.0.2.1", "kept")
	stop()

	var lines []string
	for line := range strings.Lines(log.String()) {
		var l struct{ Message string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l.Message)
	}
	if got, want := strings.Join(lines, "; "), "store: not writing, going on in memory; store: writing again"; got != want {
		t.Errorf("log: got %q, want %q", got, want)
	}
	s, _ = opened(t, dir)
	if got := bansOf(t, s); len(got) != 2 || s.Seq() != 3 {
		t.Errorf("after a restart: got %v, seq %d, want two bans and 3", got, s.Seq())
	}
}

func TestOpenOnFullDisk(t *testing.T) {
	var d disk
	d.free.Store(1 << 20)
	dir := t.TempDir()
	if _, err := openWith(config(dir), zerolog.Nop(), d.statfs); !errors.Is(err, ErrDegraded) {
		t.Errorf("got %v, want %v", err, ErrDegraded)
	}
	opened(t, dir) // the lock is free
}

// What waits for a full disk is bounded: superseded and ended bans go first, then the newest.
func TestPendingIsBounded(t *testing.T) {
	s := &Store{}
	s.changes.init()
	n := uint64(0)
	hold := func(count int, b func() event.Ban) {
		t.Helper()
		for count > 0 {
			batch := make([]change, min(count, batchBans))
			for i := range batch {
				n++
				x := b()
				x.Seq = n
				batch[i] = change{ban: x, done: func(error) {}}
			}
			s.hold(batch)
			count -= len(batch)
		}
		if got := len(s.changes.pend); got > maxPending {
			t.Fatalf("pending: got %d, want at most %d", got, maxPending)
		}
	}
	// One offender again and again, and bans that are over.
	hold(maxPending, func() event.Ban { return ban("ssh", "192.0.2.1", 0, event.Forever) })
	hold(100, func() event.Ban { return ban("mail", "192.0.2.2", 0, time.Now().Add(-time.Hour)) })
	if got := len(s.changes.pend); got != 1 {
		t.Fatalf("pending: got %d, want 1", got)
	}
	if got := s.changes.pend[0].ban.Seq; got != maxPending {
		t.Errorf("kept: got seq %d, want the newest, %d", got, maxPending)
	}
	at := uint32(0)
	hold(maxPending+50, func() event.Ban {
		at++
		b := ban("ssh", "192.0.2.1", 0, event.Forever)
		b.Jail = string([]byte{byte(at >> 16), byte(at >> 8), byte(at)})
		return b
	})
	if got := len(s.changes.pend); got != maxPending {
		t.Errorf("pending: got %d, want %d", got, maxPending)
	}
	if got := s.count.droppedBans.Load(); got != maxPending+100-1+51 {
		t.Errorf("dropped: got %d, want %d", got, maxPending+100-1+51)
	}
}
