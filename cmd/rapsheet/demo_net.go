package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
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

// openDemoNet lays the cable and listens.
func openDemoNet() (n *demoNet, err error) {
	n = &demoNet{ipv6: readSysctl("net.ipv6.conf.default.disable_ipv6") == "0"}
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
	return nil
}

// A demoTally is what became of packets.
type demoTally struct{ sent, arrived int }

func (t demoTally) String() string { return fmt.Sprintf("%d sent   %d arrived", t.sent, t.arrived) }

// demoGrace is how long packets may be under way that were sent before others that have arrived: all go through the same
// queue, so it only covers a change of CPU in between.
const demoGrace = 60 * time.Millisecond

// probe sends three packets from src: two datagrams, and one that opens a connection. Then the neighbour sends as many,
// and when his have arrived, those of src have too, or never will.
func (n *demoNet) probe(ctx context.Context, to *netns.Prober, src, neighbour netip.Addr) (demoTally, error) {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	there, err := n.volley(ctx, to, src)
	if err != nil {
		return demoTally{}, err
	}
	if src == neighbour {
		return demoTally{volley, there(ctx)}, nil
	}
	others, err := n.volley(ctx, to, neighbour)
	if err != nil {
		return demoTally{}, err
	}
	if got := others(ctx); got < volley {
		return demoTally{}, &mismatch{fmt.Sprintf("packets from the neighbour %s to port %d", neighbour, to.Addr().Port()), fmt.Sprint(volley), fmt.Sprint(got)}
	}
	ctx, cancel = context.WithTimeout(ctx, demoGrace)
	defer cancel()
	return demoTally{volley, there(ctx)}, nil
}

// volley is how many packets a probe sends.
const volley = 3

// volley sends. The function it returns waits until all are there, or ctx ends, and says how many.
func (n *demoNet) volley(ctx context.Context, to *netns.Prober, src netip.Addr) (there func(context.Context) int, err error) {
	before := to.Seen(src)
	err = n.world.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0)), net.UDPAddrFromAddrPort(to.Addr()))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(make([]byte, 8))
		_, err2 := c.Write(make([]byte, 8))
		return errors.Join(err, err2)
	})
	if err != nil {
		return nil, err
	}
	began := make(chan struct{}, 1)
	begin := func() {
		select {
		case began <- struct{}{}:
		default:
		}
	}
	var connected atomic.Int32
	go n.world.Do(func() error {
		defer begin()
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0)), Control: func(string, string, syscall.RawConn) error {
			begin()
			return nil
		}}
		c, err := d.DialContext(ctx, "tcp", to.Addr().String())
		if err != nil {
			return err // of no interest: it did not get through
		}
		connected.Add(1)
		return c.Close()
	})
	<-began
	return func(ctx context.Context) int {
		for {
			got := int(to.Seen(src)-before) + int(connected.Load())
			if got >= volley || ctx.Err() != nil {
				return got
			}
			time.Sleep(time.Millisecond)
		}
	}, nil
}

// open proves that everybody gets through before there are bans: what arrives no more later on was stopped by one.
func (n *demoNet) open(ctx context.Context) error {
	f := func(to *netns.Prober, neighbour netip.Addr, all ...netip.Addr) (err error) {
		for _, src := range all {
			t, e := n.probe(ctx, to, src, neighbour)
			if e == nil && t.arrived != t.sent {
				e = &mismatch{fmt.Sprintf("before any ban, packets from %s to port %d", src, to.Addr().Port()), "all arrived", t.String()}
			}
			err = errors.Join(err, e)
		}
		return err
	}
	err := errors.Join(f(n.ssh, demoNeighbour, demoAttacker, demoLiar), f(n.https, demoNeighbour, demoSlow, demoBlogger))
	if n.ipv6 {
		err = errors.Join(err, f(n.ssh6, demoNeighbour6, demoAttacker6, demoAccomplice))
	}
	return err
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
