package receiver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Datagrams taken by one system call: as many as scratchBytes have room for at max_line each. More than 256 bring nothing.
const (
	scratchBytes = 2 << 20
	mostSlots    = 256
	leastSlots   = 16
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// A datagrams is the net.PacketConn that go-syslog reads a UDP or unix datagram socket by. Its ReadFrom fills one buffer with
// all that a recvmmsg brought.
type datagrams struct {
	*listener
	conn conn
	raw  syscall.RawConn
	unix bool

	// What a call of recvmmsg fills, for each datagram.
	heads    []mmsghdr
	iovs     []unix.Iovec
	names    []unix.RawSockaddrInet6
	controls [][controlBytes]byte
	payloads []byte
	size     int // of a payload

	next, got int // those not handed on yet
	errno     syscall.Errno
	ready     func(fd uintptr) bool

	lastName unix.RawSockaddrInet6 // whose number is known
	lastUID  int
	lastFrom uint16
	lastOK   bool
	known    bool

	stopping bool // set by ReadFrom when it saw the deadline that stop set
	drained  chan struct{}
	once     sync.Once
}

// What net.UDPConn and net.UnixConn have in common.
type conn interface {
	net.PacketConn
	syscall.Conn
}

func newDatagrams(l *listener, c conn, unixgram bool) (*datagrams, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	size := int(l.cfg.MaxLine.Bytes)
	slots := min(max(scratchBytes/size, leastSlots), mostSlots)
	d := &datagrams{
		listener: l, conn: c, raw: raw, unix: unixgram, size: size, drained: make(chan struct{}),
		heads: make([]mmsghdr, slots), iovs: make([]unix.Iovec, slots), payloads: make([]byte, slots*size),
	}
	if unixgram {
		d.controls = make([][controlBytes]byte, slots)
	} else {
		d.names = make([]unix.RawSockaddrInet6, slots)
	}
	for i := range d.heads {
		d.iovs[i].Base = &d.payloads[i*size]
		d.iovs[i].SetLen(size)
		h := &d.heads[i].hdr
		h.Iov, h.Iovlen = &d.iovs[i], 1
		if unixgram {
			h.Control = &d.controls[i][0]
		} else {
			h.Name = (*byte)(unsafe.Pointer(&d.names[i]))
		}
	}
	d.got = slots
	d.ready = d.recvmmsg
	return d, nil
}

// ReadFrom fills buf with a block. It returns no address: each record has its own. go-syslog calls it until it returns a
// net.OpError, which is after stop, when nothing is left: from then on go-syslog sends nothing on its channel, and its Kill
// can close it.
func (d *datagrams) ReadFrom(buf []byte) (int, net.Addr, error) {
	defer d.recover()
	block := buf[:0:len(buf)]
	for {
		for ; d.next < d.got; d.next++ {
			var room bool
			if block, room = d.pack(block, d.next); !room {
				return d.seal(block)
			}
		}
		if len(block) > 0 {
			return d.seal(block)
		}
		if err := d.fill(); err != nil {
			return 0, nil, err
		}
	}
}

func (d *datagrams) seal(block []byte) (int, net.Addr, error) {
	return len(block) + copy(block[len(block):cap(block)], []byte{blockEnd}), nil, nil
}

// fill waits for datagrams and takes them.
func (d *datagrams) fill() error {
	d.reset()
	var err error
	if !d.stopping {
		err = d.raw.Read(d.ready)
		d.stopping = errors.Is(err, os.ErrDeadlineExceeded)
	}
	if d.stopping {
		err = d.raw.Control(func(fd uintptr) { d.recvmmsg(fd) })
	}
	switch {
	case d.stopping && (err != nil || d.got == 0):
		d.once.Do(func() { close(d.drained) })
		return &net.OpError{Op: "read", Net: "datagram", Err: errors.New("stopped")}
	case err != nil:
		return err // no OpError: go-syslog rests for 10 ms and calls again
	case d.errno != 0:
		return os.NewSyscallError("recvmmsg", d.errno)
	}
	return nil
}

// reset makes the slots used last ready for the next call.
func (d *datagrams) reset() {
	for i := range d.heads[:d.got] {
		h := &d.heads[i].hdr
		h.Flags = 0
		if d.unix {
			h.SetControllen(controlBytes)
		} else {
			h.Namelen = unix.SizeofSockaddrInet6
		}
	}
	d.next, d.got = 0, 0
}

// recvmmsg takes what is there, and reports false where nothing is.
func (d *datagrams) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&d.heads[0])), uintptr(len(d.heads)),
			unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			d.got, d.errno = int(n), 0
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			d.errno = 0
			return false
		default:
			d.errno = errno
			return true
		}
	}
}

// pack appends datagram i to the block, unless its sender is refused.
func (d *datagrams) pack(block []byte, i int) ([]byte, bool) {
	h := &d.heads[i]
	if h.n == 0 {
		return block, true
	}
	from, ok := d.sender(i)
	if !ok {
		return block, true
	}
	why := whole
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		why = cut
	}
	return pack(block, d.payloads[i*d.size:][:h.n], from, why)
}

// sender returns the number of who sent datagram i, and false where that one is refused. A sender is looked up again only
// when it is another than before.
func (d *datagrams) sender(i int) (uint16, bool) {
	if d.unix {
		uid := credential(d.controls[i][:d.heads[i].hdr.Controllen])
		if !d.known || uid != d.lastUID {
			d.known, d.lastUID = true, uid
			if d.lastOK = uid >= 0 && d.accounts[uint32(uid)]; d.lastOK {
				d.lastFrom = d.roster.number(peer{uid: uid})
			}
		}
		if !d.lastOK {
			d.refused.uid.Add(1)
		}
		return d.lastFrom, d.lastOK
	}
	name := &d.names[i]
	if n := d.heads[i].hdr.Namelen; n < unix.SizeofSockaddrInet6 { // IPv4: what is behind it is of an earlier call
		clear(unsafe.Slice((*byte)(unsafe.Pointer(name)), unix.SizeofSockaddrInet6)[n:])
	}
	if !d.known || *name != d.lastName {
		d.known, d.lastName = true, *name
		a := nameAddr(name)
		if d.lastOK = d.allows(a); d.lastOK {
			d.lastFrom = d.roster.number(peer{a, -1})
		}
	}
	if !d.lastOK {
		d.refused.sender.Add(1)
	}
	return d.lastFrom, d.lastOK
}

func nameAddr(name *unix.RawSockaddrInet6) netip.Addr {
	switch name.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16(name.Addr).Unmap()
	}
	return netip.Addr{}
}

// stop takes no more than what the socket has queued: ReadFrom reads that and ends.
func (d *datagrams) stop() {
	d.raw.Control(func(fd uintptr) { shut(int(fd), d.unix) })
	d.conn.SetReadDeadline(time.Now())
}

// drain waits until all of it has been handed on.
func (d *datagrams) drain(time.Time) { <-d.drained }

// Close is go-syslog's Kill.
func (d *datagrams) Close() error {
	d.ask()
	d.conn.Close()
	return nil // an error would keep go-syslog from the rest of its Kill
}

// ask updates how much the kernel has dropped.
func (d *datagrams) ask() {
	d.raw.Control(func(fd uintptr) {
		if n, err := drops(int(fd)); err == nil {
			d.lost.update(n)
		}
	})
}

// The rest of net.PacketConn, which go-syslog does not call.
func (d *datagrams) LocalAddr() net.Addr                   { return d.conn.LocalAddr() }
func (d *datagrams) SetDeadline(t time.Time) error         { return d.conn.SetDeadline(t) }
func (d *datagrams) SetReadDeadline(t time.Time) error     { return d.conn.SetReadDeadline(t) }
func (d *datagrams) SetWriteDeadline(t time.Time) error    { return d.conn.SetWriteDeadline(t) }
func (d *datagrams) WriteTo([]byte, net.Addr) (int, error) { return 0, errors.ErrUnsupported }
