package store

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func TestSheetsFindOffenders(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	records := []string{"192.0.2.1", "192.0.2.255", "192.0.3.0", "2001:db8::/64", "2001:db8::1", "2001:db8:0:1::/64"}
	commit(t, s, func(g *Group) {
		for _, p := range records {
			g.Record("ssh", prefix(p), []byte(p))
			g.Record("mail", prefix(p), []byte("mail"))
		}
		g.Evidence(evidence("192.0.2.7", 0, "line"))
	})
	for i, p := range []string{"192.0.2.0/24", "192.0.0.0/16", "0.0.0.0/0", "2001:db8::/32", "192.0.2.9"} {
		putBan(t, s, ban("manual", p, uint64(i+1), event.Forever))
	}
	f := func(p string, want ...string) {
		t.Helper()
		sheets, err := s.Sheets(netip.MustParsePrefix(p))
		var got []string
		for _, sh := range sheets {
			got = append(got, sh.Prefix.String())
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("sheets of %s: got %v, %v, want %v", p, got, err, want)
		}
	}
	wide := []string{"0.0.0.0/0", "192.0.0.0/16", "192.0.2.0/24"}
	f("192.0.2.1/32", append(slices.Clone(wide), "192.0.2.1/32")...)
	f("192.0.2.2/32", wide...)
	f("192.0.2.0/24", append(slices.Clone(wide), "192.0.2.1/32", "192.0.2.7/32", "192.0.2.9/32", "192.0.2.255/32")...)
	f("192.0.2.128/25", append(slices.Clone(wide), "192.0.2.255/32")...)
	f("192.0.3.0/24", "0.0.0.0/0", "192.0.0.0/16", "192.0.3.0/32")
	f("198.51.100.0/24", "0.0.0.0/0")
	f("2001:db8::1/128", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128")
	f("2001:db8::2/128", "2001:db8::/32", "2001:db8::/64")
	f("2001:db8::/32", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128", "2001:db8:0:1::/64")
	f("::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128", "2001:db8:0:1::/64")
	f("2001:db9::/32")

	sheets, err := s.Sheets(prefix("192.0.3.0"))
	if err != nil || len(sheets) != 3 {
		t.Fatalf("got %v, %v, want three", sheets, err)
	}
	want := []SheetRecord{{"ssh", prefix("192.0.3.0"), []byte("192.0.3.0")}, {"mail", prefix("192.0.3.0"), []byte("mail")}}
	if !reflect.DeepEqual(sheets[2].Records, want) {
		t.Errorf("records: got %v, want %v", sheets[2].Records, want)
	}
	if none, err := s.Sheets(netip.Prefix{}); none != nil || err != nil {
		t.Errorf("no prefix: got %v, %v, want none", none, err)
	}
}

// The newest ten lines are kept, and come oldest first.
func TestEvidenceInTurn(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	var want []string
	commit(t, s, func(g *Group) {
		for i := range 23 {
			e := evidence("192.0.2.1", uint8(i%Slots), fmt.Sprintf("line %d", i))
			e.Time = t0.Add(time.Duration(i) * time.Second)
			g.Evidence(e)
			if i >= 13 {
				want = append(want, string(e.Line))
			}
		}
	})
	sheets, err := s.Sheets(prefix("192.0.2.1"))
	if err != nil || len(sheets) != 1 {
		t.Fatalf("got %v, %v, want one", sheets, err)
	}
	var got []string
	for _, e := range sheets[0].Evidence {
		got = append(got, string(e.Line))
	}
	if !slices.Equal(got, want) {
		t.Errorf("lines: got %q, want %q", got, want)
	}
}

// Of a long ban log the newest states are shown; a running ban is, even where the log has forgotten it.
func TestLongLog(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	for i := range maxSheetBans + 10 {
		s.PutBan(ban("ssh", "192.0.2.1", uint64(i+1), event.Forever), nil)
	}
	putBan(t, s, ban("mail", "192.0.2.1", 9999, event.Forever))
	sheets, err := s.Sheets(prefix("192.0.2.1"))
	if err != nil || len(sheets) != 1 {
		t.Fatalf("got %d sheets, %v, want one", len(sheets), err)
	}
	b := sheets[0].Bans
	if len(b) != maxSheetBans || b[0].Seq != 12 || b[len(b)-1].Seq != 9999 {
		t.Errorf("log: got %d from %d to %d, want 1000 from 12 to 9999", len(b), b[0].Seq, b[len(b)-1].Seq)
	}
	old := ban("ssh", "192.0.2.2", 5, event.Forever)
	g := group(func(*Group) {}, appendKey(nil, tableBan, "ssh", old.Prefix), appendBan(nil, &old))
	if err := s.bans.commit(g, 0); err != nil {
		t.Fatal(err)
	}
	if sheets, err := s.Sheets(old.Prefix); err != nil || len(sheets) != 1 || len(sheets[0].Bans) != 1 {
		t.Errorf("without a log: got %v, %v, want the ban", sheets, err)
	}
}

// One question is answered with a bounded number of sheets.
func TestManySheets(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	commit(t, s, func(g *Group) {
		for i := range 3 * maxSheets {
			g.Record("ssh", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32), []byte("x"))
		}
	})
	sheets, err := s.Sheets(prefix("10.0.0.0/8"))
	if err != nil || len(sheets) != maxSheets || sheets[0].Prefix != prefix("10.0.0.0") {
		t.Errorf("got %d, %v, want %d from 10.0.0.0", len(sheets), err, maxSheets)
	}
}

func TestNotes(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	f := func(key, want string) {
		t.Helper()
		if got, err := s.Note(key); got != want || err != nil {
			t.Errorf("note %q: got %q, %v, want %q", key, got, err, want)
		}
	}
	set := func(key, val string, ok bool) {
		t.Helper()
		if err := s.SetNote(key, val); (err == nil) != ok {
			t.Errorf("set note %q: got %v, want %v", key, err, ok)
		}
	}
	f("mode", "")
	set("mode", "armed", true)
	set("modes", "x", true)
	f("mode", "armed")
	set("mode", "", true)
	f("mode", "")
	f("modes", "x")
	set("", "nameless", true)
	f("", "nameless")
	set("big", string(make([]byte, maxNote+1)), false)
	f("big", "")
}

func TestAudit(t *testing.T) {
	s, _ := opened(t, t.TempDir())
	var want []AuditEntry
	for i := range 20 {
		a := AuditEntry{Time: t0.Add(time.Duration(i/2) * time.Second), UID: i, Verb: "ban", Object: "192.0.2.1", Reason: "because"}
		s.Audit(a)
		want = append(want, a)
	}
	slices.Reverse(want)
	f := func(n int, want []AuditEntry) {
		t.Helper()
		if got, err := s.Audits(n); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("last %d: got %+v, %v, want %+v", n, got, err, want)
		}
	}
	f(0, nil)
	f(3, want[:3])
	f(100, want)
}
