package store

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func evidence(p string, slot uint8, line string) Evidence {
	return Evidence{Jail: "ssh", Prefix: prefix(p), Slot: slot, Time: t0, Addr: prefix(p).Addr(), Kind: event.Failure, Sender: "192.0.2.10",
		Host: []byte("web1"), Program: []byte("sshd"), Filter: "ssh", Rule: "Failed", User: []byte("root"), Line: []byte(line)}
}

// A group keeps copies: what the caller does with its buffers afterwards changes nothing.
func TestGroupCopies(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	e := evidence("192.0.2.1", 0, "the line")
	rec := []byte("record")
	commit(t, s, func(g *Group) {
		g.Record("ssh", prefix("192.0.2.1"), rec)
		g.Evidence(e)
		if g.Len() != 2 || g.EvidenceLen() != 1 {
			t.Errorf("len: got %d with %d lines, want 2 with 1", g.Len(), g.EvidenceLen())
		}
		clear(rec)
		clear(e.Line)
	})
	record(t, s, "ssh", "192.0.2.1", "record")
	sheets, err := s.Sheets(prefix("192.0.2.1"))
	if want := evidence("192.0.2.1", 0, "the line"); err != nil || len(sheets) != 1 || !reflect.DeepEqual(sheets[0].Evidence, []Evidence{want}) {
		t.Errorf("evidence: got %+v, %v, want %+v", sheets, err, want)
	}
}

// There are two groups, and none while both are taken.
func TestTwoGroups(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	a, b := s.Group(), s.Group()
	if a == nil || b == nil || a == b {
		t.Fatalf("got %p and %p, want two", a, b)
	}
	if c := s.Group(); c != nil {
		t.Errorf("got a third group")
	}
	a.Record("ssh", prefix("192.0.2.1"), []byte("a"))
	s.Commit(a)
	<-s.Committed()
	if c := s.Group(); c != a || c.Len() != 0 {
		t.Errorf("after the commit: got %p with %d, want %p, empty", c, c.Len(), a)
	}
}

// The later of two records of an offender counts, in one group and over two.
func TestLaterRecordCounts(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	p := prefix("2001:db8::/64")
	commit(t, s, func(g *Group) { g.Record("ssh", p, []byte("1")); g.Record("ssh", p, []byte("2")) })
	record(t, s, "ssh", "2001:db8::/64", "2")
	commit(t, s, func(g *Group) { g.Record("ssh", p, []byte("3")) })
	record(t, s, "ssh", "2001:db8::/64", "3")
}

// What is too large or too much is counted and not written, and costs nothing of the rest.
func TestGroupBounds(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	commit(t, s, func(g *Group) {
		g.Record("ssh", prefix("192.0.2.1"), make([]byte, maxRecord+1))
		g.Record("ssh", netip.Prefix{}, []byte("no prefix"))
		g.Record("ssh", prefix("192.0.2.2"), []byte("fits"))
		for i := range maxLines + 5 {
			g.Evidence(evidence("192.0.2.3", uint8(i), "line"))
		}
	})
	record(t, s, "ssh", "192.0.2.1", "")
	record(t, s, "ssh", "192.0.2.2", "fits")
	st := s.Stats()
	if st.Records != 1 || st.Evidence != maxLines || st.Dropped["records"] != 2 || st.Dropped["evidence"] != 5 {
		t.Errorf("stats: got %+v, want 1 record, %d lines, dropped 2 and 5", st, maxLines)
	}
	if sheets, err := s.Sheets(prefix("192.0.2.3")); err != nil || len(sheets) != 1 || len(sheets[0].Evidence) != Slots {
		t.Errorf("evidence: got %v, %v, want %d lines", sheets, err, Slots)
	}
}

// Records of all sizes survive, those that go to the value log included.
func TestRecordSizes(t *testing.T) {
	dir := t.TempDir()
	sizes := []int{0, 1, 1000, 64<<10 - 1, 64 << 10, 64<<10 + 1, maxRecord}
	addr := func(i int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32) }
	s, stop := opened(t, dir)
	commit(t, s, func(g *Group) {
		for i, n := range sizes {
			g.Record("ssh", addr(i), bytes.Repeat([]byte{byte(i + 1)}, n))
		}
	})
	f := func() {
		t.Helper()
		for i, n := range sizes {
			if got, err := s.Record("ssh", addr(i), nil); err != nil || got == nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i + 1)}, n)) {
				t.Errorf("record of %d bytes: got %d, %v", n, len(got), err)
			}
		}
	}
	f()
	stop()
	s, _ = opened(t, dir)
	f()
	if files, _ := filepath.Glob(filepath.Join(dir, "*.opening")); files != nil {
		t.Errorf("left behind: %v", files)
	}
}

// Filling a group that has been used before allocates nothing.
func TestGroupAllocs(t *testing.T) {
	g := new(Group)
	e, p, rec := evidence("192.0.2.1", 3, "line"), prefix("2001:db8::/64"), make([]byte, 100)
	fill := func() {
		g.Reset()
		for range 100 {
			g.Record("ssh", p, rec)
			g.Evidence(e)
		}
	}
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("allocations: got %v for 200 entries, want 0", n)
	}
}

// A group that a burst has filled does not hold on to the memory.
func TestGroupShrinks(t *testing.T) {
	g := new(Group)
	for i := range keepItems + 1 {
		g.Record("ssh", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), make([]byte, 200))
	}
	g.Reset()
	if cap(g.arena) > keepArena || cap(g.items) > keepItems || g.Len() != 0 {
		t.Errorf("got room for %d bytes and %d items, want at most %d and %d", cap(g.arena), cap(g.items), keepArena, keepItems)
	}
}
