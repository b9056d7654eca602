package integration

import (
	"strings"
	"sync"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// What a real WordPress said while it was attacked leads to bans as sshd's messages do: web ports are closed to the
// attacker, to nobody else, and stay closed over a crash.
func TestGuessersAtWordPressAreBanned(t *testing.T) {
	t.Parallel()
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(lab.Build(t), "{}\n")
	srv.Rsyslog(lab.Snippet(t, "127.0.0.1"))
	for _, port := range []int{80, 443, 8080} {
		srv.Echo(port)
	}

	// The failures are sent twice more, as if from IPv6 addresses. The one that the capture has is of a router of ours.
	const router = "2001:db8::70"
	all := lab.WordPress()
	srv.Log(all...)
	srv.Log(failuresOf(lab.From(all, lab.Atk4, lab.Atk6), lab.Atk6)...)
	srv.Log(failuresOf(lab.From(all, lab.Atk4, lab.Routed6), lab.Routed6)...)

	f := func(addr, prefix string) {
		t.Helper()
		b := waitBan(t, d, "wordpress", prefix)
		if length(b) != minutes || !b.Ports || b.Score != 7 {
			t.Errorf("ban of %s: got %s, ports %t, score %d, want %s, true, 7", prefix, length(b), b.Ports, b.Score, minutes)
		}
		lab.Wait(t, "the lines of "+addr, func() bool {
			s := sheetOf(t, d, addr)
			return s.Banned && len(s.Offenders[0].Lines) == 10
		})
		text := string(d.MustCLI("show", addr))
		for _, want := range []string{"BANNED", "wordpress(", "XML-RPC multicall authentication failure from " + addr} {
			if !strings.Contains(text, want) {
				t.Errorf("show %s: got no %q in\n%s", addr, want, text)
			}
		}
	}
	f(lab.Atk4, "198.51.100.66/32")
	f(lab.Atk6, "2001:db8::66/128")
	f(lab.Routed6, "2001:db8:66::/64")
	t.Logf("rapsheet show %s:\n%s", lab.Atk4, d.MustCLI("show", lab.Atk4))
	if s := sheetOf(t, d, router); s.Never != "gateway" || len(s.Offenders) != 0 {
		t.Errorf("rap sheet of %s: got %+v, want that a gateway is never banned", router, s)
	}
	// Addresses that are nothing but parts of user names.
	for _, addr := range []string{"192.0.2.99", "192.0.2.98"} {
		if s := sheetOf(t, d, addr); len(s.Offenders) != 0 {
			t.Errorf("rap sheet of %s: got %+v, want nothing", addr, s)
		}
	}

	packets := func() {
		t.Helper()
		var wg sync.WaitGroup
		for from, web := range map[string]bool{
			lab.Atk4: false, lab.Near4: true, lab.Atk6: false, lab.Near6: true,
			lab.Routed6: false, lab.Routed6Same: false, lab.Routed6Next: true,
		} {
			wg.Go(func() { passes(t, atk, from, 80, web) })
			wg.Go(func() { passes(t, atk, from, 443, web) })
			wg.Go(func() { passes(t, atk, from, 8080, true) })
		}
		wg.Wait()
	}
	packets()
	d.Kill9()
	d.Start()
	f(lab.Atk4, "198.51.100.66/32")
	f(lab.Atk6, "2001:db8::66/128")
	f(lab.Routed6, "2001:db8:66::/64")
	packets()
}

// failuresOf are the lines that end in an address and say that a login failed.
func failuresOf(lines []lab.Line, addr string) []lab.Line {
	var failures []lab.Line
	for _, l := range lines {
		if strings.HasSuffix(l.Text, " from "+addr) && (strings.Contains(l.Text, "uthentication failure") || strings.Contains(l.Text, "uthentication attempt")) {
			failures = append(failures, l)
		}
	}
	return failures
}
