package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
	"gopkg.in/mcuadros/go-syslog.v2/format"
)

func TestAllKindsAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	r := start(t, nil, tcpConfig(), udpConfig(), unixConfig(t))
	for i := range 3 {
		for range 100 {
			send(t, r.dial(i), "<34>hello\n")
		}
	}
	r.texts(300)
	for i, c := range []string{"tcp", "udp", "unixgram"} {
		if got := r.Addrs()[i].Network(); got != c {
			t.Errorf("address %d: got %s, want %s", i, got, c)
		}
	}
	for i, kind := range []string{"tcp", "udp", "unix"} {
		if s := r.Stats()[i]; s.Kind != kind || s.Received != 100 || len(s.Senders) != 1 || s.Bytes < 900 || s.Panics != 0 {
			t.Errorf("stats: got %+v", s)
		}
	}
	r.Drain = 0
	r.stop()
	poll(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestNeverRun(t *testing.T) {
	cfg := unixConfig(t)
	rc, err := Listen([]Config{cfg, tcpConfig()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	again := Config{TCP: text(rc.Addrs()[1].String())}
	r := start(t, nil, cfg, again)
	send(t, r.dial(1), "<34>one\n")
	r.texts(1)
}

func TestStatsJSON(t *testing.T) {
	r := start(t, nil, udpConfig())
	send(t, r.dial(0), "<34>one")
	r.texts(1)
	b, err := json.Marshal(r.Stats())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"name":"udp 127.0.0.1:0","kind":"udp","trusted":false,"received":1,`, `"dropped":{"full":0,"kernel":0}`,
		`"refused":{"connections":0,"sender":0,"uid":0}`, `"senders":[{"addr":"127.0.0.1","uid":-1,"received":1,"bytes":7,`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %s", b, want)
		}
	}
}

func TestHint(t *testing.T) {
	got := hint(fs.ErrPermission, "udp", "192.0.2.1:514").Error()
	if want := "semanage port -a -t syslogd_port_t -p udp 514"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if other := errors.New("x"); hint(other, "udp", ":1") != other {
		t.Error("a hint where none fits")
	}
}

// A lockedBuffer is a log that one goroutine writes and another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWarnings(t *testing.T) {
	var log lockedBuffer
	nobody := udpConfig()
	nobody.Senders = append(nobody.Senders, prefix("192.0.2.1/32"))
	rc, err := Listen([]Config{tcpConfig(), udpConfig(), nobody}, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	rc.quiet = 20 * time.Millisecond
	r := run(t, rc, nil)
	poll(t, "warnings", func() bool { return strings.Count(log.String(), "no message yet") == 3 })
	send(t, r.dial(2), "<34>refused")
	poll(t, "refusals", func() bool { return strings.Contains(log.String(), "messages refused or dropped") })
	r.stop()
	if n := strings.Count(log.String(), "no message yet"); n != 3 {
		t.Errorf("got %d warnings, want one for each listener", n)
	}
	if want := "semanage port -a -t syslogd_port_t -p tcp "; !strings.Contains(log.String(), want) {
		t.Errorf("got %s, want %s", log.String(), want)
	}
	if n := strings.Count(log.String(), "messages refused"); n != 1 {
		t.Errorf("got %d reports of one refusal", n)
	}
}

func TestRoster(t *testing.T) {
	r := newRoster("udp", false)
	addr := netip.MustParseAddr("2001:db8::")
	for range maxSenders + 100 {
		addr = addr.Next()
		r.number(peer{addr, -1})
	}
	if got := len(r.all()); got != maxSenders+1 {
		t.Fatalf("senders: got %d, want %d", got, maxSenders+1)
	}
	first, others := r.sender(0), r.sender(maxSenders)
	if first.Addr.String() != "2001:db8::1" || others.Name != "others" || others.Local() {
		t.Errorf("got %v and %q", first.Addr, others.Name)
	}
	if n := r.number(peer{netip.MustParseAddr("2001:db8::1"), -1}); n != 0 {
		t.Errorf("a known sender: got number %d, want 0", n)
	}
	if n := r.number(peer{netip.MustParseAddr("192.0.2.1"), -1}); n != maxSenders {
		t.Errorf("one too many: got number %d, want %d", n, maxSenders)
	}
	if r.sender(maxSenders+1) != nil {
		t.Error("a number never given has a sender")
	}
}

// go-syslog has no recover: a mistake of ours must not end the process, nor keep the next messages back.
func TestPanicsAreSurvived(t *testing.T) {
	rc, err := Listen([]Config{tcpConfig(), udpConfig()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	acc, sort := rc.sources[0].(*acceptor), newSorter(rc.listeners[1])
	s := &stream{l: acc.listener, from: &event.Sender{}, framer: framer{max: -100}}
	if _, _, err := s.split([]byte("x\n"), false); err != errBroken {
		t.Errorf("split: got %v", err)
	}
	s = &stream{l: acc.listener, from: &event.Sender{}, run: new([runFrames]frame), frames: 1}
	s.run[0].end = 5
	acc.Handle(format.LogParts{partsKey: s}, 0, nil)
	acc.Handle(nil, 0, nil)
	d := rc.sources[1].(*datagrams)
	d.got = len(d.heads) + 1
	d.ReadFrom(make([]byte, 65536))
	sort.roster = nil
	sort.Handle(nil, 0, nil)
	if a, b := acc.panics.Load(), rc.listeners[1].panics.Load(); a != 2 || b != 2 {
		t.Errorf("counted: got %d and %d, want 2 and 2", a, b)
	}
	if parts := acc.GetParser([]byte("12345678")).Dump(); parts["hostname"] != "-" {
		t.Errorf("a token of no connection: got %v", parts)
	}
	if _, _, err := acc.GetSplitFunc()(nil, true); err != errBroken {
		t.Errorf("a split function without a connection: got %v", err)
	}
	for _, l := range rc.listeners {
		if !put(l.feed, "next") {
			t.Error("the feed is stuck")
		}
	}
}

func TestAllocs(t *testing.T) {
	f := func(name string, work func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, work); n != 0 {
			t.Errorf("%s: got %v allocations a block, want 0", name, n)
		}
	}
	l, err := newListener(Config{Name: text("x")}, 0, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan *event.Batch)
	l.feed.out = out
	go l.feed.pump()
	go func() {
		for b := range out {
			b.Done(b)
		}
	}()
	line := "<34>Oct 11 22:14:15 srv sshd[123]: Failed password for root from 192.0.2.1 port 22 ssh2"
	s := &stream{l: l, from: l.roster.sender(l.roster.number(peer{uid: 0})), framer: framer{max: 8192}}
	data := []byte(strings.Repeat(line+"\n", 40))
	f("stream", func() {
		s.split(data, false)
		s.deliver()
	})
	o := newSorter(l)
	block := make([]byte, 0, 65536)
	for range 64 {
		block, _ = pack(block, []byte(line), 0, whole)
	}
	block = append(block, blockEnd)
	f("datagrams", func() {
		o.GetParser(block)
		o.Handle(o.Dump(), 0, nil)
	})
	if got := l.panics.Load(); got != 0 {
		t.Errorf("panics: got %d", got)
	}
}
