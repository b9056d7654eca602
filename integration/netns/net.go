package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Net is a network namespace that is kept open.
type Net struct{ h netns.NsHandle }

// Current returns the namespace of the calling thread.
func Current() (*Net, error) {
	h, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("netns: %w", err)
	}
	return &Net{h}, nil
}

// New makes an empty namespace with loopback up. It lasts until Close, and until the last socket in it is closed.
func New() (*Net, error) {
	n := &Net{netns.None()}
	err := elsewhere(func() (err error) {
		if n.h, err = netns.New(); err != nil {
			return Explain(err)
		}
		return Ready()
	})
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Do runs f inside the namespace, on a thread of its own. What f opens stays there; goroutines that f starts do not.
func (n *Net) Do(f func() error) error {
	return elsewhere(func() error {
		if err := netns.Set(n.h); err != nil {
			return fmt.Errorf("netns: %w", err)
		}
		return f()
	})
}

// Close lets go of the namespace.
func (n *Net) Close() error {
	if !n.h.IsOpen() {
		return nil
	}
	return n.h.Close()
}

// Path names the namespace for nsenter --net= and the like, as long as it is open.
func (n *Net) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.h)) }

// elsewhere runs f on a thread that ends with it, so that its namespace cannot leak into other goroutines.
func elsewhere(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		err := errors.New("netns: f ended its goroutine")
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}

// An End is one end of a cable: a namespace, the name of its interface, and the addresses it has there.
type End struct {
	Net   *Net
	Name  string
	Addrs []netip.Prefix
}

// Join lays a cable (a veth pair) between two namespaces and brings both ends up. Addresses are usable at once: no
// duplicate address detection.
func Join(a, b End) error {
	err := a.Net.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: a.Name},
			PeerName:      b.Name,
			PeerNamespace: netlink.NsFd(int(b.Net.h)),
		})
	})
	if err != nil {
		return fmt.Errorf("netns: veth %s %s: %w", a.Name, b.Name, err)
	}
	for _, end := range []End{a, b} {
		if err := end.Net.Do(end.up); err != nil {
			return fmt.Errorf("netns: %s: %w", end.Name, err)
		}
	}
	return nil
}

func (e End) up() error {
	link, err := netlink.LinkByName(e.Name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, p := range e.Addrs {
		if err := AddAddr(e.Name, p); err != nil {
			return err
		}
	}
	return nil
}

// AddAddr gives an interface of the calling thread's namespace one more address.
func AddAddr(name string, p netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("netns: %s: %w", name, err)
	}
	a, err := netlink.ParseAddr(p.String())
	if err != nil {
		return fmt.Errorf("netns: %s: %w", p, err)
	}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, a); err != nil {
		return fmt.Errorf("netns: %s %s: %w", name, p, err)
	}
	return nil
}

// AddRoute sends what goes to p by way of the neighbour via, in the calling thread's namespace.
func AddRoute(p netip.Prefix, via netip.Addr) error {
	dst, err := netlink.ParseIPNet(p.String())
	if err != nil {
		return fmt.Errorf("netns: %s: %w", p, err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("netns: route %s via %s: %w", p, via, err)
	}
	return nil
}
