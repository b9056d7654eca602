package store

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// scattered is the i-th of offenders that come in no order, as attackers do.
func scattered(i int) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(i)*2654435761) // Knuth's multiplicative hash
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

const benchGroup = 10000

func report(b *testing.B, per int) {
	b.ReportMetric(float64(b.N*per)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkGroup writes groups of new offenders by way of the committer; BenchmarkBare the same keys and values by a
// WriteBatch and nothing else. The first must reach 70 % of the second.
func BenchmarkGroup(b *testing.B) {
	s, _ := opened(b, b.TempDir())
	rec, n := make([]byte, 100), 0
	b.ReportAllocs()
	b.SetBytes(benchGroup * 120)
	for b.Loop() {
		g := s.Group()
		for g == nil {
			<-s.Committed()
			g = s.Group()
		}
		for range benchGroup {
			g.Record("ssh", scattered(n), rec)
			n++
		}
		s.Commit(g)
	}
	report(b, benchGroup)
}

func BenchmarkBare(b *testing.B) {
	s, _ := opened(b, b.TempDir())
	rec, n := make([]byte, 100), 0
	b.ReportAllocs()
	b.SetBytes(benchGroup * 120)
	for b.Loop() {
		wb := s.history.NewWriteBatch()
		for range benchGroup {
			key := appendKey(nil, tableRecord, "ssh", scattered(n))
			if err := wb.SetEntry(badger.NewEntry(key, rec).WithTTL(defaultRetention)); err != nil {
				b.Fatal(err)
			}
			n++
		}
		if err := wb.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	report(b, benchGroup)
}

// BenchmarkGroupEvidence writes a line of evidence with each record.
func BenchmarkGroupEvidence(b *testing.B) {
	s, _ := opened(b, b.TempDir())
	rec, n, e := make([]byte, 100), 0, evidence("192.0.2.1", 0, strings.Repeat("x", 100))
	b.ReportAllocs()
	for b.Loop() {
		g := s.Group()
		for g == nil {
			<-s.Committed()
			g = s.Group()
		}
		for range maxLines {
			e.Prefix = scattered(n)
			g.Record("ssh", e.Prefix, rec)
			g.Evidence(e)
			n++
		}
		s.Commit(g)
	}
	report(b, maxLines)
}

// BenchmarkFill is the judge's side of a commit.
func BenchmarkFill(b *testing.B) {
	g, rec := new(Group), make([]byte, 100)
	e := evidence("192.0.2.1", 0, strings.Repeat("x", 100))
	b.ReportAllocs()
	for b.Loop() {
		if g.Len() > 2000 {
			g.Reset()
		}
		g.Record("ssh", e.Prefix, rec)
		g.Evidence(e)
	}
}

// BenchmarkPutBan is the time from a decision to the report, one after the other; BenchmarkPutBans a flood of them.
func BenchmarkPutBan(b *testing.B) {
	s, _ := opened(b, b.TempDir())
	done := make(chan error, 1)
	var took []time.Duration
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		x := ban("ssh", "192.0.2.1", uint64(n+1), event.Forever)
		x.Prefix = scattered(n)
		n++
		from := time.Now()
		s.PutBan(x, func(err error) { done <- err })
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

func BenchmarkPutBans(b *testing.B) {
	s, stop := opened(b, b.TempDir())
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		x := ban("ssh", "192.0.2.1", uint64(n+1), event.Forever)
		x.Prefix = scattered(n)
		n++
		s.PutBan(x, nil)
	}
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bans/s")
}

// BenchmarkRecord reads records that are there, and ones that are not.
func BenchmarkRecord(b *testing.B) {
	s, _ := opened(b, b.TempDir())
	const n = 100000
	commit(b, s, func(g *Group) {
		for i := range n {
			g.Record("ssh", scattered(i), make([]byte, 100))
		}
	})
	f := func(name string, from int) {
		b.Run(name, func(b *testing.B) {
			buf, i := make([]byte, 0, 1000), 0
			b.ReportAllocs()
			for b.Loop() {
				got, _ := s.Record("ssh", scattered(from+i%n), buf)
				if (got != nil) != (from == 0) {
					b.Fatalf("got %v", got)
				}
				i++
			}
		})
	}
	f("hit", 0)
	f("miss", n)
}

// status reads a line of /proc/self/status in KiB.
func status(t *testing.T, field string) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			fmt.Sscan(rest, &kb)
		}
	}
	return kb
}

// TestMemory logs what offenders and bans cost in memory, on disk and at the start.
func TestMemory(t *testing.T) {
	if os.Getenv("RAPSHEET_LONG") == "" {
		t.Skip("RAPSHEET_LONG is not set")
	}
	dir := t.TempDir()
	s, stop := opened(t, dir)
	peak := 0
	show := func(what string) {
		t.Logf("%s: RssAnon %d MiB, VmRSS %d MiB", what, status(t, "RssAnon")>>10, status(t, "VmRSS")>>10)
	}
	show("empty")
	write := func(from, to int) {
		for i := from; i < to; i += 2000 {
			commit(t, s, func(g *Group) {
				for j := range 2000 {
					g.Record("ssh", scattered(i+j), make([]byte, 100))
				}
			})
			peak = max(peak, status(t, "RssAnon"))
		}
	}
	from := time.Now()
	write(0, 300000)
	t.Logf("300,000 records of 100 B: %.0f/s, peak RssAnon %d MiB", 300000/time.Since(from).Seconds(), peak>>10)
	show("after them")
	write(300000, 1000000)
	t.Logf("1,000,000 records: peak RssAnon %d MiB", peak>>10)
	for i := range 1000000 {
		x := ban("ssh", "192.0.2.1", uint64(i+1), event.Forever)
		x.Prefix = scattered(i)
		s.PutBan(x, nil)
	}
	putBan(t, s, ban("manual", "192.0.2.0/24", 2000000, event.Forever))
	show("after 1,000,000 bans")
	st := s.Stats()
	t.Logf("on disk: history %d MiB, bans %d MiB", st.HistoryBytes>>20, st.BansBytes>>20)
	stop()

	from = time.Now()
	s, _ = opened(t, dir)
	t.Logf("open with 1,000,000 records and bans: %v", time.Since(from))
	from = time.Now()
	n := 0
	if err := s.Bans(func(event.Ban) bool { n++; return true }); err != nil || n != 1000001 {
		t.Errorf("bans: got %d, %v, want 1000001", n, err)
	}
	t.Logf("1,000,001 bans read: %v", time.Since(from))
	show("after reading them")
}
