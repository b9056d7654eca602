package integration

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// Passwords are guessed at a real sshd, whose messages a real rsyslogd forwards by the snippet that users install, and
// rapsheet runs on its defaults. Who guesses is kept out, his neighbours are not, and a crash changes nothing.
func TestGuessersOfPasswordsAreBanned(t *testing.T) {
	t.Parallel()
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	lab.Need(t, "rsyslogd", "sshd", "ssh", "sshpass")
	d := srv.Rapsheet(lab.Build(t), "{}\n")
	srv.Rsyslog(lab.Snippet(t, "127.0.0.1"))
	srv.SSHD()
	srv.Echo(8080)

	// An old acquaintance: twice this year he was banned for ten minutes.
	const old = "198.51.100.68"
	for _, weeks := range []int{20, 10} {
		sendTCP(t, srv, spread(old, 7, time.Now().Add(-time.Duration(weeks)*7*24*time.Hour), time.Second))
	}

	var wg sync.WaitGroup
	guess := func(from, to string) {
		wg.Go(func() {
			got := atk.Guess(t.Context(), from, to, "alice", "wrong", 30)
			t.Logf("guesses from %s: %s", from, got)
			if got.Denied < 7 || got.Accepted != 0 || got.Cut != 1 {
				t.Errorf("guesses from %s: got %s, want 7 denied and the next cut off", from, got)
			}
		})
	}
	guess(lab.Atk4, lab.Srv4)
	guess(lab.Atk6, lab.Srv6)
	guess(lab.Routed6, lab.Srv6)
	guess(old, lab.Srv4)
	wg.Wait()

	f := func(addr, prefix string, ports bool, want time.Duration, score uint32) {
		t.Helper()
		b := waitBan(t, d, "ssh", prefix)
		if length(b) != want || b.Ports != ports || b.Score != score {
			t.Errorf("ban of %s: got %s, ports %t, score %d, want %s, %t, %d", prefix, length(b), b.Ports, b.Score, want, ports, score)
		}
		lab.Wait(t, "ban and seven lines on the rap sheet of "+addr, func() bool {
			s := sheetOf(t, d, addr)
			if !s.Banned || len(s.Offenders) != 1 || s.Offenders[0].Prefix != netip.MustParsePrefix(prefix) || len(s.Offenders[0].Log) == 0 {
				return false
			}
			n := 0
			for _, x := range s.Offenders[0].Lines {
				// PAM speaks first, and is what was counted.
				if strings.HasSuffix(x.Line, "rhost="+addr+"  user=alice") && x.Program == "sshd" && x.User == "alice" && x.Addr == addr && x.Host == "srv" {
					n++
				}
			}
			return n == 7
		})
	}
	f(lab.Atk4, "198.51.100.66/32", true, minutes, 7)
	f(lab.Atk6, "2001:db8::66/128", true, minutes, 7)
	f(lab.Routed6, "2001:db8:66::/64", true, minutes, 7)
	f(old, old+"/32", false, year, 21)

	text := string(d.MustCLI("show", lab.Atk4))
	t.Logf("rapsheet show %s:\n%s", lab.Atk4, text)
	if n := strings.Count(text, "rhost=198.51.100.66  user=alice\n"); n < 7 || !strings.Contains(text, "BANNED") {
		t.Errorf("show: got %d lines of evidence, want at least 7, and BANNED", n)
	}
	passing := func() {
		t.Helper()
		var wg sync.WaitGroup
		for _, c := range []struct {
			from     string
			ssh, web bool
		}{
			{lab.Atk4, false, true}, {lab.Near4, true, true}, {old, false, false},
			{lab.Atk6, false, true}, {lab.Near6, true, true},
			{lab.Routed6, false, true}, {lab.Routed6Same, false, true}, {lab.Routed6Next, true, true},
		} {
			wg.Go(func() { passes(t, atk, c.from, 22, c.ssh) })
			wg.Go(func() { passes(t, atk, c.from, 8080, c.web) })
		}
		wg.Wait()
	}
	passing()

	// Nothing arrives while the daemon is killed and started again, by either kind of ban.
	watch := probe(t, srv, atk, 22, lab.Atk4, old, lab.Near4)
	forward := func(what string) {
		t.Helper()
		arrived, sent := watch[lab.Near4].arrived.Load(), watch[lab.Atk4].sent.Load()
		lab.Wait(t, "packets "+what, func() bool {
			return watch[lab.Near4].arrived.Load() > arrived+20 && watch[lab.Atk4].sent.Load() > sent+20
		})
	}
	forward("before the crash")
	d.Kill9()
	forward("without a daemon")
	d.Start()
	forward("after the start")
	f(lab.Atk4, "198.51.100.66/32", true, minutes, 7)
	f(lab.Routed6, "2001:db8:66::/64", true, minutes, 7)
	f(old, old+"/32", false, year, 21)
	passing()
	d.Restart()
	forward("after the restart")
	for addr, p := range watch {
		sent, arrived := p.sent.Load(), p.arrived.Load()
		t.Logf("datagrams from %s through kill -9, start and restart: %d sent, %d arrived", addr, sent, arrived)
		if arrived > 0 && addr != lab.Near4 {
			t.Errorf("%s got through while the daemon was away", addr)
		}
	}
}
