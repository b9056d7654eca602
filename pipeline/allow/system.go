package allow

import (
	"context"
	"net/netip"
)

// A System is what the list asks of the host. Host returns the real one; a test makes its own.
type System struct {
	// Facts returns what the host is. With an error the facts may be incomplete: the list then keeps the former ones too.
	Facts func() (Facts, error)

	// Follow calls changed after every change of the facts, until ctx ends. It returns an error where it can't follow:
	// the list then asks for Facts from time to time. Nil: the facts never change.
	Follow func(ctx context.Context, changed func()) error

	// Lookup returns the addresses of a DNS name.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
}

// Facts are the addresses that a host depends on.
type Facts struct {
	Own       []netip.Addr   // addresses of its interfaces
	Links     []netip.Prefix // on-link networks, as those addresses say: 2001:db8::1/64 makes 2001:db8::/64
	Gateways  []netip.Addr   // of all routes
	Resolvers []netip.Addr   // DNS servers
	Sessions  []netip.Addr   // clients of the SSH sessions that this process was started from
}
