// Package receiver takes syslog messages from sockets and hands them on in batches. go-syslog accepts, scans and
// dispatches; this package gives it its sockets, frames what they bring, knows who sent it, and counts all that is not
// handed on.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
	"gopkg.in/mcuadros/go-syslog.v2"
	"gopkg.in/mcuadros/go-syslog.v2/format"
)

const (
	// How long a full pipeline holds up a UDP listener before it drops. Until then the kernel's 8 MiB queue.
	udpPatience = 100 * time.Millisecond
	// rsyslog notices a half-closed connection at its next message; an idle one may never.
	drainTime = 2 * time.Second
	// A listener that is still silent after this is most often not wired up. Repeated trouble is reported as often.
	quietTime = time.Minute
)

// A Receiver owns the sockets of all listeners.
type Receiver struct {
	// Drain is how long Run waits at its end for TCP senders to close their side.
	Drain time.Duration

	quiet     time.Duration
	log       zerolog.Logger
	listeners []*listener
	sources   []source
	servers   []*syslog.Server
	release   []func() // what is left to close or remove, once
	once      sync.Once
}

// A source is the socket of a listener, as Run stops it.
type source interface {
	stop()              // accept nothing new, and read what has come
	drain(by time.Time) // wait until that is handed on
}

// Listen opens every socket of cfgs. From then on the kernel queues; nothing is read before Run. After an error, which names
// the listener, none is open.
func Listen(cfgs []Config, log zerolog.Logger) (*Receiver, error) {
	r := &Receiver{Drain: drainTime, quiet: quietTime, log: log}
	for _, c := range cfgs {
		c.Defaults()
		c.TCP.S, c.UDP.S = localhost(c.TCP.S), localhost(c.UDP.S)
		if err := r.listen(c); err != nil {
			r.Close()
			return nil, fmt.Errorf("receiver: listener %s: %w", c.Name.S, err)
		}
	}
	return r, nil
}

func (r *Receiver) listen(c Config) error {
	kind := c.Kind()
	if kind == "" {
		return errors.New("exactly one of unix, tcp and udp must be set")
	}
	if n := c.MaxLine.Bytes; n < shortestLine || n > longestLine {
		return fmt.Errorf("max_line is %d bytes: it must be from %d to %d", n, shortestLine, longestLine)
	}
	var patience time.Duration
	if kind == "udp" {
		patience = udpPatience
	}
	l, err := newListener(c, patience, r.log)
	if err != nil {
		return err
	}
	switch kind {
	case "tcp":
		return r.listenTCP(l)
	case "udp":
		u, err := bindUDP(&l.cfg)
		if err != nil {
			return err
		}
		return r.listenDatagrams(l, u, false)
	}
	u, info, err := bindUnix(&l.cfg)
	if err != nil {
		return err
	}
	r.release = append(r.release, func() { removeOwn(l.cfg.Unix.S, info) })
	return r.listenDatagrams(l, u, true)
}

func (r *Receiver) listenTCP(l *listener) error {
	d, err := openDiag()
	if err != nil {
		return err
	}
	r.release = append(r.release, d.close)
	ln, err := bindTCP(&l.cfg)
	if err != nil {
		return err
	}
	r.release = append(r.release, func() { ln.Close() })
	a := newAcceptor(l, ln, d)
	l.addr = ln.Addr()
	return r.serve(l, a, a, a, []net.Listener{a}, nil)
}

func (r *Receiver) listenDatagrams(l *listener, c conn, unixgram bool) error {
	r.release = append(r.release, func() { c.Close() })
	d, err := newDatagrams(l, c, unixgram)
	if err != nil {
		return err
	}
	l.addr, l.ask = c.LocalAddr(), d.ask
	s := newSorter(l)
	return r.serve(l, d, s, s, nil, []net.PacketConn{d})
}

// serve makes the listener's go-syslog Server. One each: so Handler and Format know whom they serve.
func (r *Receiver) serve(l *listener, src source, f format.Format, h syslog.Handler, ln []net.Listener, pc []net.PacketConn) error {
	s := syslog.NewServer()
	s.SetFormat(f)
	s.SetHandler(h)
	if err := inject(s, ln, pc); err != nil {
		return err
	}
	r.listeners = append(r.listeners, l)
	r.sources = append(r.sources, src)
	r.servers = append(r.servers, s)
	return nil
}

// Run reads until ctx ends and sends what it reads to out: every batch must come back by its Done, on any goroutine. Then
// it accepts nothing new, half-closes the TCP connections and reads them to their end (for Drain at most), sends what is
// left, waits for the last batch to come back, and closes out. It can be called once.
func (r *Receiver) Run(ctx context.Context, out chan<- *event.Batch) error {
	defer close(out)
	defer r.Close()
	var pumps, watch sync.WaitGroup
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	watch.Go(func() { r.watch(watching) })
	for i, l := range r.listeners {
		l.feed.out = out
		pumps.Go(l.feed.pump)
		if err := r.servers[i].Boot(); err != nil { // never: it has format and handler
			return fmt.Errorf("receiver: listener %s: %w", l.cfg.Name.S, err)
		}
	}

	<-ctx.Done()
	watch.Wait()
	by := time.Now().Add(r.Drain)
	var ends sync.WaitGroup
	for _, s := range r.sources {
		ends.Go(func() {
			s.stop()
			s.drain(by)
		})
	}
	ends.Wait()
	for i, s := range r.servers {
		s.Kill() // only its own Close calls can fail, and ours that are counted on don't
		s.Wait()
		r.listeners[i].feed.close()
	}
	pumps.Wait()
	return nil
}

// Close closes the sockets of a receiver that is not run. Run does it itself.
func (r *Receiver) Close() {
	r.once.Do(func() {
		for _, f := range r.release {
			f()
		}
	})
}

// Addrs are the addresses listened on, in the order of the configuration.
func (r *Receiver) Addrs() []net.Addr {
	var list []net.Addr
	for _, l := range r.listeners {
		list = append(list, l.addr)
	}
	return list
}
