package allow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host returns what this host says of itself: addresses and routes by rtnetlink, in the network namespace of whichever
// thread asks; resolvers by resolv.conf; SSH sessions as they are now.
func Host() System {
	h := &host{sessions: sessions("/proc"), resolvers: resolvConfs}
	return System{
		Facts:  h.facts,
		Follow: h.follow,
		Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
	}
}

// A host is the one this process runs on.
type host struct {
	sessions  []netip.Addr // until restart: whoever logs out of a broken session must get in again
	resolvers []string     // files

	mu       sync.Mutex
	gateways map[netip.Addr]bool // as facts returned them last
}

func (h *host) facts() (Facts, error) {
	f := Facts{Sessions: h.sessions, Resolvers: resolvers(h.resolvers)}
	err := errors.Join(addresses(&f), gateways(&f))
	known := map[netip.Addr]bool{}
	for _, a := range f.Gateways {
		known[a] = true
	}
	h.mu.Lock()
	h.gateways = known
	h.mu.Unlock()
	return f, err
}

// attempts is how often a dump is begun again that a change has spoilt.
const attempts = 5

// addresses adds the addresses of all interfaces, and the networks that lie behind them without a router between.
func addresses(f *Facts) error {
	var list []netlink.Addr
	var err error
	for range attempts {
		list, err = netlink.AddrList(nil, netlink.FAMILY_ALL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	for _, a := range list {
		if a.IPNet == nil {
			continue
		}
		own, ok := netip.AddrFromSlice(a.IPNet.IP)
		if own = own.Unmap(); !ok || own.IsLoopback() || own.IsLinkLocalUnicast() {
			continue
		}
		f.Own = append(f.Own, own)
		link := a.IPNet
		if a.Peer != nil { // point to point: the network is the peer's
			link = a.Peer
		}
		at, ok := netip.AddrFromSlice(link.IP)
		bits, _ := link.Mask.Size()
		if p, err := at.Prefix(bits); ok && err == nil {
			f.Links = append(f.Links, p)
		}
	}
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	return nil
}

// gateways adds the next hops of all routes in all tables.
func gateways(f *Facts) error {
	seen := map[netip.Addr]bool{}
	add := func(ip net.IP) {
		if a, ok := netip.AddrFromSlice(ip); ok && !a.IsUnspecified() {
			seen[a.Unmap()] = true
		}
	}
	hop := func(gw net.IP, via netlink.Destination) {
		add(gw)
		if v, ok := via.(*netlink.Via); ok {
			add(v.Addr)
		}
	}
	var err error
	for range attempts {
		all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		err = netlink.RouteListFilteredIter(netlink.FAMILY_ALL, all, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			hop(r.Gw, r.Via)
			for _, n := range r.MultiPath {
				hop(n.Gw, n.Via)
			}
			return true
		})
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	for a := range seen {
		f.Gateways = append(f.Gateways, a)
	}
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	return nil
}
