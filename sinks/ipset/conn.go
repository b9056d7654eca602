package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A conn is a netlink socket to the kernel's netfilter, in the network namespace of the thread that made it. The
// library's own calls cost 24 us an entry and assert on the type of errors, so messages are built here, many to a send:
// 1.5 us. Not safe for concurrent use.
type conn struct {
	fd  int
	seq uint32
	in  []byte
}

// readSize holds the largest message of a dump, which the kernel makes for the size it is read with, up to 32 KiB.
const readSize = 32 << 10

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, missing(os.NewSyscallError("socket", err))
	}
	err = errors.Join(
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})),
		// An error does not repeat the message it is about.
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)),
		// The kernel answers within the send, so this is only reached where it does not answer at all.
		os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})),
	)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &conn{fd: fd, in: make([]byte, readSize)}, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// send hands the request to the kernel, which works it off before it returns, and calls f with every error: the place
// of the message in the request and the kernel's number. One of the last messages must ask to be acknowledged: an error
// here says that it was not, so that nothing is known of what became of the request.
func (c *conn) send(r *request, f func(i int, code syscall.Errno)) error {
	if r.n == 0 {
		return nil
	}
	first := c.stamp(r)
	if err := unix.Sendto(c.fd, r.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for refused, answered := false, false; !answered; {
		err := c.receive(unix.MSG_DONTWAIT, func(typ uint16, seq uint32, body []byte) bool {
			if i := seq - first; typ == unix.NLMSG_ERROR && len(body) >= 4 && i < uint32(r.n) {
				if code := -int32(binary.NativeEndian.Uint32(body)); code != 0 {
					f(int(i), syscall.Errno(code))
					refused = true
				}
				answered = answered || i == r.acked
			}
			return true
		})
		switch {
		case errors.Is(err, unix.EAGAIN) && refused: // a batch is refused as a whole by its first message
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// one sends a request of one message and returns the kernel's answer.
func (c *conn) one(r *request) (err error) {
	lost := c.send(r, func(_ int, code syscall.Errno) { err = kernelError(code) })
	return errors.Join(err, lost)
}

// query sends a request of one message that is answered by messages: f gets the bodies, behind the header of nfnetlink.
func (c *conn) query(r *request, f func(body []byte)) (err error) {
	first := c.stamp(r)
	if err := unix.Sendto(c.fd, r.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for done := false; !done; {
		lost := c.receive(0, func(typ uint16, seq uint32, body []byte) bool {
			switch {
			case seq != first:
			case typ == unix.NLMSG_ERROR && len(body) >= 4:
				if code := -int32(binary.NativeEndian.Uint32(body)); code != 0 {
					err = kernelError(syscall.Errno(code))
				}
				done = true
			case typ == unix.NLMSG_DONE:
				done = true
			case typ > unix.NLMSG_MIN_TYPE && len(body) >= nl.SizeofNfgenmsg:
				f(body[nl.SizeofNfgenmsg:])
			}
			return !done
		})
		if lost != nil {
			return lost
		}
	}
	return err
}

// stamp gives the request's messages the socket's next sequence numbers, and returns the first.
func (c *conn) stamp(r *request) (first uint32) {
	r.end()
	first = c.seq + 1
	for at := 0; at < len(r.buf); at += int(binary.NativeEndian.Uint32(r.buf[at:])) {
		c.seq++
		binary.NativeEndian.PutUint32(r.buf[at+8:], c.seq)
	}
	return first
}

// receive reads once and calls f with each message until f reports false.
func (c *conn) receive(flags int, f func(typ uint16, seq uint32, body []byte) bool) error {
	n, from, err := unix.Recvfrom(c.fd, c.in, flags)
	for err == unix.EINTR {
		n, from, err = unix.Recvfrom(c.fd, c.in, flags)
	}
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
		return nil // not from the kernel
	}
	each(c.in[:n], f)
	return nil
}

// each splits b into netlink messages. What is cut off at the end is left out.
func each(b []byte, f func(typ uint16, seq uint32, body []byte) bool) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return
		}
		if !f(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]) {
			return
		}
		b = b[min((size+3)&^3, len(b)):]
	}
}

// attributes walks the netlink attributes of b: typ is without its flags. What is cut off at the end is left out.
func attributes(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofNlAttr:size])
		b = b[min((size+3)&^3, len(b)):]
	}
}

// The errors a caller may branch on. Their text holds the remedy.
var (
	// ErrPermission says that the process lacks CAP_NET_ADMIN.
	ErrPermission = errors.New("not permitted: run as root, or give the process CAP_NET_ADMIN")
	// ErrModules says that the kernel lacks ipset, nf_tables or what joins them.
	ErrModules = errors.New("kernel modules are missing: run `modprobe -a ip_set ip_set_hash_net xt_set nft_compat nf_tables`")
	// ErrOwned says that another process, most likely a running rapsheet, owns our tables.
	ErrOwned = errors.New("another process owns the tables: is a rapsheet running?")
)

// setFull is IPSET_ERR_HASH_FULL, the first of the errors of hash types (linux/netfilter/ipset/ip_set_hash.h).
const setFull = syscall.Errno(nl.IPSET_ERR_TYPE_SPECIFIC)

var errFull = errors.New("set is full")

// kernelError names the error that the kernel answered with.
func kernelError(code syscall.Errno) error {
	switch {
	case code == 0:
		return nil
	case code == unix.EPERM, code == unix.EACCES:
		return fmt.Errorf("%w (%w)", ErrPermission, code)
	case code == setFull:
		return errFull
	case code >= nl.IPSET_ERR_PRIVATE:
		return nl.IPSetError(code)
	}
	return code
}

// missing turns the errors of a kernel that lacks a module into ErrModules. nfnetlink says EINVAL or EOPNOTSUPP when it
// has no such subsystem, ipset IPSET_ERR_FIND_TYPE without hash:net, nf_tables ENOENT without nft_compat or xt_set.
func missing(err error) error {
	for _, e := range []error{unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.ENOENT, nl.IPSetError(nl.IPSET_ERR_FIND_TYPE)} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w (%w)", ErrModules, err)
		}
	}
	return err
}
