package receiver

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
)

func TestTCP(t *testing.T) {
	r := start(t, nil, tcpConfig())
	c := r.dial(0)
	send(t, c, "<34>one\n9 <34>two\n\n<34>three")
	same(t, "before the end", r.texts(2), []string{"<34>one", "<34>two\n\n"})
	send(t, c, "\n<999>four\x00\n-5 x\n<34>\nunfinished")
	c.(*net.TCPConn).CloseWrite()
	same(t, "at the end", r.texts(7),
		[]string{"<34>one", "<34>two\n\n", "<34>three", "<999>four\x00", "-5 x", "<34>", "unfinished [cut]"})
	s := r.Stats()[0]
	if s.Received != 7 || s.Cut != 1 || s.Malformed != 0 || len(s.Senders) != 1 {
		t.Errorf("stats: got %+v", s)
	}
	from := r.got[0].from
	if !from.Trusted || from.UID < 0 || from.Addr.String() != "127.0.0.1" || from.Listener != "tcp 127.0.0.1:0" {
		t.Errorf("sender: got %+v", from)
	}
}

func TestTCPLyingCounts(t *testing.T) {
	r := start(t, nil, tcpConfig())
	liar, honest := r.dial(0), r.dial(0)
	send(t, liar, "5 <34>hello\n<34>one\n")
	send(t, honest, "7 <34>two")
	r.texts(3)
	send(t, liar, "17 <34>a\n12 <34>message\n8 <34>four")
	got := strings.Join(r.texts(5), "\n")
	for _, want := range []string{"<34>one", "<34>two", "<34>four"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is lost: got %q", want, got)
		}
	}
	if s := r.Stats()[0]; s.Malformed != 2 {
		t.Errorf("malformed: got %d, want 2", s.Malformed)
	}
}

// The message is over when all of it was sent, not when the next one comes.
func TestTCPPieces(t *testing.T) {
	r := start(t, nil, tcpConfig())
	c := r.dial(0)
	for i := range 20 {
		for _, b := range []byte(fmt.Sprintf("13 <34>number %02d", i)) {
			send(t, c, string(b))
		}
		if got := r.texts(i + 1)[i]; got != fmt.Sprintf("<34>number %02d", i)[:13] {
			t.Fatalf("got %q", got)
		}
	}
}

func TestTCPLongLines(t *testing.T) {
	f := func(limit int64) {
		t.Helper()
		cfg := tcpConfig()
		cfg.MaxLine.Bytes = limit
		r := start(t, nil, cfg)
		c := r.dial(0)
		long := strings.Repeat("x", 10<<20)
		send(t, c, "<34>a\n"+long+"\n<34>b\n")
		send(t, c, fmt.Sprintf("%d <34>%s", 99999, long[:99995]))
		send(t, c, "5 <34>c\n"+long[:limit]+"\n"+long[:limit+1]+"\n<34>d\n")
		got := r.texts(7)
		for i, want := range []string{"<34>a", long[:limit] + " [cut]", "<34>b", "<34>" + long[:limit-4] + " [cut]", "<34>c"} {
			if got[i] != want {
				t.Errorf("max_line %d, message %d: got %d bytes, want %d", limit, i, len(got[i]), len(want))
			}
		}
		if got := got[len(got)-1]; got != "<34>d" {
			t.Errorf("last: got %.20q", got)
		}
	}
	f(480)
	f(8192)
	f(65000)
}

func TestTCPBlocks(t *testing.T) {
	r := start(t, nil, tcpConfig())
	const conns, each = 4, 20000
	var wg sync.WaitGroup
	for n := range conns {
		c := r.dial(0)
		wg.Go(func() {
			var s strings.Builder
			for i := range each {
				m := fmt.Sprintf("<34>%d %d %s", n, i, strings.Repeat("y", i%300))
				if i%3 == 0 {
					fmt.Fprintf(&s, "%d %s", len(m), m)
				} else {
					s.WriteString(m + "\n")
				}
			}
			send(t, c, s.String())
			c.(*net.TCPConn).CloseWrite()
		})
	}
	wg.Wait()
	r.texts(conns * each)
	var next [conns]int
	for _, m := range r.got {
		var n, i int
		if _, err := fmt.Sscanf(m.raw, "<34>%d %d ", &n, &i); err != nil || i != next[n] || m.cut {
			t.Fatalf("got %.40q, want message %v", m.raw, next)
		}
		next[n]++
	}
	s := r.Stats()[0]
	if s.Received != conns*each || s.Processed != s.Received || s.Malformed+s.Cut+s.Dropped[DroppedFull] != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

func TestTCPSenders(t *testing.T) {
	cfg := tcpConfig()
	cfg.Senders = []value.Prefix{prefix("192.0.2.0/24")}
	r := start(t, nil, cfg)
	c, err := net.Dial("tcp", r.addr(0))
	if err == nil {
		c.Read(make([]byte, 1))
		c.Close()
	}
	poll(t, "refusal", func() bool { return r.Stats()[0].Refused[RefusedSender] == 1 })
	if s := r.Stats()[0]; s.Received != 0 || len(s.Senders) != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

func TestTCPTooManyConnections(t *testing.T) {
	roll := newRoll()
	one, other := &event.Sender{}, &event.Sender{}
	enter := func(s *event.Sender) (uint64, bool) {
		st, ok, err := roll.enter(s, func(id uint64) (*stream, error) { return &stream{id: id, from: s}, nil })
		if err != nil || !ok {
			return 0, false
		}
		return st.id, true
	}
	var last uint64
	for range maxConnections {
		last, _ = enter(one)
	}
	if _, ok := enter(one); ok {
		t.Error("one sender has more connections than it may")
	}
	if _, ok := enter(other); !ok {
		t.Error("another sender is refused with it")
	}
	roll.leave(last)
	roll.leave(last)
	if _, ok := enter(one); !ok {
		t.Error("a connection that ended still counts")
	}
}

func TestStopWithIdleConnections(t *testing.T) {
	rc, err := Listen([]Config{tcpConfig()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	rc.Drain = 50 * time.Millisecond
	r := run(t, rc, nil)
	for range 200 {
		send(t, r.dial(0), "<34>half")
	}
	last := r.dial(0)
	poll(t, "connections", func() bool { return r.Stats()[0].Connections == 201 })
	r.cancel()
	if n, err := last.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("no half-close: read %d, %v", n, err)
	}
	r.stop()
	got := r.texts(200)
	if len(got) != 200 || got[0] != "<34>half [cut]" {
		t.Errorf("what was left: got %d messages, first %q", len(got), got[0])
	}
	if n := r.Stats()[0].Connections; n != 0 {
		t.Errorf("connections: got %d, want 0", n)
	}
}

// Who sends until it sees the half-close, as rsyslog does, loses nothing.
func TestStopLosesNothing(t *testing.T) {
	r := start(t, nil, tcpConfig())
	c := r.dial(0)
	sent := make(chan int)
	var over sync.WaitGroup
	seen := make(chan struct{})
	over.Go(func() { c.Read(make([]byte, 1)); close(seen) })
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-seen:
				c.Close()
				sent <- n
				return
			default:
			}
			if _, err := fmt.Fprintf(c, "<34>%d\n", n); err != nil {
				t.Errorf("send: %v", err)
			}
		}
	}()
	r.texts(100)
	r.cancel()
	want := <-sent
	over.Wait()
	r.stop()
	if got := len(r.texts(0)); got != want {
		t.Errorf("got %d messages, want %d", got, want)
	}
}

func TestSameAddressTwice(t *testing.T) {
	r := start(t, nil, tcpConfig(), udpConfig(), unixConfig(t))
	f := func(c Config, want string) {
		t.Helper()
		free := tcpConfig()
		_, err := Listen([]Config{free, c}, zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(Config{TCP: text(r.addr(0))}, "receiver: listener tcp "+r.addr(0)+": ")
	f(Config{UDP: text(r.addr(1))}, "address already in use")
	f(Config{Unix: text(r.addr(2))}, "is in use by another program")
}
