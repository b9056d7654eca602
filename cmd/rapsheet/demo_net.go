package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/integration/netns"
)

// Who is who in the demo. All but the host live behind one cable; the IPv6 addresses of 7::/64 and 8::/64 are reached by
// way of a router, for a /64 that is on-link is never banned as a whole.
var (
	demoHost      = netip.MustParsePrefix("203.0.113.1/24")
	demoHost6     = netip.MustParsePrefix("2001:db8:1::1/64")
	demoRouter6   = netip.MustParsePrefix("2001:db8:1::2/64")
	demoAttacker  = netip.MustParseAddr("203.0.113.7")
	demoNeighbour = netip.MustParseAddr("203.0.113.8")
	demoSlow      = netip.MustParseAddr("203.0.113.9")  // guesses for a year
	demoBlogger   = netip.MustParseAddr("203.0.113.10") // the same, at WordPress
	demoLiar      = netip.MustParseAddr("203.0.113.11") // with a hostile user name
	demoVictim    = netip.MustParseAddr("192.0.2.99")   // whom that name accuses

	demoAttacker6  = netip.MustParseAddr("2001:db8:7::1")
	demoAccomplice = netip.MustParseAddr("2001:db8:7::2") // in the same /64
	demoNeighbour6 = netip.MustParseAddr("2001:db8:8::1")
)

// A demoNet is the private network: the host, which is the namespace that the demo runs in, and the rest of the world.
type demoNet struct {
	host, world *netns.Net
	ipv6        bool
	ssh, https  *netns.Prober // what listens on the host's ports 22 and 443
	ssh6        *netns.Prober // nil without IPv6
}

// openDemoNet lays the cable and listens. Nobody is banned yet, so everybody must get through: what arrives no more
// later on was stopped by a ban.
func openDemoNet() (n *demoNet, err error) {
	n = &demoNet{}
	if _, err := os.Stat("/proc/self/net/if_inet6"); err == nil {
		n.ipv6 = true
	}
	if err := netns.Ready(); err != nil {
		return nil, err
	}
	if n.host, err = netns.Current(); err != nil {
		return nil, err
	}
	if n.world, err = netns.New(); err != nil {
		return nil, err
	}
	host := netns.End{Net: n.host, Name: "eth0", Addrs: []netip.Prefix{demoHost}}
	world := netns.End{Net: n.world, Name: "eth0"}
	for _, a := range []netip.Addr{demoAttacker, demoNeighbour, demoSlow, demoBlogger, demoLiar} {
		world.Addrs = append(world.Addrs, netip.PrefixFrom(a, demoHost.Bits()))
	}
	if n.ipv6 {
		host.Addrs = append(host.Addrs, demoHost6)
		world.Addrs = append(world.Addrs, demoRouter6)
		for _, a := range []netip.Addr{demoAttacker6, demoAccomplice, demoNeighbour6} {
			world.Addrs = append(world.Addrs, netip.PrefixFrom(a, 128))
		}
	}
	if err := netns.Join(host, world); err != nil {
		return nil, err
	}
	if n.ipv6 {
		for _, a := range []netip.Addr{demoAttacker6, demoNeighbour6} {
			if err := netns.AddRoute(slash64(a), demoRouter6.Addr()); err != nil {
				return nil, err
			}
		}
	}
	return n, n.listen()
}

func slash64(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 64).Masked() }

func (n *demoNet) listen() (err error) {
	open := func(host netip.Prefix, port uint16, control netip.Addr) *netns.Prober {
		p, e := netns.NewProber(n.host, n.world, netip.AddrPortFrom(host.Addr(), port), control)
		err = errors.Join(err, e)
		return p
	}
	n.ssh = open(demoHost, 22, demoNeighbour)
	n.https = open(demoHost, 443, demoNeighbour)
	if n.ipv6 {
		n.ssh6 = open(demoHost6, 22, demoNeighbour6)
	}
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{demoAttacker, demoNeighbour, demoSlow, demoBlogger, demoLiar} {
		err = errors.Join(err, n.reach(n.ssh, a), n.reach(n.https, a))
	}
	if n.ipv6 {
		for _, a := range []netip.Addr{demoAttacker6, demoAccomplice, demoNeighbour6} {
			err = errors.Join(err, n.reach(n.ssh6, a))
		}
	}
	return err
}

func (n *demoNet) reach(p *netns.Prober, src netip.Addr) error {
	ok, err := p.UDP(src)
	if err == nil && !ok {
		err = fmt.Errorf("packets from %s to %s arrive: got none, want all before the ban", src, p.Addr())
	}
	return err
}

// A demoTally is what became of packets.
type demoTally struct{ sent, arrived int }

func (t demoTally) String() string { return fmt.Sprintf("%d sent   %d arrived", t.sent, t.arrived) }

// probe sends two datagrams and opens one connection, which is one more packet, all at once.
func (n *demoNet) probe(p *netns.Prober, src netip.Addr) (demoTally, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	var t demoTally
	var err error
	for _, f := range []func(netip.Addr) (bool, error){p.UDP, p.UDP, p.TCP} {
		t.sent++
		all.Go(func() {
			ok, e := f(src)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, e)
			if ok {
				t.arrived++
			}
		})
	}
	all.Wait()
	return t, err
}

// pester sends a datagram a millisecond from src to the host's ssh port until ctx ends, and returns how many.
func (n *demoNet) pester(ctx context.Context, src netip.Addr) (sent int, err error) {
	err = n.world.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0)), net.UDPAddrFromAddrPort(n.ssh.Addr()))
		if err != nil {
			return err
		}
		defer c.Close()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if _, err := c.Write([]byte("pester")); err != nil {
				return err
			}
			sent++
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		return nil
	})
	return sent, err
}
