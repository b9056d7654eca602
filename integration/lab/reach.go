package lab

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tries are how long a connection is waited for. A lost packet, or a neighbour that is not known yet, costs the first.
var tries = []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, time.Second}

// Reaches reports whether a TCP connection from src, one of the host's addresses, to dst comes about. It tries three
// times, 2 seconds in all. Refused is not reached: somebody must listen, Echo for one. Any goroutine may call it.
func (h *Host) Reaches(src, dst string, port int) bool {
	for _, patience := range tries {
		if c := h.dial("tcp", src, dst, port, patience); c != nil {
			c.Close()
			return true
		}
	}
	return false
}

// ReachesUDP reports whether a datagram from src is answered by an Echo at dst. It tries as Reaches does.
func (h *Host) ReachesUDP(src, dst string, port int) bool {
	for _, patience := range tries {
		c := h.dial("udp", src, dst, port, patience)
		if c == nil {
			continue
		}
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("ping"))
		var b [16]byte
		n, err := c.Read(b[:])
		c.Close()
		if err == nil && string(b[:n]) == "ping" {
			return true
		}
	}
	return false
}

func (h *Host) dial(network, src, dst string, port int, patience time.Duration) net.Conn {
	var c net.Conn
	within(h.Pid, unix.CLONE_NEWNET, func() (err error) {
		d := net.Dialer{Timeout: patience}
		from := netip.AddrPortFrom(netip.MustParseAddr(src), 0)
		if d.LocalAddr = net.TCPAddrFromAddrPort(from); network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(dst), uint16(port))
		c, err = d.Dial(network, to.String())
		return err
	})
	return c
}

// An Echo answers TCP connections and datagrams on one port of a host, and counts who came through.
type Echo struct {
	mu   sync.Mutex
	seen map[netip.Addr]int
}

// Echo starts one, on all addresses.
func (h *Host) Echo(port int) *Echo {
	h.tb().Helper()
	e := &Echo{seen: map[netip.Addr]int{}}
	addr := netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)).String() // both families
	l := h.Listen("tcp", addr)
	var u net.PacketConn
	err := h.Do(func() (err error) {
		u, err = net.ListenPacket("udp", addr)
		return err
	})
	if err != nil {
		h.tb().Fatalf("lab: %s: %v", h.Name, err)
	}
	h.lab.keep(u)
	go e.accept(h, l)
	go e.answer(u)
	return e
}

// Seen is how many connections and datagrams arrived from an address.
func (e *Echo) Seen(addr string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[netip.MustParseAddr(addr)]
}

func (e *Echo) count(a net.Addr) {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[ap.Addr().Unmap()]++
}

func (e *Echo) accept(h *Host, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		h.lab.keep(c)
		e.count(c.RemoteAddr())
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.Copy(c, c)
		}()
	}
}

func (e *Echo) answer(u net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		e.count(from)
		u.WriteTo(b[:n], from)
	}
}

// A Collector takes TCP connections on a port of a host and keeps every byte: what rapsheet would be sent.
type Collector struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Collect starts one.
func (h *Host) Collect(addr string) *Collector {
	h.tb().Helper()
	c := &Collector{}
	l := h.Listen("tcp", addr)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.lab.keep(conn)
			go io.Copy(c, conn)
		}
	}()
	return c
}

// Write appends to what was collected.
func (c *Collector) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(b)
}

// Contains reports whether text has arrived.
func (c *Collector) Contains(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.buf.Bytes(), []byte(text))
}

// Bytes is a copy of all that arrived.
func (c *Collector) Bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.buf.Bytes())
}

// Send opens a TCP connection from src to a listener of the lab and writes b: a sender of syslog who is no rsyslogd.
// network is tcp or udp.
func (h *Host) Send(ctx context.Context, network, src, dst string, port int, b []byte) error {
	c := h.dial(network, src, dst, port, patience)
	if c == nil {
		return &net.AddrError{Err: "no connection", Addr: dst}
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		c.SetDeadline(d)
	}
	_, err := c.Write(b)
	return err
}
