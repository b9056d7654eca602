package allow

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
)

func TestParse(t *testing.T) {
	f := func(s string, want source, p string) {
		t.Helper()
		e, _, err := parse(s, true)
		if err != nil || e.source != want || p != "" && e.prefix != prefix(p) {
			t.Errorf("%s: got %+v %v, want %d %s", s, e, err, want, p)
		}
	}
	f("192.0.2.1", fixed, "192.0.2.1/32")
	f("192.0.2.0/24", fixed, "192.0.2.0/24")
	f("10.0.0.0/8", fixed, "10.0.0.0/8")
	f("2001:db8::1", fixed, "2001:db8::1/128")
	f("2001:db8::/32", fixed, "2001:db8::/32")
	f("::ffff:192.0.2.1", fixed, "192.0.2.1/32")
	f("home.example.net", named, "")
	f("home.example.net.", named, "")
	f("gw", named, "")
	f("4.example", named, "")
	f("_x-1.example", named, "")
	f("file:/etc/rapsheet/allow.txt", filed, "")
	f("cloudflare", known, "")
	f("CloudFlare", known, "")
}

func TestValidate(t *testing.T) {
	f := func(cfg Config, want ...string) {
		t.Helper()
		var errs value.Errors
		cfg.Validate(&errs)
		if len(errs) != len(want) {
			t.Fatalf("got %d mistakes, want %d:\n%v", len(errs), len(want), errs)
		}
		for i := range errs {
			if got := errs[i].Error(); got != want[i] {
				t.Errorf("mistake: got %q, want %q", got, want[i])
			}
		}
	}
	const kinds = " (an address, a network such as 192.0.2.0/24, a DNS name, or file:/path)"
	const wide = " is too wide: nearly nobody could be banned (list the networks that are meant, up to /8 and for IPv6 /32)"
	f(Config{Allow: texts("192.0.2.1", "home.example.net"), Proxies: texts("cloudflare", "10.0.0.0/8"), NAT64: []value.Prefix{{Prefix: prefix("2001:db8::/96")}}})
	f(Config{Allow: texts("192.0.2.300", "", "0.0.0.0/0")},
		`rapsheet.yaml:7:1: allow: "192.0.2.300" is no address and no network`+kinds,
		`rapsheet.yaml:7:2: allow: "" is no address and no network`+kinds,
		`rapsheet.yaml:7:3: allow: 0.0.0.0/0`+wide)
	f(Config{Proxies: texts("::/16", "192.0.2.1/24", "a..b", "-a.example", "192.0.2.1-9", "192.0.2.*", "fe80::1%eth0")},
		`rapsheet.yaml:7:1: proxies: ::/16`+wide,
		`rapsheet.yaml:7:2: proxies: "192.0.2.1/24" has host bits: 192.0.2.0/24 is the network, 192.0.2.1 the address`+kinds,
		`rapsheet.yaml:7:3: proxies: "a..b" is no address and no network`+kinds,
		`rapsheet.yaml:7:4: proxies: "-a.example" is no address and no network`+kinds,
		`rapsheet.yaml:7:5: proxies: "192.0.2.1-9" is no address and no network`+kinds,
		`rapsheet.yaml:7:6: proxies: "192.0.2.*" is no address and no network`+kinds,
		`rapsheet.yaml:7:7: proxies: "fe80::1%eth0" is no address and no network`+kinds)
	f(Config{Allow: texts("cloudflare", "file:allow.txt", "file:")},
		`rapsheet.yaml:7:1: allow: cloudflare is a list of proxies (proxies: [cloudflare])`,
		`rapsheet.yaml:7:2: allow: "allow.txt" is no absolute path (file:/etc/rapsheet/allow.txt)`,
		`rapsheet.yaml:7:3: allow: "" is no absolute path (file:/etc/rapsheet/allow.txt)`)
	f(Config{NAT64: []value.Prefix{{Prefix: prefix("2001:db8::/97")}, {Prefix: prefix("192.0.2.0/32")}}},
		`nat64: 2001:db8::/97 is no IPv6 network of 32, 40, 48, 56, 64 or 96 bits (such as 2001:db8:64::/96)`,
		`nat64: 192.0.2.0/32 is no IPv6 network of 32, 40, 48, 56, 64 or 96 bits (such as 2001:db8:64::/96)`)
}

func TestParseFile(t *testing.T) {
	list, bad, err := parseFile("# ours\n192.0.2.1 # alice\r\n\n  2001:db8::/48\nhome.example.net\nfile:/etc/passwd\n0.0.0.0/0\ncloudflare", false)
	if len(list) != 3 || list[0].prefix != prefix("192.0.2.1/32") || list[1].prefix != prefix("2001:db8::/48") || list[2].text != "home.example.net" {
		t.Errorf("entries: got %+v", list)
	}
	if bad != 3 || err == nil || err.Error() != "line 6: a file can't name another" {
		t.Errorf("bad: got %d %v", bad, err)
	}
}

func TestCloudflare(t *testing.T) {
	if len(edge) != 22 {
		t.Fatalf("networks: got %d, want 22", len(edge))
	}
	for _, p := range edge {
		if p != p.Masked() || !p.IsValid() {
			t.Errorf("%s is no network", p)
		}
	}
}

// What an entry is does not depend on how often it is read, and none of them is everybody.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "::ffff:192.0.2.0/120", "home.example.net.", "file:/a", "cloudflare", "0/0", "1.2.3.4/7", "a_b", "# x", "fe80::1%1"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, proxies bool) {
		e, hint, err := parse(s, proxies)
		if err != nil {
			if hint == "" {
				t.Fatalf("%q: no hint with %v", s, err)
			}
		} else {
			check(t, e)
			if e.source == named {
				if _, err := netip.ParseAddr(e.text); err == nil {
					t.Fatalf("%q is an address and a name", s)
				}
			}
		}
		list, bad, first := parseFile(s, proxies)
		if (bad > 0) != (first != nil) || len(list)+bad > strings.Count(s, "\n")+1 {
			t.Fatalf("%q: %d entries, %d bad, %v", s, len(list), bad, first)
		}
		for _, e := range list {
			check(t, e)
			if e.source == filed {
				t.Fatalf("%q: a file names another", s)
			}
		}
	})
}

func check(t *testing.T, e entry) {
	t.Helper()
	p := e.prefix
	switch e.source {
	case fixed:
		again, _, err := parse(p.String(), false)
		if err != nil || again.prefix != p || p != p.Masked() || p.Addr().Is4In6() || Wide(p) {
			t.Fatalf("prefix: got %s, again %s %v", p, again.prefix, err)
		}
	default:
		if p.IsValid() || e.text == "" {
			t.Fatalf("entry: got %+v", e)
		}
	}
}
