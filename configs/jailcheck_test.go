package configs

import (
	"strings"
	"testing"
)

func TestJailMistakes(t *testing.T) {
	f := func(jails string, want ...string) {
		t.Helper()
		dir := host(t, "rapsheet.yaml", "jails:\n"+jails)
		r := Load(Options{Dir: dir})
		var got []string
		for _, e := range append(r.Errors, r.Warnings...) {
			got = append(got, strings.TrimPrefix(e.Error(), dir+"/rapsheet.yaml:"))
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s\n got %s\nwant %s", jails, g, w)
		}
		if r.Fatal {
			t.Errorf("%s\nfatal: a jail's mistake costs that jail only", jails)
		}
	}
	const tiers = "tiers: [{maxretry: 5, findtime: 10m, bantime: 10m}]"
	f("  a: {filters: all, " + tiers + "}")
	f("  a: {filters: [ssh], count: probe, " + tiers + "}")
	f("  a: {filters: [ssh], mode: observe, " + tiers + "}")
	f("  a: {filters: ssh, tiers: {maxretry: 5, findtime: 10m, bantime: [10m, 1h, permanent], jitter: 5%, ports: [22, web]}}")
	f("  a: {filters: ssh, tiers: [{maxretry: 5, findtime: 1h, bantime: 1h}, {strikes: 3, findtime: 1y, bantime: 1y}]}")

	f("  allow: {filters: ssh, "+tiers+"}", "2:3: no jail can be called allow: the word means something else (choose another)")
	f("  manual: {filters: ssh, "+tiers+"}", "2:3: no jail can be called manual: the word means something else (choose another)")
	f("  Web: {filters: ssh, "+tiers+"}", "2:3: Web is no name for a jail (lower-case letters, digits and hyphens)")
	f("  \"a\\e[1m\": {filters: ssh, "+tiers+"}", `2:3: "a\x1b[1m" is no name for a jail (lower-case letters, digits and hyphens)`)
	f("  exactly-fourte: {filters: ssh, " + tiers + "}")
	f("  fifteen-letters: {filters: ssh, "+tiers+"}", "2:3: jail name fifteen-letters is longer than 14 characters (kernel set names hold no more)")

	f("  a:", "2:3: jail has no filters (filters: [ssh], or filters: all)")
	f("  a: {filters: ssh}", "2:3: jail a has no tiers (tiers: [{maxretry: 5, findtime: 10m, bantime: 10m}])")
	f("  a: {filters: [all, ssh], "+tiers+"}", "2:17: all stands alone: it is every filter there is")
	f("  a: {filters: [shh], "+tiers+"}", "2:17: no filter shh (did you mean ssh?)")
	f("  a: {filters: ssh, count: success, "+tiers+"}", "2:28: success cannot be counted (one of failure, probe, abuse)")
	f("  a: {filters: ssh, count: [], "+tiers+"}", "2:3: count is empty: no event would score (leave it away to count failures)")
	f("  a: {filters: ssh, sinks: [ipsets], "+tiers+"}", "2:29: no sink ipsets (did you mean ipset?)")
	f("  a: {filters: ssh, sinks: [], "+tiers+"}", "2:3: jail has no sinks: its bans have no effect (mode: observe says so more clearly)")
	f("  a: {filters: ssh, mode: obsrve, "+tiers+"}", "2:27: mode cannot be obsrve (did you mean observe?)")

	tier := func(tier string, want ...string) {
		t.Helper()
		f("  a:\n    filters: ssh\n    tiers: {"+tier+"}", want...)
	}
	tier("findtime: 1h, bantime: 1h", "4:12: tier has no threshold (maxretry, users or strikes)")
	tier("maxretry: 5, users: 5, findtime: 1h, bantime: 1h", "4:12: tier has maxretry and users: only one of them (make two tiers of it)")
	tier("maxretry: many, findtime: 1h, bantime: 1h", `4:23: maxretry: "many" is no whole number`)
	tier("maxretry: 1001, findtime: 1h, bantime: 1h", "4:23: maxretry is from 1 to 1000")
	tier("users: 0, findtime: 1h, bantime: 1h", "4:20: users is from 1 to 100")
	tier("strikes: 3, findtime: 1h, bantime: 1h",
		"4:12: tiers by strikes alone never ban: the first strike needs another tier (add one with maxretry or users)")
	tier("maxretry: 5, bantime: 1h", "4:12: tier needs a findtime above zero")
	tier("maxretry: 5, findtime: 0, bantime: 1h", "4:36: tier needs a findtime above zero")
	tier("maxretry: 5, findtime: permanent, bantime: 1h", "4:36: findtime cannot be permanent: history is kept for 1y1mo5d")
	tier("maxretry: 5, findtime: 2y, bantime: 1h", "4:36: findtime 2y is longer than history is kept: 1y1mo5d")
	tier("maxretry: 5, findtime: 1h", "4:12: tier has no bantime (bantime: 10m, or by strike [10m, 1d, 1y])")
	tier("maxretry: 5, findtime: 1h, bantime: 0", "4:49: bantime must be at least 1s")
	tier("maxretry: 5, findtime: 1h, bantime: [1d, 1h]", "4:54: bantime 1h comes after 1d (each step at least as long as the one before)")
	tier("maxretry: 1, findtime: 1h, bantime: 1y", "4:23: one mistyped password bans for 1y")
	tier("maxretry: 5, findtime: 1h, bantime: 1h, jitter: 2", `4:61: jitter: "2" is no part of a whole: write 5% or 0.05, at most 100%`)
	tier("maxretry: 5, findtime: 1h, bantime: 1h, ports: [ssh, shh]",
		`4:66: ports: "shh" is no port: a number from 1 to 65535, or a name such as ssh, http, https, mail`)
	one := "{maxretry: 5, findtime: 1h, bantime: 1h}"
	f("  a:\n    filters: ssh\n    tiers: ["+strings.Repeat(one+", ", 4)+one+"]", "4:181: jail a has 5 tiers: at most 4")
}

func TestListenerMistakes(t *testing.T) {
	f := func(listen string, want ...string) {
		t.Helper()
		dir := host(t, "rapsheet.yaml", "listen: "+listen+"\n")
		r := Load(Options{Dir: dir})
		var got []string
		for _, e := range append(r.Errors, r.Warnings...) {
			got = append(got, strings.TrimPrefix(e.Error(), dir+"/rapsheet.yaml:"))
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s\n got %s\nwant %s", listen, g, w)
		}
		if r.Fatal != (len(r.Errors) > 0) {
			t.Errorf("%s: got fatal %v", listen, r.Fatal)
		}
	}
	f("[{tcp: 192.0.2.1:5514, senders: [192.0.2.2]}, {udp: 192.0.2.1:5514, senders: 192.0.2.0/24}]")
	f("{tcp: '[::1]:5514'}")
	f("{tcp: 127.0.0.1:0}")
	f("[]", "1:9: nothing to listen on: no messages, no bans")
	f("[{name: x}]", "1:17: listener without an address (unix: PATH, tcp: ADDRESS:PORT or udp: ADDRESS:PORT)")
	f("{udp: 192.0.2.1:5514}", "1:15: udp 192.0.2.1:5514 needs a list of senders: any host can forge datagrams (senders: [192.0.2.10])")
	f("{udp: ':5514'}", "1:15: udp :5514 needs a list of senders: any host can forge datagrams (senders: [192.0.2.10])")
	f("{tcp: '[::]:5514'}", "1:15: tcp [::]:5514 takes messages from this host only: it has no senders (senders: [192.0.2.10])")
	f("{tcp: 192.0.2.1:5514, senders: [0.0.0.0/0, 2001:db8::/32]}",
		"1:41: nearly anybody may send, and so have others banned (list the hosts that send)")
	f("{udp: 127.0.0.1:1, trusted: true}",
		"1:37: udp 127.0.0.1:1 is trusted: a forged datagram can have anybody banned for long (use tcp)")
	f("{udp: 127.0.0.1:1, max_bantime: 1y}", "1:41: forged messages can ban anyone for 1y")
	f("[{tcp: 127.0.0.1:1}, {udp: 127.0.0.1:1}, {tcp: 127.0.0.1:1}]", "1:56: tcp 127.0.0.1:1 is taken by another listener")
	f("[{tcp: ':1', senders: 192.0.2.1}, {tcp: 127.0.0.1:1}]", "1:49: tcp 127.0.0.1:1 is taken by another listener")
	f("[{tcp: 0.0.0.0:1, senders: 192.0.2.1}, {tcp: '[::1]:1'}]")
	f("[{unix: /run/a}, {unix: /run/a}]", "1:33: unix /run/a is taken by another listener")
}

func TestOtherMistakes(t *testing.T) {
	f := func(src string, want ...string) {
		t.Helper()
		dir := host(t, "rapsheet.yaml", src+"\n")
		r := Load(Options{Dir: dir})
		var got []string
		for _, e := range append(r.Errors, r.Warnings...) {
			got = append(got, strings.TrimPrefix(e.Error(), dir+"/rapsheet.yaml:"))
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s\n got %s\nwant %s", src, g, w)
		}
	}
	f("mode: Enforce", "1:7: mode cannot be Enforce (did you mean enforce?)")
	f("log: verbose", "1:6: log cannot be verbose (one of debug, info, warn, error)")
	f("state: var/lib", "1:8: state: var/lib is no absolute path (begin it with /)")
	f("socket: x", "1:9: socket: x is no absolute path (begin it with /)")
	f("ignoreip: 192.0.2.1", "1:1: unknown key ignoreip (did you mean allow?)")
	f("sinks: {ipset: {maxelem: 10}}", "1:26: maxelem 10: sets are grown and swapped from the start")
	f("sinks: {ipset: {maxelm: 10}}", "1:17: unknown key maxelm (did you mean maxelem?)")
	f("sinks: {mail: {to: root}}", "1:9: this version has no sink mail: it is left out")
	f("sinks: {mial: {to: root}}", "1:9: unknown key mial")
	f("sinks: off", "1:8: sinks wants a map, not a single value")
	f("jails: off", "1:8: jails wants a map, not a single value")
	f("jails: {ssh: off, mail: off, wordpress: off}", "1:8: no jails: nobody is banned but by hand")
}

// Each part finds its own mistakes; here it counts that all are asked, and that the place is told.
func TestPartsAreAsked(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		dir := host(t, "rapsheet.yaml", src+"\n")
		r := Load(Options{Dir: dir})
		if len(r.Errors) != 1 || strings.TrimPrefix(r.Errors[0].Pos.String(), dir+"/rapsheet.yaml:") != want || !r.Fatal {
			t.Errorf("%s: got %v, want one mistake at %s, and fatal", src, r.Errors, want)
		}
	}
	f("min_free: 1k", "1:11")
	f("allow: [192.0.2.1, 192.0.2.1/24]", "1:20")
	f("allow: 0.0.0.0/0", "1:8")
	f("proxies: [192.0.2.1, a b]", "1:22")
	f("nat64: [192.0.2.0/24]", "1:9")
	f("listen: [{tcp: nowhere}]", "1:16")
}
