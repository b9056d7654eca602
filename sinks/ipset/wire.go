package ipset

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A request is a run of netlink messages that are sent at once. Its memory is reused.
type request struct {
	buf   []byte
	start int    // of the message that is being built
	n     int    // messages
	acked uint32 // the last message that asks to be acknowledged
}

func (r *request) reset() { r.buf, r.n, r.acked = r.buf[:0], 0, 0 }

// ack makes the kernel acknowledge the last message.
func (r *request) ack() {
	flags := binary.NativeEndian.Uint16(r.buf[r.start+6:])
	binary.NativeEndian.PutUint16(r.buf[r.start+6:], flags|unix.NLM_F_ACK)
	r.acked = uint32(r.n - 1)
}

// begin starts a message; seq counts from 0 within the request and conn makes it the socket's.
func (r *request) begin(typ, flags uint16, f family, res uint16) {
	r.end()
	r.start = len(r.buf)
	r.buf = append(r.buf, 0, 0, 0, 0) // length: filled in by end
	r.buf = binary.NativeEndian.AppendUint16(r.buf, typ)
	r.buf = binary.NativeEndian.AppendUint16(r.buf, flags|unix.NLM_F_REQUEST)
	r.buf = binary.NativeEndian.AppendUint32(r.buf, uint32(r.n))
	r.buf = append(r.buf, 0, 0, 0, 0) // port: the kernel's
	r.buf = append(r.buf, byte(f), unix.NFNETLINK_V0)
	r.buf = binary.BigEndian.AppendUint16(r.buf, res)
	if flags&unix.NLM_F_ACK != 0 {
		r.acked = uint32(r.n)
	}
	r.n++
}

// end closes the message that is being built. Every attribute is padded to 4 bytes, so every message is.
func (r *request) end() {
	if r.n > 0 {
		binary.NativeEndian.PutUint32(r.buf[r.start:], uint32(len(r.buf)-r.start))
	}
}

func (r *request) attr(typ uint16, size int) {
	r.buf = binary.NativeEndian.AppendUint16(r.buf, uint16(unix.SizeofNlAttr+size))
	r.buf = binary.NativeEndian.AppendUint16(r.buf, typ)
}

func (r *request) u8(typ uint16, v byte) {
	r.attr(typ, 1)
	r.buf = append(r.buf, v, 0, 0, 0)
}

// u32 writes in network order and does not say so: what nf_tables wants.
func (r *request) u32(typ uint16, v uint32) {
	r.attr(typ, 4)
	r.buf = binary.BigEndian.AppendUint32(r.buf, v)
}

func (r *request) bytes(typ uint16, v []byte) {
	r.attr(typ, len(v))
	r.buf = append(r.buf, v...)
	r.pad(len(v))
}

func (r *request) str(typ uint16, v string) {
	r.attr(typ, len(v)+1)
	r.buf = append(append(r.buf, v...), 0)
	r.pad(len(v) + 1)
}

func (r *request) pad(n int) {
	for ; n%4 != 0; n++ {
		r.buf = append(r.buf, 0)
	}
}

// nest opens an attribute that holds attributes; close ends it.
func (r *request) nest(typ uint16) (at int) {
	at = len(r.buf)
	r.attr(typ|unix.NLA_F_NESTED, 0)
	return at
}

func (r *request) close(at int) {
	binary.NativeEndian.PutUint16(r.buf[at:], uint16(len(r.buf)-at))
}

// order marks a number of ipset's as being in network order; it refuses others.
const order = unix.NLA_F_NET_BYTEORDER

// set starts a message to ipset about the named set; "" is all of them. With NLM_F_EXCL an add of what is there and a
// delete of what is not are errors.
func (r *request) set(cmd, flags uint16, f family, name string) {
	r.begin(unix.NFNL_SUBSYS_IPSET<<8|cmd, flags, f, 0)
	r.u8(nl.IPSET_ATTR_PROTOCOL, nl.IPSET_PROTOCOL)
	if name != "" {
		r.str(nl.IPSET_ATTR_SETNAME, name)
	}
}

// never is the timeout of entries in sets that have none.
const never = 0

// entry appends an add or delete of p. A timeout of 0 is not sent: it would mean for ever in a set with timeouts.
func (r *request) entry(cmd, flags uint16, set string, p netip.Prefix, timeout uint32) {
	r.set(cmd, flags, familyOf(p), set)
	data := r.nest(nl.IPSET_ATTR_DATA)
	ip := r.nest(nl.IPSET_ATTR_IP)
	if a := p.Addr(); a.Is4() {
		b := a.As4()
		r.bytes(nl.IPSET_ATTR_IPADDR_IPV4|order, b[:])
	} else {
		b := a.As16()
		r.bytes(nl.IPSET_ATTR_IPADDR_IPV6|order, b[:])
	}
	r.close(ip)
	r.u8(nl.IPSET_ATTR_CIDR, byte(p.Bits()))
	if timeout != never {
		r.u32(nl.IPSET_ATTR_TIMEOUT|order, timeout)
	}
	r.close(data)
}

// perBucket is how many entries a bucket of the kernel's hash gets when their number is known: what it comes to when the
// hash grows by itself.
const perBucket = 4

// create appends the making of a hash:net set that will soon have count entries.
func (r *request) create(name string, f family, revision byte, maxelem, count uint32, timeouts bool) {
	r.set(nl.IPSET_CMD_CREATE, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, f, name)
	r.str(nl.IPSET_ATTR_TYPENAME, setType)
	r.u8(nl.IPSET_ATTR_REVISION, revision)
	r.u8(nl.IPSET_ATTR_FAMILY, byte(f))
	data := r.nest(nl.IPSET_ATTR_DATA)
	r.u32(nl.IPSET_ATTR_HASHSIZE|order, max(1024, count/perBucket)) // 1024 is the kernel's own choice
	r.u32(nl.IPSET_ATTR_MAXELEM|order, maxelem)
	if timeouts {
		r.u32(nl.IPSET_ATTR_TIMEOUT|order, 0) // of entries that name none: ours all do, an admin's by hand stay
	}
	r.close(data)
}

// pair appends a message about two sets: a swap.
func (r *request) pair(cmd uint16, one, other string) {
	r.set(cmd, unix.NLM_F_ACK, v4, one)
	r.str(nl.IPSET_ATTR_SETNAME2, other)
}
