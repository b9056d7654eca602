package receiver

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
)

func TestUDP(t *testing.T) {
	r := start(t, nil, udpConfig(), Config{UDP: text("[::1]:0"), Trusted: value.Bool{B: true, Set: true}})
	c := r.dial(0)
	for i, m := range []string{"<34>one\nline", "<34>two\x00\n", "<34>", "\x01\x02", "-5 x"} {
		send(t, c, m)
		if got := r.texts(i + 1)[i]; got != m {
			t.Errorf("got %q, want %q", got, m)
		}
	}
	send(t, c, "")
	send(t, c, strings.Repeat("x", 8192))
	send(t, c, strings.Repeat("x", 8193))
	got := r.texts(7)
	if got[5] != strings.Repeat("x", 8192) || got[6] != strings.Repeat("x", 8192)+" [cut]" {
		t.Errorf("long: got %d and %d bytes", len(got[5]), len(got[6]))
	}
	send(t, r.dial(1), "<34>six")
	r.texts(8)
	if f := r.got[0].from; f.Trusted || f.UID != -1 || f.Addr.String() != "127.0.0.1" {
		t.Errorf("sender: got %+v", f)
	}
	if f := r.got[7].from; !f.Trusted || f.Addr.String() != "::1" {
		t.Errorf("sender by v6: got %+v", f)
	}
	if s := r.Stats()[0]; s.Received != 7 || s.Cut != 1 || s.Last.IsZero() {
		t.Errorf("stats: got %+v", s)
	}
}

func TestUDPSenders(t *testing.T) {
	cfg := Config{UDP: text("127.0.0.1:0"), Senders: []value.Prefix{prefix("127.0.0.2/32")}}
	r := start(t, nil, cfg)
	_, port, _ := net.SplitHostPort(r.addr(0))
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("udp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	bad, good := dial("127.0.0.1"), dial("127.0.0.2")
	for range 10 {
		send(t, bad, "<34>bad")
		send(t, good, "<34>good")
	}
	for _, m := range r.texts(10) {
		if m != "<34>good" {
			t.Errorf("got %q", m)
		}
	}
	if s := r.Stats()[0]; s.Refused[RefusedSender] != 10 || s.Received != 10 || len(s.Senders) != 1 {
		t.Errorf("stats: got %+v", s)
	}
}

// Under more than it can take, every datagram is in exactly one count.
func TestUDPAccounting(t *testing.T) {
	cfg := udpConfig()
	cfg.Buffer.Bytes = 64 << 10
	var held atomic.Bool
	held.Store(true)
	release := make(chan struct{})
	r := start(t, func(*event.Batch) {
		if held.Load() {
			<-release
		}
	}, cfg)
	var sent atomic.Uint64
	var wg sync.WaitGroup
	enough := make(chan struct{})
	for range 4 {
		c := r.dial(0)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-enough:
					return
				default:
				}
				if _, err := fmt.Fprintf(c, "<34>%d %s", i, strings.Repeat("z", i%200)); err == nil {
					sent.Add(1)
				}
			}
		})
	}
	poll(t, "drops by both", func() bool {
		d := r.Stats()[0].Dropped
		return d[DroppedFull] > 0 && d[DroppedKernel] > 0
	})
	held.Store(false)
	close(release)
	close(enough)
	wg.Wait()
	poll(t, "all of it", func() bool {
		s := r.Stats()[0]
		return s.Received+s.Dropped[DroppedKernel] == sent.Load() && s.Received == s.Processed+s.Dropped[DroppedFull]
	})
	r.stop()
	s := r.Stats()[0]
	if s.Senders[0].Dropped != s.Dropped[DroppedFull] || uint64(len(r.got)) != s.Processed {
		t.Errorf("stats: got %+v, %d messages", s, len(r.got))
	}
}

// What the sockets hold when the receiver stops is handed over.
func TestStopDrainsDatagrams(t *testing.T) {
	rc, err := Listen([]Config{udpConfig(), unixConfig(t)}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	const each = 300
	for _, a := range rc.Addrs() {
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		done := make(chan struct{})
		go func() { // a unix sender waits when the queue is full
			defer close(done)
			for i := range each {
				fmt.Fprintf(c, "<34>%d", i)
			}
		}()
		if a.Network() == "udp" {
			<-done
		} else {
			defer func() { <-done }()
		}
	}
	r := run(t, rc, nil)
	r.texts(each + 1)
	r.stop()
	st := r.Stats()
	if st[0].Received != each || st[0].Dropped[DroppedKernel] != 0 {
		t.Errorf("udp: got %+v", st[0])
	}
	if got, want := uint64(len(r.got)), st[0].Processed+st[1].Processed; got != want {
		t.Errorf("handed over: got %d, want %d", got, want)
	}
	if _, err := os.Lstat(rc.listeners[1].cfg.Unix.S); !os.IsNotExist(err) {
		t.Errorf("socket file: got %v, want it to be removed", err)
	}
}
