package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Prober finds out whether packets arrive: it listens for UDP and TCP in one namespace and sends from another, from
// whatever source address it is told. Its methods may be called from several goroutines.
type Prober struct {
	to      netip.AddrPort
	from    *Net
	control netip.Addr
	udp     *net.UDPConn
	tcp     net.Listener
	readers sync.WaitGroup

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan struct{} // closed when the datagram of that number is there
	seen    map[netip.Addr]uint64
}

// How long a packet is waited for. Without a control address, patience; with one, grace once what was sent later from
// there has arrived: both go through the same queue, so grace only covers a change of CPU in between. A control packet
// itself is waited for until something must be broken.
const (
	patience = 300 * time.Millisecond
	grace    = 60 * time.Millisecond
	broken   = 10 * time.Second
)

// NewProber listens on to inside in. control is a source address in from that is never banned, or none: a datagram
// from there that overtakes the other shortens the wait.
func NewProber(in, from *Net, to netip.AddrPort, control netip.Addr) (*Prober, error) {
	p := &Prober{to: to, from: from, control: control, waiting: map[uint64]chan struct{}{}, seen: map[netip.Addr]uint64{}}
	err := in.Do(func() (err error) {
		if p.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(to)); err != nil {
			return err
		}
		p.to = netip.AddrPortFrom(to.Addr(), p.udp.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		p.tcp, err = net.Listen("tcp", p.to.String())
		return err
	})
	if err != nil {
		if p.udp != nil {
			p.udp.Close()
		}
		return nil, fmt.Errorf("netns: prober %s: %w", to, err)
	}
	p.readers.Go(p.receive)
	p.readers.Go(p.accept)
	return p, nil
}

// Addr is where the prober listens.
func (p *Prober) Addr() netip.AddrPort { return p.to }

// UDP reports whether a datagram from src arrives.
func (p *Prober) UDP(src netip.Addr) (bool, error) { return p.probe(src, p.send) }

// TCP reports whether a connection from src is accepted.
func (p *Prober) TCP(src netip.Addr) (bool, error) { return p.probe(src, p.connect) }

// probe sends from src, then from the control address, and sees which gets through.
func (p *Prober) probe(src netip.Addr, send func(netip.Addr) (<-chan struct{}, func(), error)) (bool, error) {
	there, forget, err := send(src)
	if err != nil {
		return false, err
	}
	defer forget()
	wait := patience
	if p.control.IsValid() {
		control, forget, err := send(p.control)
		if err != nil {
			return false, err
		}
		defer forget()
		select {
		case <-there:
			return true, nil
		case <-control:
			wait = grace
		case <-time.After(broken):
			return false, fmt.Errorf("netns: not even the control address %s gets through", p.control)
		}
	}
	select {
	case <-there:
		return true, nil
	case <-time.After(wait):
		return false, nil
	}
}

// connect opens a connection from src; the channel is closed when it stands.
func (p *Prober) connect(src netip.Addr) (there <-chan struct{}, forget func(), err error) {
	err = p.from.Do(func() error { // an address that is not there must not look like one that is cut off
		c, err := p.dial(src)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("netns: dial from %s: %w", src, err)
	}
	ch := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go p.from.Do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))}
		c, err := d.DialContext(ctx, "tcp", p.to.String())
		if err != nil {
			return err
		}
		close(ch)
		return c.Close()
	})
	return ch, cancel, nil
}

// Flood sends datagrams from src, one after the other, until ctx ends, and counts them in sent.
func (p *Prober) Flood(ctx context.Context, src netip.Addr, sent *atomic.Uint64) error {
	return p.from.Do(func() error {
		c, err := p.dial(src)
		if err != nil {
			return err
		}
		defer c.Close()
		var b [8]byte
		for ctx.Err() == nil {
			if _, err := c.Write(b[:]); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	})
}

// Seen counts the datagrams from src that have arrived.
func (p *Prober) Seen(src netip.Addr) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[src]
}

// Close ends the prober.
func (p *Prober) Close() error {
	err := errors.Join(p.udp.Close(), p.tcp.Close())
	p.readers.Wait()
	return err
}

func (p *Prober) dial(src netip.Addr) (*net.UDPConn, error) {
	return net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0)), net.UDPAddrFromAddrPort(p.to))
}

// send sends one numbered datagram from src; the channel is closed when it has arrived.
func (p *Prober) send(src netip.Addr) (there <-chan struct{}, forget func(), err error) {
	ch := make(chan struct{})
	p.mu.Lock()
	p.next++
	n := p.next
	p.waiting[n] = ch
	p.mu.Unlock()
	forget = func() {
		p.mu.Lock()
		delete(p.waiting, n)
		p.mu.Unlock()
	}
	err = p.from.Do(func() error {
		c, err := p.dial(src)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(binary.BigEndian.AppendUint64(nil, n))
		return err
	})
	if err != nil {
		forget()
		return nil, nil, fmt.Errorf("netns: send from %s: %w", src, err)
	}
	return ch, forget, nil
}

func (p *Prober) receive() {
	var b [64]byte
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(b[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8 {
			continue
		}
		p.mu.Lock()
		p.seen[from.Addr().Unmap()]++
		if ch, ok := p.waiting[binary.BigEndian.Uint64(b[:8])]; ok {
			close(ch)
			delete(p.waiting, binary.BigEndian.Uint64(b[:8]))
		}
		p.mu.Unlock()
	}
}

func (p *Prober) accept() {
	for {
		c, err := p.tcp.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}
