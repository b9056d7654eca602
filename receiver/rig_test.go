package receiver

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
)

// A rig is a running receiver and a pipeline that keeps what it gets.
type rig struct {
	*Receiver
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{} // the pipeline saw the end

	mu  sync.Mutex
	got []taken
}

type taken struct {
	raw  string
	cut  bool
	from *event.Sender
}

// start runs a receiver whose messages pass through hold, if that is not nil, before they are given back.
func start(t *testing.T, hold func(*event.Batch), cfgs ...Config) *rig {
	t.Helper()
	rc, err := Listen(cfgs, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return run(t, rc, hold)
}

func run(t *testing.T, rc *Receiver, hold func(*event.Batch)) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{Receiver: rc, t: t, cancel: cancel, ended: make(chan struct{})}
	out := make(chan *event.Batch)
	go func() {
		if err := rc.Run(ctx, out); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	go func() {
		defer close(r.ended)
		for b := range out {
			if hold != nil {
				hold(b)
			}
			r.mu.Lock()
			for _, m := range b.Messages {
				r.got = append(r.got, taken{string(m.Raw), m.Cut, m.From})
			}
			r.mu.Unlock()
			b.Done(b)
		}
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends the receiver and waits until it has handed over everything.
func (r *rig) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		r.t.Fatalf("Run did not end:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// texts waits for n messages and returns all there are.
func (r *rig) texts(n int) []string {
	r.t.Helper()
	poll(r.t, "messages", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.got) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, m := range r.got {
		s := m.raw
		if m.cut {
			s += " [cut]"
		}
		list = append(list, s)
	}
	return list
}

func (r *rig) addr(i int) string { return r.Addrs()[i].String() }

func (r *rig) dial(i int) net.Conn {
	r.t.Helper()
	a := r.Addrs()[i]
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// poll waits until ok.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func text(s string) value.String { return value.String{S: s} }

func tcpConfig() Config { return Config{TCP: text("127.0.0.1:0")} }
func udpConfig() Config { return Config{UDP: text("127.0.0.1:0")} }

func unixConfig(t testing.TB) Config {
	return Config{Unix: text(t.TempDir() + "/log")}
}

func prefix(s string) value.Prefix { return value.Prefix{Prefix: netip.MustParsePrefix(s)} }

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}
