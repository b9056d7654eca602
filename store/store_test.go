package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

func config(dir string) Config { return Config{State: value.String{S: dir}} }

// opened opens a store and runs it. The returned function stops both, as the daemon does.
func opened(t testing.TB, dir string) (*Store, func()) {
	t.Helper()
	s, err := Open(config(dir), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return s, running(t, s)
}

func running(t testing.TB, s *Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-ended
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

var t0 = time.Date(2026, time.March, 4, 5, 6, 7, 89, time.UTC)

func prefix(s string) netip.Prefix {
	p, err := value.ParsePrefix(s)
	if err != nil {
		panic(err)
	}
	return p
}

func ban(jail, p string, seq uint64, until time.Time) event.Ban {
	return event.Ban{Jail: jail, Prefix: prefix(p), Seq: seq, Issued: t0, Until: until, Strike: 1, Score: 7, Reason: "ssh: 7 failures within 10m, limit 7", Origin: "tier"}
}

// putBan waits for the commit.
func putBan(t testing.TB, s *Store, b event.Ban) {
	t.Helper()
	done := make(chan error, 1)
	s.PutBan(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatalf("put %s: %v", b.Prefix, err)
	}
}

func bansOf(t testing.TB, s *Store) (list []event.Ban) {
	t.Helper()
	if err := s.Bans(func(b event.Ban) bool { list = append(list, b); return true }); err != nil {
		t.Fatal(err)
	}
	return list
}

// poll waits until f holds.
func poll(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func commit(t testing.TB, s *Store, fill func(g *Group)) {
	t.Helper()
	g := s.Group()
	if g == nil {
		t.Fatal("group: got nil, want one")
	}
	fill(g)
	s.Commit(g)
	<-s.Committed()
}

func record(t testing.TB, s *Store, jail, p, want string) {
	t.Helper()
	got, err := s.Record(jail, prefix(p), []byte("before "))
	if err != nil || want == "" && got != nil || want != "" && string(got) != "before "+want {
		t.Errorf("record of %s in %s: got %q, %v, want %q", p, jail, got, err, want)
	}
}

func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	s, stop := opened(t, dir)
	year := time.Now().Add(8760 * time.Hour).UTC()
	short := ban("ssh", "192.0.2.1", 1, time.Now().Add(time.Hour).UTC())
	long := ban("ssh", "2001:db8::/64", 2, year)
	ever := ban("manual", "198.51.100.0/24", 3, event.Forever)
	for _, b := range []event.Ban{short, long, ever} {
		putBan(t, s, b)
	}
	commit(t, s, func(g *Group) {
		g.Record("ssh", prefix("192.0.2.1"), []byte("one"))
		g.Record("ssh", prefix("2001:db8::/64"), []byte("two"))
		g.Record("mail", prefix("192.0.2.1"), []byte{})
	})
	if err := s.SetNote("mode", "observe"); err != nil {
		t.Fatal(err)
	}
	stop()

	s, _ = opened(t, dir)
	if got, want := bansOf(t, s), []event.Ban{ever, long, short}; !reflect.DeepEqual(got, want) {
		t.Errorf("bans: got %+v, want %+v", got, want)
	}
	if got := s.Seq(); got != 3 {
		t.Errorf("seq: got %d, want 3", got)
	}
	record(t, s, "ssh", "192.0.2.1", "one")
	record(t, s, "ssh", "2001:db8::/64", "two")
	record(t, s, "ssh", "192.0.2.2", "")
	record(t, s, "ss", "192.0.2.1", "")
	record(t, s, "sshd", "192.0.2.1", "")
	if got, err := s.Record("mail", prefix("192.0.2.1"), nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("empty record: got %v, %v, want empty, not nil", got, err)
	}
	if got, err := s.Note("mode"); got != "observe" || err != nil {
		t.Errorf("note: got %q, %v, want observe", got, err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("folder: got %v, %v, want mode 0700", fi.Mode(), err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	_, stop := opened(t, dir)
	_, err := Open(config(dir), zerolog.Nop())
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: got %v, want %v", err, ErrLocked)
	}
	if got, want := err.Error(), fmt.Sprintf("store: %s: another rapsheet is using it (pid %d)", dir, os.Getpid()); got != want {
		t.Errorf("second open: got %q, want %q", got, want)
	}
	stop()
	opened(t, dir)
}

func TestNewer(t *testing.T) {
	dir := t.TempDir()
	s, stop := opened(t, dir)
	if err := s.history.commit(group(func(g *Group) {}, keyVersion, []byte{schema + 1}), 0); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := Open(config(dir), zerolog.Nop()); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want %v", err, ErrNewer)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*")); left != nil {
		t.Errorf("set aside: got %v, want none: it is not damaged", left)
	}
}

// group is a group with one more entry, whatever its key.
func group(fill func(*Group), key, val []byte) *Group {
	g := new(Group)
	fill(g)
	at := len(g.arena)
	g.arena = append(g.arena, key...)
	g.items = append(g.items, item{uint32(at), uint32(len(g.arena))})
	g.arena = append(g.arena, val...)
	return g
}

func TestLiftAndExpire(t *testing.T) {
	dir := t.TempDir()
	s, stop := opened(t, dir)
	until := time.Now().Add(time.Hour).UTC()
	a, b, c, d := ban("ssh", "192.0.2.1", 1, until), ban("ssh", "192.0.2.2", 2, until), ban("ssh", "192.0.2.3", 3, until), ban("ssh", "192.0.2.4", 4, until)
	lifted := a
	lifted.Seq, lifted.Lifted, lifted.By = 5, true, "root"
	longer := c
	longer.Seq, longer.Until = 6, until.Add(time.Hour)
	for _, x := range []event.Ban{a, b, c, d} {
		s.PutBan(x, nil)
	}
	putBan(t, s, lifted)
	s.Expire("ssh", b.Prefix, b.Seq)
	s.PutBan(longer, nil)
	s.Expire("ssh", c.Prefix, c.Seq) // not any more
	s.Expire("ssh", prefix("192.0.2.99"), 0)
	stop()

	s, _ = opened(t, dir)
	if got, want := bansOf(t, s), []event.Ban{longer, d}; !reflect.DeepEqual(got, want) {
		t.Errorf("bans: got %+v, want %+v", got, want)
	}
	if got := s.Seq(); got != 6 {
		t.Errorf("seq: got %d, want 6", got)
	}
	f := func(p string, want ...event.Ban) {
		t.Helper()
		sheets, err := s.Sheets(prefix(p))
		if err != nil || len(sheets) != 1 || !reflect.DeepEqual(sheets[0].Bans, want) {
			t.Errorf("log of %s: got %+v, %v, want %+v", p, sheets, err, want)
		}
	}
	f("192.0.2.1", a, lifted)
	f("192.0.2.2", b)
	f("192.0.2.3", c, longer)
}

// Bans that ended while no daemon ran are not restored, and go in time.
func TestEndedBans(t *testing.T) {
	dir := t.TempDir()
	s, stop := opened(t, dir)
	putBan(t, s, ban("ssh", "192.0.2.1", 1, time.Now().Add(-time.Hour)))
	putBan(t, s, ban("ssh", "192.0.2.2", 2, time.Now().Add(-forgetAfter-time.Hour)))
	if got := bansOf(t, s); got != nil {
		t.Errorf("bans: got %v, want none", got)
	}
	stop()
	s, _ = opened(t, dir)
	var left []string
	if err := s.running(func(b event.Ban) bool { left = append(left, b.Prefix.String()); return true }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"192.0.2.1/32"}; !slices.Equal(left, want) {
		t.Errorf("records: got %v, want %v", left, want)
	}
}

// More bans than a chunk holds are all restored.
func TestBansInChunks(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	const n = restoreChunk + 100
	last := make(chan error, 1)
	for i := range n {
		b := ban("ssh", "192.0.2.1", uint64(i+1), event.Forever)
		b.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		b.Issued = t0.Add(time.Duration(i%977) * time.Second)
		var done func(error)
		if i == n-1 {
			done = func(err error) { last <- err }
		}
		s.PutBan(b, done)
	}
	if err := <-last; err != nil {
		t.Fatal(err)
	}
	got := bansOf(t, s)
	if len(got) != n {
		t.Fatalf("bans: got %d, want %d", len(got), n)
	}
	newestFirst := func(a, b event.Ban) int { return b.Issued.Compare(a.Issued) }
	if !slices.IsSortedFunc(got[:restoreChunk], newestFirst) || !slices.IsSortedFunc(got[restoreChunk:], newestFirst) {
		t.Error("order: got another, want the newest first in each chunk")
	}
	seen := 0
	if err := s.Bans(func(event.Ban) bool { seen++; return seen < 3 }); err != nil || seen != 3 {
		t.Errorf("stopped: got %d, %v, want 3", seen, err)
	}
}

// What is handed over before and after Run is written by Close, what comes later is refused.
func TestStopping(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(config(dir), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).UTC()
	before, after := ban("ssh", "192.0.2.1", 1, until), ban("ssh", "192.0.2.2", 2, until)
	s.PutBan(before, nil)
	g := s.Group()
	g.Record("ssh", before.Prefix, []byte("before"))
	s.Commit(g)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Run(ctx)
	if got := bansOf(t, s); len(got) != 1 {
		t.Errorf("after Run: got %v, want %v", got, before)
	}
	record(t, s, "ssh", "192.0.2.1", "before")
	s.PutBan(after, nil)
	g = s.Group()
	g.Record("ssh", after.Prefix, []byte("after"))
	s.Commit(g)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var late error
	s.PutBan(before, func(err error) { late = err })
	if !errors.Is(late, ErrClosed) {
		t.Errorf("after Close: got %v, want %v", late, ErrClosed)
	}
	s, _ = opened(t, dir)
	if got, want := bansOf(t, s), []event.Ban{after, before}; !reflect.DeepEqual(got, want) {
		t.Errorf("bans: got %+v, want %+v", got, want)
	}
	record(t, s, "ssh", "192.0.2.2", "after")
}

func TestRefusedBans(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	f := func(b event.Ban) {
		t.Helper()
		var got error
		s.PutBan(b, func(err error) { got = err })
		if got == nil {
			t.Errorf("%+v: got no error", b)
		}
	}
	f(event.Ban{Jail: "ssh"})
	f(event.Ban{Jail: string(make([]byte, maxJail+1)), Prefix: prefix("192.0.2.1")})
}

func TestConfig(t *testing.T) {
	f := func(size, want string) {
		t.Helper()
		var c Config
		if err := c.MinFree.UnmarshalText([]byte(size)); err != nil {
			t.Fatal(err)
		}
		var errs value.Errors
		c.Validate(&errs)
		got := ""
		if err := errs.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("min_free %s: got %q, want %q", size, got, want)
		}
	}
	f("0", "")
	f("32MiB", "")
	f("1GiB", "")
	f("31MiB", "min_free is 31MiB: it must be at least 32MiB, or a full disk kills the daemon (64MiB)")
}

// The state folder is ours alone, however it was made.
func TestFolderIsClosed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s, err := Open(config(dir), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: got %v, %v, want 0700", info.Mode(), err)
	}
	if os.Geteuid() != 0 {
		return
	}
	other := t.TempDir()
	if err := os.Chown(other, 4711, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(other), zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "uid 4711") {
		t.Errorf("folder of another account: got %v", err)
	}
}
