package receiver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gopkg.in/mcuadros/go-syslog.v2/format"
)

// How long Accept rests after an error: the first time, and at most. Too many open files is the usual one, and go-syslog
// would ask again at once.
const (
	firstRest = 5 * time.Millisecond
	longRest  = time.Second
)

// When a TCP listener stops, connections that the kernel has completed but that nobody accepted yet are still taken, for at
// most this long: closing the socket would reset them.
const lastCall = 10 * time.Millisecond

// An acceptor is the net.Listener that go-syslog accepts from, and the stream format of its Server. Accept never returns an
// error before Close: go-syslog would call it again at once.
type acceptor struct {
	*listener
	ln   *net.TCPListener
	diag *diag

	accepted *stream // GetSplitFunc comes right after Accept, on the same goroutine

	stopping chan struct{} // closed by stop
	parked   chan struct{} // closed by Accept: no connection comes any more
	killed   chan struct{} // closed by Close
	once     sync.Once
}

func newAcceptor(l *listener, ln *net.TCPListener, d *diag) *acceptor {
	return &acceptor{
		listener: l, ln: ln, diag: d,
		stopping: make(chan struct{}), parked: make(chan struct{}), killed: make(chan struct{}),
	}
}

// Accept returns the next connection of a sender that is allowed. After stop it waits for Close.
func (a *acceptor) Accept() (net.Conn, error) {
	rest := firstRest
	for {
		c, err := a.ln.AcceptTCP()
		if err == nil {
			rest = firstRest
			if s := a.admit(c); s != nil {
				a.accepted = s
				return s, nil
			}
			c.Close()
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			a.once.Do(func() { close(a.parked) })
			<-a.killed
			return nil, net.ErrClosed
		}
		a.acceptErrors.Add(1)
		select {
		case <-time.After(rest):
		case <-a.stopping:
		}
		rest = min(2*rest, longRest)
	}
}

// admit returns the stream of an accepted connection, or nil and counts why not.
func (a *acceptor) admit(c *net.TCPConn) *stream {
	local, remote := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	addr := remote.Addr().Unmap().WithZone("")
	if !a.allows(addr) {
		a.refused.sender.Add(1)
		return nil
	}
	uid, err := a.diag.uid(local, remote)
	switch {
	case err == nil && a.accounts[uint32(uid)]:
	case err != nil && err != errOrphan && !isLocal(addr): // another host
	case err != nil && a.vouched(c):
	default:
		a.refused.uid.Add(1)
		return nil
	}
	from := a.roster.sender(a.roster.number(peer{addr, uid}))
	s, room, err := a.roll.enter(from, func(id uint64) (*stream, error) { return newStream(c, a.listener, from, id) })
	switch {
	case err != nil:
		a.acceptErrors.Add(1)
	case !room:
		a.refused.connections.Add(1)
	}
	return s
}

// stop ends accepting, closes the socket, and tells every connected sender that we read on but will be gone.
func (a *acceptor) stop() {
	a.ln.SetDeadline(time.Now().Add(lastCall))
	close(a.stopping)
	<-a.parked
	a.ln.Close()
	a.roll.each(func(s *stream) { s.CloseWrite() })
}

// drain waits until every connection has ended; at the deadline it ends those that are left.
func (a *acceptor) drain(deadline time.Time) {
	a.roll.each(func(s *stream) { s.SetReadDeadline(deadline) })
	a.roll.empty()
}

// Close is go-syslog's Kill.
func (a *acceptor) Close() error {
	close(a.killed)
	return nil
}

// Addr is the address listened on.
func (a *acceptor) Addr() net.Addr { return a.ln.Addr() }

// GetSplitFunc returns the SplitFunc of the connection just accepted.
func (a *acceptor) GetSplitFunc() bufio.SplitFunc {
	s := a.accepted
	a.accepted = nil
	if s == nil {
		return func([]byte, bool) (int, []byte, error) { return 0, nil, errBroken }
	}
	return s.split
}

// GetParser returns the stream that the token stands for.
func (a *acceptor) GetParser(token []byte) format.LogParser {
	if len(token) == len(stream{}.ticket) {
		if s := a.roll.find(binary.NativeEndian.Uint64(token)); s != nil {
			return s
		}
	}
	return nobody{}
}

// Handle takes the run of frames that a token stood for.
func (a *acceptor) Handle(parts format.LogParts, _ int64, _ error) {
	defer a.recover()
	if s, ok := parts[partsKey].(*stream); ok {
		s.deliver()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}
