package integration

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// A trickle is a datagram every millisecond from one address.
type trickle struct{ sent, arrived atomic.Uint64 }

// probe sends datagrams from addresses of atk's to a UDP port of srv until the test ends, and counts those that arrive,
// by address. All addresses are of one family.
func probe(t *testing.T, srv, atk *lab.Host, port int, from ...string) map[string]*trickle {
	t.Helper()
	host := netip.MustParseAddr(lab.Srv4)
	if netip.MustParseAddr(from[0]).Is6() {
		host = netip.MustParseAddr(lab.Srv6)
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, uint16(port)))
	flows, byAddr := map[string]*trickle{}, map[netip.Addr]*trickle{}
	for _, addr := range from {
		flows[addr] = &trickle{}
		byAddr[netip.MustParseAddr(addr)] = flows[addr]
	}
	var in *net.UDPConn
	if err := srv.Do(func() (err error) {
		in, err = net.ListenUDP("udp", to)
		return err
	}); err != nil {
		t.Fatalf("probe port %d: %v", port, err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	t.Cleanup(func() {
		close(done)
		in.Close()
		wg.Wait()
	})
	wg.Go(func() {
		var b [16]byte
		for {
			_, peer, err := in.ReadFromUDPAddrPort(b[:])
			if err != nil {
				return
			}
			if f := byAddr[peer.Addr().Unmap()]; f != nil {
				f.arrived.Add(1)
			}
		}
	})
	for addr, f := range byAddr {
		var out *net.UDPConn
		if err := atk.Do(func() (err error) {
			out, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)), to)
			return err
		}); err != nil {
			t.Fatalf("probe from %s: %v", addr, err)
		}
		wg.Go(func() {
			defer out.Close()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				if _, err := out.Write([]byte("knock")); err == nil {
					f.sent.Add(1)
				}
			}
		})
	}
	return flows
}
