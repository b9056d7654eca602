package allow

import (
	"bytes"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var failure = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1}

// batch has a failure of each address; "" is none.
func batch(list ...string) *event.Batch {
	b := event.NewBatch(1, 100)
	b.Now = noon
	for _, s := range list {
		e := event.Event{Rule: failure, Count: 1}
		if s != "" {
			e.Addr = addr(s)
		}
		b.Events = append(b.Events, e)
	}
	return b
}

func TestProcess(t *testing.T) {
	l := newList(Config{Allow: texts("198.51.100.64/28"), Proxies: texts("203.0.113.80")}, here)
	b := batch("", "198.51.100.66", "203.0.113.9", "203.0.113.80", "2001:db8::66", "127.0.0.1", "192.0.2.2", "10.0.0.1",
		"192.0.2.1", "198.51.100.10", "203.0.113.53", "2001:db8:7::66", "::ffff:203.0.113.10", "203.0.113.80")
	l.Process(b)
	want := []string{"203.0.113.9 203.0.113.9/32", "2001:db8::66 2001:db8::66/128", "2001:db8:7::66 2001:db8:7::/64", "203.0.113.10 203.0.113.10/32"}
	var got []string
	for _, e := range b.Events {
		got = append(got, e.Addr.String()+" "+e.Offender.String())
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("events: got\n%s\nwant\n%s", g, w)
	}
	s := l.Stats()
	dropped := map[string]uint64{"allow": 1, "proxy": 2, "reserved": 1, "own": 1, "private": 1, "gateway": 1, "ssh_session": 1, "resolver": 1}
	if !maps.Equal(s.Dropped, dropped) {
		t.Errorf("dropped: got %v, want %v", s.Dropped, dropped)
	}
	if s.NoAddress != 1 || s.BehindProxy != 2 || s.ByProxy["203.0.113.80"] != 2 {
		t.Errorf("counts: got %+v", s)
	}
	if s.Allowed != 1 || s.Proxies != 1 || s.Own != 2 {
		t.Errorf("list: got %+v", s)
	}
}

func TestProxyLog(t *testing.T) {
	var out bytes.Buffer
	l := New(Config{Proxies: texts("203.0.113.0/24")}, System{}, zerolog.New(&out))
	f := func(at time.Duration, want string) {
		t.Helper()
		out.Reset()
		b := batch("203.0.113.7", "203.0.113.8", "203.0.113.9")
		b.Now = noon.Add(at)
		l.Process(b)
		if got := out.String(); want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
			t.Errorf("at %s: got %q, want one line with %q", at, got, want)
		}
	}
	f(0, `"proxy":"203.0.113.7","filter":"ssh","events":1`)
	f(time.Minute, "")
	f(59*time.Minute, "")
	f(time.Hour, `"events":9`)
	f(61*time.Minute, "")
	f(-time.Hour, `"events":6`) // the clock was set back
}

// However many addresses a CDN has, so many are counted one by one.
func TestProxyBound(t *testing.T) {
	l := New(Config{Proxies: texts("203.0.0.0/16")}, System{}, zerolog.Nop())
	b := batch()
	for i := range 1000 {
		b.Events = append(b.Events, event.Event{Rule: failure, Count: 1, Addr: netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})})
	}
	l.Process(b)
	if s := l.Stats(); s.BehindProxy != 1000 || len(s.ByProxy) != maxBehind {
		t.Errorf("got %d of %d proxies, want 1000 of %d", s.BehindProxy, len(s.ByProxy), maxBehind)
	}
}

// mix is what a busy server sees, with a few of each kind that is dropped.
func mix() []event.Event {
	var list []event.Event
	for i := range 200 {
		list = append(list, event.Event{Rule: failure, Count: 1, Addr: netip.AddrFrom4([4]byte{198, 51, byte(i), byte(7 * i)})})
	}
	for i := range 50 {
		list = append(list, event.Event{Rule: failure, Count: 1, Addr: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: byte(i), 15: byte(i)})})
	}
	return append(list, batch("", "10.0.0.1", "127.0.0.1", "104.16.3.4", "2606:4700::1", "2002:c633:6442::1", "64:ff9b::c633:6442").Events...)
}

func busyList() *List {
	return newList(Config{Allow: texts("198.51.100.64/28", "2001:db8:a::/48"), Proxies: texts("cloudflare")}, here)
}

func TestProcessAllocs(t *testing.T) {
	l, events := busyList(), mix()
	b := batch()
	b.Events = append(b.Events, events...)
	l.Process(b) // the line of the hour
	got := testing.AllocsPerRun(100, func() {
		b.Events = append(b.Events[:0], events...)
		l.Process(b)
	})
	if got != 0 {
		t.Errorf("allocations for %d events: got %v, want 0", len(events), got)
	}
}

func BenchmarkProcess(b *testing.B) {
	l, events := busyList(), mix()
	work := batch()
	work.Events = append(work.Events, events...)
	b.ReportAllocs()
	for b.Loop() {
		work.Events = append(work.Events[:0], events...)
		l.Process(work)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(events)), "ns/event")
}

func BenchmarkBuild(b *testing.B) {
	l := busyList()
	for i := range 100_000 {
		l.lists[0].entries = append(l.lists[0].entries, entry{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}), 32)})
	}
	b.ReportAllocs()
	for b.Loop() {
		l.mu.Lock()
		l.buildLocked()
		l.mu.Unlock()
	}
}
