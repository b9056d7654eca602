package allow

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// A kind is a class of reasons not to ban an address. Where two reasons are given for the same prefix, the smaller kind
// names it; where one prefix lies in the other, the longer one does.
type kind uint8

const (
	proxyKind kind = iota
	ownKind
	allowKind
	gatewayKind
	resolverKind
	sessionKind
	senderKind
	privateKind
	reservedKind
	kinds
)

// The names of kinds in statistics.
var kindNames = [kinds]string{"proxy", "own", "allow", "gateway", "resolver", "ssh_session", "sender", "private", "reserved"}

// A reason says why a prefix is never banned.
type reason struct {
	kind kind
	text string
}

// A table answers for one state of the list. It is never changed once it is published.
type table struct {
	reasons  bart.Table[reason]
	whole    bart.Lite      // the same prefixes, neighbours joined: what is covered as a whole
	narrow   bart.Lite      // IPv6 only: a ban that would touch one of these is for a single address
	prefixes []netip.Prefix // of whole, sorted
	count    [kinds]int     // prefixes by kind
}

// add puts a prefix on the list.
func (t *table) add(p netip.Prefix, k kind, text string) {
	p, ok := plain(p)
	if !ok {
		return
	}
	t.reasons.Modify(p, func(old reason, there bool) (reason, bool) {
		switch {
		case !there:
			t.count[k]++
		case k < old.kind:
			t.count[old.kind]--
			t.count[k]++
		default:
			return old, false
		}
		return reason{k, text}, false
	})
	t.single(p)
}

// addAddr puts an address on the list.
func (t *table) addAddr(a netip.Addr, k kind, text string) {
	if a = a.Unmap().WithZone(""); a.IsValid() {
		t.add(netip.PrefixFrom(a, a.BitLen()), k, text)
	}
}

// single has bans that would touch p be for single addresses.
func (t *table) single(p netip.Prefix) {
	if p.Addr().Is6() {
		t.narrow.Insert(p)
	}
}

// finish makes the table ready for look-ups. After it only reading is allowed.
func (t *table) finish() {
	for p := range t.reasons.All() {
		t.whole.Insert(p)
	}
	t.whole.Aggregate()
	for p := range t.whole.AllSorted() {
		if p.Bits() > 0 {
			t.prefixes = append(t.prefixes, p)
			continue
		}
		// Kernel sets hold no /0. It takes 256 entries of /8 to come here.
		half, last := netip.PrefixFrom(p.Addr(), 1), []byte{0x80, 15: 0}
		upper, _ := netip.AddrFromSlice(last[:p.Addr().BitLen()/8])
		t.prefixes = append(t.prefixes, half, netip.PrefixFrom(upper, 1))
	}
}

// offender returns the prefix that events of a count on. The address is unmapped and has no zone.
func (t *table) offender(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	bits := 64
	if sixToFour.Contains(a) {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil || t.narrow.OverlapsPrefix(p) {
		return netip.PrefixFrom(a, 128)
	}
	return p
}

// never reports whether the whole of p is on the list, and why. What is no prefix, and what is everything, is never
// banned either.
func (t *table) never(p netip.Prefix) (string, bool) {
	p, ok := plain(p)
	switch {
	case !ok:
		return "no network", true
	case p.Bits() == 0:
		return "all addresses", true
	case !t.whole.LookupPrefix(p):
		return "", false
	}
	if r, ok := t.reasons.LookupPrefix(p); ok {
		return r.text, true
	}
	for _, r := range t.reasons.Subnets(p) {
		return r.text + ", and others that make up the whole", true
	}
	return "", false
}

// equal reports whether both tables hold the same addresses.
func (t *table) equal(o *table) bool { return slices.Equal(t.prefixes, o.prefixes) }

// plain returns p unmapped and with its host bits zero, and false where it is no prefix.
func plain(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return p, false
	}
	a, bits := p.Addr(), p.Bits()
	if a.Is4In6() {
		if bits < 96 {
			return netip.PrefixFrom(a, bits).Masked(), true
		}
		a, bits = a.Unmap(), bits-96
	}
	return netip.PrefixFrom(a, bits).Masked(), true
}
