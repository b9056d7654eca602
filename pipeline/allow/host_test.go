package allow

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/netns"
	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink"
)

// wait polls until ok, for as long as a busy machine may take.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not seen: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cable adds an interface to the test's namespace, and its other end.
func cable(t *testing.T, name string) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-far"}))
	far, err := netlink.LinkByName(name + "-far")
	must(t, err)
	must(t, netlink.LinkSetUp(far))
	link, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	return link
}

// parseAddress reads 192.0.2.1/24, and keeps the kernel from looking for duplicates.
func parseAddress(t *testing.T, s string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(s)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = 0x02 // IFA_F_NODAD
	}
	return a
}

func route(t *testing.T, to, via string) *netlink.Route {
	t.Helper()
	_, dst, err := net.ParseCIDR(to)
	must(t, err)
	return &netlink.Route{Dst: dst, Gw: net.ParseIP(via)}
}

func TestHostFacts(t *testing.T) {
	netns.Run(t, func(t *testing.T) {
		link := cable(t, "eth0")
		for _, s := range []string{"192.0.2.2/24", "2001:db8::2/64", "2001:db8:9::2/128"} {
			must(t, netlink.AddrAdd(link, parseAddress(t, s)))
		}
		peer := parseAddress(t, "198.51.100.1/32")
		peer.Peer = &net.IPNet{IP: net.ParseIP("198.51.100.2").To4(), Mask: net.CIDRMask(31, 32)}
		must(t, netlink.AddrAdd(link, peer))
		must(t, netlink.RouteAdd(route(t, "0.0.0.0/0", "192.0.2.1")))
		must(t, netlink.RouteAdd(route(t, "203.0.113.0/24", "192.0.2.9")))
		must(t, netlink.RouteAdd(route(t, "2001:db8:7::/48", "2001:db8::9")))
		other := route(t, "203.0.114.0/24", "192.0.2.10")
		other.Table = 77
		must(t, netlink.RouteAdd(other))
		_, dst, _ := net.ParseCIDR("203.0.115.0/24")
		must(t, netlink.RouteAdd(&netlink.Route{Dst: dst, MultiPath: []*netlink.NexthopInfo{
			{LinkIndex: link.Attrs().Index, Gw: net.ParseIP("192.0.2.11")}, {LinkIndex: link.Attrs().Index, Gw: net.ParseIP("192.0.2.12")},
		}}))
		_, dst, _ = net.ParseCIDR("203.0.116.0/24")
		must(t, netlink.RouteAdd(&netlink.Route{Dst: dst, LinkIndex: link.Attrs().Index, Via: &netlink.Via{AddrFamily: netlink.FAMILY_V6, Addr: net.ParseIP("2001:db8::13")}}))

		f, err := Host().Facts()
		must(t, err)
		sorted := func(list []netip.Addr) []netip.Addr { slices.SortFunc(list, netip.Addr.Compare); return list }
		if got, want := sorted(f.Own), addrs("192.0.2.2", "198.51.100.1", "2001:db8::2", "2001:db8:9::2"); !slices.Equal(got, want) {
			t.Errorf("own: got %v, want %v", got, want)
		}
		if got, want := sorted(f.Gateways), addrs("192.0.2.1", "192.0.2.9", "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::9", "2001:db8::13"); !slices.Equal(got, want) {
			t.Errorf("gateways: got %v, want %v", got, want)
		}
		for _, p := range prefixes("192.0.2.0/24", "2001:db8::/64", "2001:db8:9::2/128", "198.51.100.2/31") {
			if !slices.Contains(f.Links, p) {
				t.Errorf("links: got %v, want %s among them", f.Links, p)
			}
		}
	})
}

func TestHostFollow(t *testing.T) {
	netns.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		conf := filepath.Join(dir, "resolv.conf")
		h := &host{resolvers: []string{conf}}
		l := New(Config{}, System{Facts: h.facts, Follow: h.follow}, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		f := func(a, want string) {
			t.Helper()
			wait(t, a+" is "+want, func() bool { return l.Why(addr(a)) == want })
		}

		link := cable(t, "eth0")
		v4, v6 := parseAddress(t, "192.0.2.2/24"), parseAddress(t, "2001:db8::2/64")
		must(t, netlink.AddrAdd(link, v4))
		f("192.0.2.2", "own address")
		if got := l.Offender(addr("2001:db8::66")); got != prefix("2001:db8::/64") {
			t.Errorf("before it is on-link: got %s", got)
		}
		must(t, netlink.AddrAdd(link, v6))
		f("2001:db8::2", "own address")
		if got := l.Offender(addr("2001:db8::66")); got != prefix("2001:db8::66/128") {
			t.Errorf("on-link: got %s", got)
		}

		must(t, netlink.RouteAdd(route(t, "0.0.0.0/0", "192.0.2.1")))
		f("192.0.2.1", "gateway")
		must(t, netlink.RouteAdd(route(t, "203.0.113.0/24", "192.0.2.9")))
		f("192.0.2.9", "gateway")
		must(t, netlink.RouteAdd(route(t, "2001:db8:7::/48", "2001:db8::9")))
		f("2001:db8::9", "gateway")
		must(t, netlink.RouteReplace(route(t, "0.0.0.0/0", "192.0.2.5")))
		f("192.0.2.5", "gateway")
		f("192.0.2.1", "")
		must(t, netlink.RouteDel(route(t, "0.0.0.0/0", "192.0.2.5")))
		f("192.0.2.5", "")

		must(t, os.WriteFile(conf, []byte("nameserver 203.0.113.53\n"), 0o600))
		f("203.0.113.53", "DNS server of this host")
		select {
		case <-l.Changed():
		default:
			t.Error("nothing changed")
		}

		must(t, netlink.AddrDel(link, v6))
		f("2001:db8::2", "")
		must(t, netlink.LinkDel(link))
		f("192.0.2.2", "")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestHost(t *testing.T) {
	s := Host()
	f, err := s.Facts()
	if err != nil {
		t.Skip("this host's addresses can't be listed: " + err.Error())
	}
	l := New(Config{}, s, zerolog.Nop())
	for _, a := range f.Own {
		if l.Why(a) != "own address" {
			t.Errorf("%s: got %q", a, l.Why(a))
		}
	}
	got, err := s.Lookup(t.Context(), "localhost")
	if err != nil || !slices.ContainsFunc(got, netip.Addr.IsLoopback) {
		t.Errorf("localhost: got %v %v", got, err)
	}
}
