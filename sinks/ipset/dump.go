package ipset

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An Entry is what the kernel holds for one prefix.
type Entry struct {
	Prefix netip.Prefix  `json:"prefix"`
	Jail   string        `json:"jail"`
	Ports  bool          `json:"ports,omitempty"` // closed for the jail's ports only
	Left   time.Duration `json:"left"`            // until the kernel forgets it, in whole seconds; 0: never
}

// A header is what the kernel says of a set itself.
type header struct {
	name       string
	typ        string
	family     family
	timeouts   bool
	maxelem    uint32
	references uint32
	elements   uint32 // without expired ones
}

const setType = "hash:net"

// IPSET_FLAG_LIST_HEADER of linux/netfilter/ipset/ip_set.h: leave the entries out.
const listHeader = 1 << 2

// headers lists all sets of the namespace without their entries. The kernel counts entries for it: 27 ms a million.
func (c *conn) headers() ([]header, error) {
	var r request
	r.set(nl.IPSET_CMD_LIST, unix.NLM_F_DUMP, v4, "")
	r.u32(nl.IPSET_ATTR_FLAGS|order, listHeader)
	var all []header
	err := c.query(&r, func(body []byte) {
		if h, _ := readSet(body, nil); h.typ != "" {
			all = append(all, h)
		}
	})
	return all, err
}

// header asks for one set; ok is false where there is none of that name.
func (c *conn) header(name string) (h header, ok bool, err error) {
	all, err := c.headers()
	for _, h := range all {
		if h.name == name {
			return h, true, err
		}
	}
	return header{}, false, err
}

// dump calls f with every entry of one set. While a dump is open no set can be swapped: f must not wait.
func (c *conn) dump(name string, f func(p netip.Prefix, timeout uint32)) error {
	var r request
	r.set(nl.IPSET_CMD_LIST, unix.NLM_F_DUMP, v4, name)
	return c.query(&r, func(body []byte) { readSet(body, f) })
}

// readSet reads one message of a listing: a set's header, or the continuation of a long set, which has only its name.
func readSet(body []byte, f func(p netip.Prefix, timeout uint32)) (h header, entries int) {
	attributes(body, func(typ uint16, v []byte) {
		switch typ {
		case nl.IPSET_ATTR_SETNAME:
			h.name = text(v)
		case nl.IPSET_ATTR_TYPENAME:
			h.typ = text(v)
		case nl.IPSET_ATTR_FAMILY:
			h.family = family(u8(v))
		case nl.IPSET_ATTR_DATA:
			attributes(v, func(typ uint16, v []byte) {
				switch typ {
				case nl.IPSET_ATTR_TIMEOUT:
					h.timeouts = true
				case nl.IPSET_ATTR_MAXELEM:
					h.maxelem = u32(v)
				case nl.IPSET_ATTR_REFERENCES:
					h.references = u32(v)
				case nl.IPSET_ATTR_ELEMENTS:
					h.elements = u32(v)
				}
			})
		case nl.IPSET_ATTR_ADT:
			attributes(v, func(typ uint16, v []byte) {
				if p, timeout, ok := readEntry(v); ok && typ == nl.IPSET_ATTR_DATA {
					entries++
					if f != nil {
						f(p, timeout)
					}
				}
			})
		}
	})
	return h, entries
}

// readEntry reads one entry. The kernel leaves the length of a whole address out in old revisions of the type.
func readEntry(b []byte) (p netip.Prefix, timeout uint32, ok bool) {
	var addr netip.Addr
	bits := -1
	attributes(b, func(typ uint16, v []byte) {
		switch typ {
		case nl.IPSET_ATTR_IP:
			attributes(v, func(typ uint16, v []byte) {
				switch {
				case typ == nl.IPSET_ATTR_IPADDR_IPV4 && len(v) == 4, typ == nl.IPSET_ATTR_IPADDR_IPV6 && len(v) == 16:
					addr, _ = netip.AddrFromSlice(v)
				}
			})
		case nl.IPSET_ATTR_CIDR:
			bits = int(u8(v))
		case nl.IPSET_ATTR_TIMEOUT:
			timeout = u32(v)
		}
	})
	if bits < 0 {
		bits = addr.BitLen()
	}
	p = netip.PrefixFrom(addr, bits)
	return p, timeout, p.IsValid()
}

func text(v []byte) string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

func u8(v []byte) byte {
	if len(v) < 1 {
		return 0
	}
	return v[0]
}

func u32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}

// list calls yield with every entry of every ban set of ours until it reports false. It reads a set whole before it
// yields any of it, so that a slow caller holds up no swap: 48 bytes an entry of the largest set.
func (c *conn) list(yield func(Entry) bool) error {
	all, err := c.headers()
	if err != nil {
		return err
	}
	type held struct {
		prefix  netip.Prefix
		timeout uint32
	}
	var set []held
	for _, h := range all {
		jail, _, ports, ok := parseName(h.name)
		if !ok || jail == allowJail || h.typ != setType {
			continue
		}
		set = set[:0]
		err := c.dump(h.name, func(p netip.Prefix, timeout uint32) { set = append(set, held{p, timeout}) })
		if err != nil && !gone(err) {
			return err
		}
		for _, e := range set {
			if !yield(Entry{e.prefix, jail, ports, time.Duration(e.timeout) * time.Second}) {
				return nil
			}
		}
	}
	return nil
}
