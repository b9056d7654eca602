package receiver

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Vouch is what a TCP listener would have the kernel say of connections from this host while whoever opens them is
// still alive: that the account is one of these. Who connects, writes and closes at once is gone when a diag asks for him.
//
// The kernel says it by a rule on what goes out by the loopback device: it writes Mark into the urgent pointer of the SYN
// where the socket's account is one of UIDs. A SYN without URG has 0 there, and only who may write raw packets can make
// it anything else. The listener keeps the SYN of each connection and looks. So what no rule has seen, for it came before
// the rule or by another way, is refused as ever.
type Vouch struct {
	Listener string
	Addr     netip.AddrPort // listened on; an unspecified address is all of both families
	UIDs     []uint32       // sorted
	Mark     uint16         // not 0; another one for other UIDs, so that the rules of an earlier configuration say nothing
}

// Vouches returns what each TCP listener asks for, in the order of the configuration.
func (r *Receiver) Vouches() []Vouch {
	var list []Vouch
	for _, l := range r.listeners {
		if l.cfg.Kind() != "tcp" {
			continue
		}
		a := addrPort(l.addr)
		list = append(list, Vouch{
			Listener: l.cfg.Name.S, Addr: netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()),
			UIDs: l.accounts.list(), Mark: l.mark,
		})
	}
	return list
}

func (a accounts) list() []uint32 { return slices.Sorted(maps.Keys(a)) }

// mark is the Mark of a Vouch for these accounts.
func (a accounts) mark() uint16 {
	h := fnv.New32a()
	for _, uid := range a.list() {
		binary.Write(h, binary.BigEndian, uid)
	}
	n := h.Sum32()
	return max(1, uint16(n>>16)^uint16(n))
}

// vouched reports whether the kernel vouches for who opened the connection.
func (l *listener) vouched(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var syn [256]byte // at most an IPv6 header, its extensions and 60 bytes: more is an error
	size := uint32(len(syn))
	ok := false
	err = raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN,
			uintptr(unsafe.Pointer(&syn)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size <= uint32(len(syn))
	})
	if err != nil || !ok {
		return false
	}
	mark, ok := synMark(syn[:size])
	return ok && mark == l.mark
}

// synMark returns the urgent pointer of a SYN that carries no urgent data, given with its IP header; it reports false
// for anything else.
func synMark(b []byte) (uint16, bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[9] == unix.IPPROTO_TCP:
		n := 4 * int(b[0]&15)
		if n < 20 || n > len(b) {
			return 0, false
		}
		b = b[n:]
	case len(b) >= 40 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_TCP: // with extension headers: whoever sends them can do without
		b = b[40:]
	default:
		return 0, false
	}
	const syn, ack, urg = 0x02, 0x10, 0x20 // RFC 9293, 3.1
	if len(b) < 20 || b[13]&(syn|ack|urg) != syn {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[18:]), true
}
