package allow

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rs/zerolog"
)

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, prefix(s))
	}
	return p
}

func addrs(list ...string) []netip.Addr {
	var a []netip.Addr
	for _, s := range list {
		a = append(a, addr(s))
	}
	return a
}

func texts(list ...string) []value.String {
	var v []value.String
	for i, s := range list {
		v = append(v, value.String{S: s, Pos: value.Pos{File: "rapsheet.yaml", Line: 7, Column: i + 1}})
	}
	return v
}

// static is a host that never changes.
func static(f Facts) System { return System{Facts: func() (Facts, error) { return f, nil }} }

// The host of most tests: one address of each family, a router, a resolver, somebody logged in.
var here = Facts{
	Own:       addrs("192.0.2.2", "2001:db8::1"),
	Links:     prefixes("192.0.2.0/24", "2001:db8::/64", "2001:db8:99::/56", "2002::/16"),
	Gateways:  addrs("192.0.2.1", "2001:db8:5::1"),
	Resolvers: addrs("203.0.113.53"),
	Sessions:  addrs("198.51.100.10"),
}

func newList(cfg Config, f Facts) *List { return New(cfg, static(f), zerolog.Nop()) }

func TestWhy(t *testing.T) {
	l := newList(Config{
		Allow:   texts("198.51.100.64/28", "198.51.100.10", "2001:db8:77::/48", "192.0.2.2"),
		Proxies: texts("198.51.100.70", "Cloudflare", "10.1.2.3", "198.51.100.128/25"),
	}, here)
	l.AllowSenders(prefixes("198.51.100.200/32", "198.51.101.0/24"))
	f := func(a, want string) {
		t.Helper()
		if got := l.Why(addr(a)); got != want {
			t.Errorf("%s: got %q, want %q", a, got, want)
		}
	}
	f("192.0.2.2", "own address")
	f("2001:db8::1", "own address")
	f("192.0.2.1", "gateway")
	f("203.0.113.53", "DNS server of this host")
	f("198.51.100.10", "allow: 198.51.100.10") // will still hold when the session has ended
	f("198.51.100.65", "allow: 198.51.100.64/28")
	f("198.51.100.70", "proxies: 198.51.100.70")
	f("198.51.100.129", "proxies: 198.51.100.128/25")
	f("198.51.100.200", "sender of messages")
	f("198.51.101.1", "") // inside a senders' network
	f("2001:db8:77:1:2:3:4:5", "allow: 2001:db8:77::/48")
	f("104.16.1.1", "proxies: cloudflare")
	f("2a06:98c7::1", "proxies: cloudflare")
	f("10.1.2.3", "proxies: 10.1.2.3")
	f("10.1.2.4", "private network 10.0.0.0/8")
	f("172.31.255.255", "private network 172.16.0.0/12")
	f("192.168.1.1", "private network 192.168.0.0/16")
	f("100.127.0.1", "carrier NAT 100.64.0.0/10")
	f("fd00::1", "private network fc00::/7")
	f("127.8.9.10", "loopback")
	f("::1", "loopback")
	f("0.0.0.0", "unspecified")
	f("::", "unspecified")
	f("169.254.1.1", "link-local")
	f("fe80::1%eth0", "link-local")
	f("224.0.0.1", "multicast")
	f("ff02::1", "multicast")
	f("255.255.255.255", "broadcast")
	f("::ffff:192.0.2.2", "own address")
	f("172.32.0.1", "")
	f("100.128.0.1", "")
	f("192.0.2.3", "") // documentation networks are like any other
	f("198.51.100.80", "")
	f("2001:db8::2", "")
	if got := l.Why(netip.Addr{}); got != "" {
		t.Errorf("no address: got %q", got)
	}
}

func TestBanPrivate(t *testing.T) {
	l := newList(Config{BanPrivate: value.Bool{B: true}}, Facts{Own: addrs("10.0.0.5")})
	f := func(a, want string) {
		t.Helper()
		if got := l.Why(addr(a)); got != want {
			t.Errorf("%s: got %q, want %q", a, got, want)
		}
	}
	f("10.0.0.4", "")
	f("10.0.0.5", "own address")
	f("192.168.1.1", "")
	f("100.64.0.1", "")
	f("fd00::1", "")
	f("127.0.0.1", "loopback")
	f("169.254.0.1", "link-local")
}

func TestOffender(t *testing.T) {
	l := newList(Config{
		Allow: texts("2001:db8:a:b::25", "2001:db8:c::/48", "2002:c000:201:5::/64"),
		NAT64: []value.Prefix{{Prefix: prefix("2001:db8:64::/96")}, {Prefix: prefix("2001:db8:65::/48")}},
	}, here)
	f := func(a, want string) {
		t.Helper()
		if got := l.Offender(addr(a)); got != prefix(want) {
			t.Errorf("%s: got %s, want %s", a, got, want)
		}
	}
	f("198.51.100.66", "198.51.100.66/32")
	f("192.0.2.9", "192.0.2.9/32")
	f("::ffff:198.51.100.66", "198.51.100.66/32")
	f("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")
	f("2001:db8::66", "2001:db8::66/128")                     // on-link
	f("2001:db8:0:1::66", "2001:db8:0:1::/64")                // the next one
	f("2001:db8:99:5::66", "2001:db8:99:5::66/128")           // on-link /56
	f("2001:db8:99:100::66", "2001:db8:99:100::/64")          // behind it
	f("2001:db8:5::66", "2001:db8:5::66/128")                 // with the gateway
	f("2001:db8:a:b::66", "2001:db8:a:b::66/128")             // with an allowed address
	f("2001:db8:a:c::66", "2001:db8:a:c::/64")                //
	f("64:ff9b::c633:6442", "64:ff9b::c633:6442/128")         // NAT64
	f("64:ff9b:0:0:1::1", "64:ff9b:0:0:1::1/128")             // its /64 would hold them all
	f("64:ff9b:1:5::1", "64:ff9b:1:5::1/128")                 //
	f("64:ff9b:2:5::1", "64:ff9b:2:5::/64")                   //
	f("2001::5", "2001::5/128")                               // Teredo
	f("2001:0:1:2::5", "2001:0:1:2::5/128")                   //
	f("2001:1::5", "2001:1::/64")                             //
	f("2001:db8:64::c633:6442", "2001:db8:64::c633:6442/128") // nat64:
	f("2001:db8:65:7::1", "2001:db8:65:7::1/128")             //
	f("2002:c633:6442:7::1", "2002:c633:6442::/48")           // 6to4, though its interface has a /16
	f("2002:c000:201:7::1", "2002:c000:201:7::1/128")         // where one is allowed
	if got := l.Offender(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: got %s", got)
	}
}

func TestNever(t *testing.T) {
	l := newList(Config{Allow: texts("198.51.100.0/25", "198.51.100.128/26", "198.51.100.192/26", "203.0.113.7", "2001:db8:77::/48")}, here)
	f := func(p, want string) {
		t.Helper()
		got, yes := l.Never(prefix(p))
		if got != want || yes != (want != "") {
			t.Errorf("%s: got %q %v, want %q", p, got, yes, want)
		}
	}
	f("203.0.113.7/32", "allow: 203.0.113.7")
	f("203.0.113.0/24", "") // only contains one: the kernel's allow set comes first
	f("203.0.113.6/31", "")
	f("198.51.100.0/25", "allow: 198.51.100.0/25")
	f("198.51.100.77/32", "allow: 198.51.100.0/25")
	f("198.51.100.0/24", "allow: 198.51.100.0/25, and others that make up the whole")
	f("198.51.100.0/23", "")
	f("198.51.100.99/24", "allow: 198.51.100.0/25, and others that make up the whole") // host bits
	f("2001:db8:77:5::/64", "allow: 2001:db8:77::/48")
	f("2001:db8::/64", "") // holds our own address
	f("2001:db8::1/128", "own address")
	f("::ffff:203.0.113.7/128", "allow: 203.0.113.7")
	f("0.0.0.0/0", "all addresses")
	f("::/0", "all addresses")
	f("::ffff:0:0/96", "all addresses")
	f("0.0.0.0/1", "")
	f("127.0.0.0/8", "loopback")
	if got, yes := l.Never(netip.Prefix{}); !yes {
		t.Errorf("no prefix: got %q %v, want it refused", got, yes)
	}
}

func TestWide(t *testing.T) {
	f := func(p string, want bool) {
		t.Helper()
		if got := Wide(prefix(p)); got != want {
			t.Errorf("%s: got %v, want %v", p, got, want)
		}
	}
	f("0.0.0.0/0", true)
	f("10.0.0.0/7", true)
	f("10.0.0.0/8", false)
	f("192.0.2.1/32", false)
	f("::/0", true)
	f("2001:db8::/31", true)
	f("2001:db8::/32", false)
	f("::ffff:10.0.0.0/103", true)
	f("::ffff:10.0.0.0/104", false)
}

func TestPrefixes(t *testing.T) {
	f := func(allow []string, want ...string) {
		t.Helper()
		l := newList(Config{Allow: texts(allow...), BanPrivate: value.Bool{B: true}}, Facts{})
		reserved := prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::/127", "fe80::/10", "ff00::/8")
		got := slices.DeleteFunc(slices.Clone(l.Prefixes()), func(p netip.Prefix) bool { return slices.Contains(reserved, p) })
		if len(l.Prefixes()) != len(got)+len(reserved) {
			t.Errorf("%v: something reserved is missing in %v", allow, l.Prefixes())
		}
		if !slices.Equal(got, prefixes(want...)) {
			t.Errorf("%v: got %v, want %v", allow, got, want)
		}
	}
	f(nil)
	f([]string{"198.51.100.7"}, "198.51.100.7/32")
	f([]string{"198.51.100.7", "198.51.100.0/24", "2001:db8::5"}, "198.51.100.0/24", "2001:db8::5/128")
	f([]string{"198.51.100.0/25", "198.51.100.128/25"}, "198.51.100.0/24")
	f([]string{"127.0.0.1"})

	var all []string
	for i := range 256 {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i)}), 8).String())
	}
	got := newList(Config{Allow: texts(all...)}, Facts{}).Prefixes()
	if want := prefixes("0.0.0.0/1", "128.0.0.0/1"); !slices.Equal(got[:2], want) || got[2].Addr().Is4() {
		t.Errorf("all of IPv4: got %v, want %v first", got, want)
	}
}
