package integration

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/sinks/ipset"
)

const (
	minutes   = 10 * time.Minute // the short ban of the default jails
	kernelMax = 2147483          // seconds that an entry of a kernel set may last
)

// Who fails 21 times within a year is banned for a year, however slowly he tries and by whichever road the messages
// come. Who fails 60 times within a second is banned for minutes, the first time and the second, and the third for a
// year. Months pass in the messages' stamps, which say year and zone.
func TestRepeatOffendersAreBannedForAYear(t *testing.T) {
	t.Parallel()
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(lab.Build(t), "{}\n")
	srv.Echo(8080)
	now := time.Now()
	const day = 24 * time.Hour

	roads := []struct {
		name string
		send func(*testing.T, *lab.Host, []stamped)
		slow string // tries every two weeks
		fast string // tries 60 times within a second
		once string // does that once, today
	}{
		{"TCP", sendTCP, lab.Atk4, "198.51.100.68", "203.0.113.1"},
		{"unix socket", sendUnix, lab.Routed6, "2001:db8::68", "203.0.113.2"},
	}
	for _, road := range roads {
		slow := spread(road.slow, 21, now.Add(-20*14*day-time.Minute), 14*day)
		road.send(t, srv, slow[:20])
		lab.Wait(t, "20 slow failures by "+road.name, func() bool {
			s := sheetOf(t, d, road.slow)
			return s.sum("ssh", 21) == 20
		})
		if s := sheetOf(t, d, road.slow); s.Banned || len(s.Offenders[0].Log) != 0 {
			t.Errorf("%s: after 20 failures, one every two weeks: got %+v, want no ban ever", road.name, s.Offenders[0].Log)
		}
		road.send(t, srv, slow[20:])

		for _, ago := range []time.Duration{100 * day, 50 * day, time.Minute} {
			road.send(t, srv, spread(road.fast, 60, now.Add(-ago), time.Second/60))
		}
		road.send(t, srv, spread(road.once, 60, now.Add(-time.Minute), time.Second/60))
	}

	type entry struct {
		prefix string
		length time.Duration
		ports  bool
		score  uint32
	}
	want := []entry{
		{"198.51.100.66/32", year, false, 21}, {"198.51.100.68/32", year, false, 21}, {"203.0.113.1/32", minutes, true, 7},
		{"2001:db8:66::/64", year, false, 21}, {"2001:db8::68/128", year, false, 21}, {"203.0.113.2/32", minutes, true, 7},
	}
	check := func() {
		t.Helper()
		for _, w := range want {
			b := waitBan(t, d, "ssh", w.prefix)
			if length(b) != w.length || b.Ports != w.ports || b.Score != w.score {
				t.Errorf("ban of %s: got %s, ports %t, score %d, want %+v", w.prefix, length(b), b.Ports, b.Score, w)
			}
			var held []ipset.Entry
			lab.Wait(t, "the kernel's entry of "+w.prefix, func() bool {
				held = kernel(t, srv)[w.prefix]
				return len(held) == 1 && held[0].Ports == w.ports
			})
			left := int(held[0].Left / time.Second)
			t.Logf("%-18s banned for %s: kernel time left %d s", w.prefix, w.length, left)
			if w.length == year && (left > kernelMax || left < kernelMax-60) {
				t.Errorf("kernel, %s: %d s left, want a little less than %d", w.prefix, left, kernelMax)
			}
		}
	}
	check()

	// The burst's three offences: minutes, minutes, a year.
	f := func(addr string, want ...time.Duration) {
		t.Helper()
		var s sheet
		lab.Wait(t, fmt.Sprintf("%d bans on the rap sheet of %s", len(want), addr), func() bool {
			s = sheetOf(t, d, addr)
			return len(s.Offenders) == 1 && len(s.Offenders[0].Log) >= len(want)
		})
		var got []time.Duration
		for _, b := range s.Offenders[0].Log {
			got = append(got, length(b))
		}
		if !slices.Equal(got, want) {
			t.Errorf("bans of %s: got %v, want %v", addr, got, want)
		}
		for i, b := range s.Offenders[0].Log {
			if b.Strike != i+1 || b.Origin != "tier" {
				t.Errorf("ban %d of %s: got strike %d, origin %q", i+1, addr, b.Strike, b.Origin)
			}
		}
	}
	f(lab.Atk4, year)
	f(lab.Routed6, year)
	f("198.51.100.68", minutes, minutes, year)
	f("2001:db8::68", minutes, minutes, year)
	f("203.0.113.1", minutes)
	f("203.0.113.2", minutes)

	packets := func() {
		t.Helper()
		var wg sync.WaitGroup
		f := func(from string, want bool) { wg.Go(func() { passes(t, atk, from, 8080, want) }) }
		f(lab.Atk4, false)
		f(lab.Near4, true)
		f(lab.Routed6Same, false)
		f(lab.Routed6Next, true)
		wg.Wait()
	}
	packets()

	before := map[string]event.Ban{}
	for _, w := range want {
		before[w.prefix] = waitBan(t, d, "ssh", w.prefix)
	}
	d.Restart()
	check()
	d.Kill9()
	d.Start()
	check()
	for _, w := range want {
		if got := waitBan(t, d, "ssh", w.prefix); got != before[w.prefix] {
			t.Errorf("ban of %s after the restart: got %+v, want %+v", w.prefix, got, before[w.prefix])
		}
	}
	packets()
}
