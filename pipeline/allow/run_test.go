package allow

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// A world is a host and a DNS that the test changes.
type world struct {
	mu      sync.Mutex
	facts   Facts
	bad     error
	deaf    error // Follow's
	changed func()
	dns     map[string][]netip.Addr
	asked   map[string]int
	hang    bool // DNS
}

func (w *world) system() System {
	return System{
		Facts: func() (Facts, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.facts, w.bad
		},
		Follow: func(ctx context.Context, changed func()) error {
			w.mu.Lock()
			w.changed = changed
			deaf := w.deaf
			w.mu.Unlock()
			if deaf == nil {
				<-ctx.Done()
			}
			return deaf
		},
		Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			w.mu.Lock()
			w.asked[name]++
			addrs, ok, hang := w.dns[name], w.dns[name] != nil, w.hang
			w.mu.Unlock()
			if hang {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			if !ok {
				return nil, errors.New("no such host")
			}
			return addrs, nil
		},
	}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// start runs a list in a bubble of its own time, and f beside it.
func start(t *testing.T, w *world, cfg Config, f func(l *List, log *bytes.Buffer)) {
	t.Helper()
	w.dns, w.asked = map[string][]netip.Addr{}, map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := New(cfg, w.system(), zerolog.New(zerolog.SyncWriter(&log)))
		if changed(l) {
			t.Error("changed before anybody saw it")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		f(l, &log)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// pass lets time go by in the bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func changed(l *List) bool {
	select {
	case <-l.Changed():
		return true
	default:
		return false
	}
}

func wantWhy(t *testing.T, l *List, a, want string) {
	t.Helper()
	if got := l.Why(addr(a)); got != want {
		t.Errorf("%s: got %q, want %q", a, got, want)
	}
}

func wantChanged(t *testing.T, l *List, want bool) {
	t.Helper()
	if got := changed(l); got != want {
		t.Errorf("changed: got %v, want %v", got, want)
	}
}

func TestRunNames(t *testing.T) {
	w := &world{}
	start(t, w, Config{Allow: texts("Home.example.net", "gone.example"), Proxies: texts("lb.example")}, func(l *List, log *bytes.Buffer) {
		wantChanged(t, l, false)
		if got := l.Stats().Failing; !slices.Equal(got, []string{"Home.example.net", "gone.example", "lb.example"}) {
			t.Errorf("failing: got %v", got)
		}
		w.set(func() {
			w.dns["home.example.net"] = addrs("203.0.113.5", "2001:db8:a::5", "203.0.113.5", "::ffff:203.0.113.6")
			w.dns["lb.example"] = addrs("203.0.113.80")
		})
		pass(retry + lookupCheck)
		wantChanged(t, l, true)
		wantWhy(t, l, "203.0.113.5", "allow: Home.example.net")
		wantWhy(t, l, "203.0.113.6", "allow: Home.example.net")
		wantWhy(t, l, "2001:db8:a::5", "allow: Home.example.net")
		wantWhy(t, l, "203.0.113.80", "proxies: lb.example")
		if got := l.Offender(addr("2001:db8:a::66")); got != prefix("2001:db8:a::66/128") {
			t.Errorf("offender beside a name's address: got %s", got)
		}

		w.set(func() { w.dns["home.example.net"] = addrs("203.0.113.7") })
		pass(fresh + lookupCheck)
		wantChanged(t, l, true)
		wantWhy(t, l, "203.0.113.5", "")
		wantWhy(t, l, "203.0.113.7", "allow: Home.example.net")

		w.set(func() { delete(w.dns, "home.example.net") })
		pass(10 * fresh)
		wantChanged(t, l, false)
		wantWhy(t, l, "203.0.113.7", "allow: Home.example.net")
		w.set(func() { w.dns["home.example.net"] = []netip.Addr{} })
		pass(2 * fresh)
		wantWhy(t, l, "203.0.113.7", "allow: Home.example.net")
		for _, name := range []string{"Home.example.net", "gone.example"} {
			if got := strings.Count(log.String(), `"name":"`+name+`"`); got != map[string]int{"Home.example.net": 3, "gone.example": 1}[name] {
				t.Errorf("%s: %d log lines:\n%s", name, got, log)
			}
		}
		if got := l.Stats().Failing; !slices.Equal(got, []string{"Home.example.net", "gone.example"}) {
			t.Errorf("failing: got %v", got)
		}
	})
}

// A name server that does not answer holds up nobody, neither other names for long nor the end of Run.
func TestRunNamesHang(t *testing.T) {
	w := &world{hang: true}
	var many []string
	for _, c := range "abcdefghijklmnopqrst" {
		many = append(many, string(c)+".example")
	}
	start(t, w, Config{Allow: texts(many...)}, func(l *List, _ *bytes.Buffer) {
		b := batch("203.0.113.9")
		l.Process(b)
		if len(b.Events) != 1 {
			t.Error("event lost")
		}
		w.set(func() { w.hang = false; w.dns["t.example"] = addrs("203.0.113.9") })
		pass(4 * lookupTime)
		wantWhy(t, l, "203.0.113.9", "allow: t.example")
		w.set(func() { w.hang = true })
		pass(retry + lookupCheck)
	})
}

func TestRunNamesBound(t *testing.T) {
	var many []string
	for range maxNames + 5 {
		many = append(many, "n"+strings.Repeat("x", len(many)%50)+string(rune('a'+len(many)/50%26))+".example")
	}
	var log bytes.Buffer
	l := New(Config{Allow: texts(many...)}, System{}, zerolog.New(&log))
	if got := len(l.names); got != maxNames {
		t.Errorf("names: got %d, want %d", got, maxNames)
	}
	if !strings.Contains(log.String(), `"over":5`) {
		t.Errorf("log: got %q", log.String())
	}
}

func TestRunFiles(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "allow.txt"), filepath.Join(dir, "lb.txt")
	write := func(path, text string) {
		t.Helper()
		next := filepath.Join(dir, "next")
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "203.0.113.5\nnonsense!\n")
	w := &world{}
	start(t, w, Config{Allow: texts("file:" + path), Proxies: texts("file:" + other)}, func(l *List, log *bytes.Buffer) {
		wantWhy(t, l, "203.0.113.5", "allow: 203.0.113.5 in "+path)
		if got := l.Stats().Failing; !slices.Equal(got, []string{"file:" + other}) {
			t.Errorf("failing: got %v", got)
		}
		pass(10 * filePoll)
		wantChanged(t, l, false)
		if got := strings.Count(log.String(), "\n"); got != 2 {
			t.Errorf("log: got %d lines, want one for each file:\n%s", got, log)
		}

		w.set(func() { w.dns["home.example.net"] = addrs("203.0.113.8") })
		write(path, "203.0.113.6\nhome.example.net\n")
		write(other, "203.0.113.80\n")
		pass(filePoll)
		wantChanged(t, l, true)
		wantWhy(t, l, "203.0.113.5", "")
		wantWhy(t, l, "203.0.113.6", "allow: 203.0.113.6 in "+path)
		wantWhy(t, l, "203.0.113.8", "allow: home.example.net in "+path)
		wantWhy(t, l, "203.0.113.80", "proxies: 203.0.113.80 in "+other)

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(10 * filePoll)
		wantWhy(t, l, "203.0.113.6", "allow: 203.0.113.6 in "+path) // what it said last
		if got := strings.Count(log.String(), "can't be read"); got != 2 {
			t.Errorf("log: got %d complaints, want 2:\n%s", got, log)
		}
		write(path, "")
		pass(filePoll)
		wantWhy(t, l, "203.0.113.6", "")
		if got := l.Stats().Failing; len(got) != 0 {
			t.Errorf("failing: got %v", got)
		}
	})
}

func TestReadFileRefuses(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(long, maxFile+1); err != nil {
		t.Fatal(err)
	}
	f := func(path, want string) {
		t.Helper()
		_, err := readFile(fileKey{path: path}, newList(Config{}, Facts{}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	f(dir, "no regular file")
	f("/dev/zero", "no regular file")
	f(long, "longer than 16777216 bytes")
}

func TestRunFacts(t *testing.T) {
	w := &world{facts: here}
	start(t, w, Config{}, func(l *List, log *bytes.Buffer) {
		f := func(a, want string) { t.Helper(); wantWhy(t, l, a, want) }
		next := here
		next.Own = addrs("192.0.2.3")
		w.set(func() { w.facts = next })
		w.changed()
		pass(time.Second)
		wantChanged(t, l, true)
		f("192.0.2.2", "")
		f("192.0.2.3", "own address")
		w.changed()
		pass(time.Second)
		wantChanged(t, l, false)

		// Half an answer: what was known before stays.
		w.set(func() { w.facts, w.bad = Facts{Own: addrs("192.0.2.4")}, errors.New("dump interrupted") })
		for range 3 {
			w.changed()
			pass(time.Second)
		}
		wantChanged(t, l, true)
		f("192.0.2.3", "own address")
		f("192.0.2.4", "own address")
		f("192.0.2.1", "gateway")
		if got := strings.Count(log.String(), "dump interrupted"); got != 1 {
			t.Errorf("log: got %d lines, want 1:\n%s", got, log)
		}

		// What nobody told of is seen some time.
		w.set(func() { w.facts, w.bad = next, nil })
		pass(factPoll)
		f("192.0.2.4", "")
	})
}

// Without rtnetlink the host is looked at from time to time.
func TestRunDeaf(t *testing.T) {
	w := &world{facts: here, deaf: errors.New("operation not permitted")}
	start(t, w, Config{}, func(l *List, log *bytes.Buffer) {
		w.set(func() { w.facts = Facts{Own: addrs("192.0.2.3")} })
		pass(slowPoll + time.Second)
		wantWhy(t, l, "192.0.2.3", "own address")
		if got := strings.Count(log.String(), "operation not permitted"); got != 1 {
			t.Errorf("log: got %d lines, want 1:\n%s", got, log)
		}
	})
}

func TestLoad(t *testing.T) {
	w := &world{}
	start(t, w, Config{Allow: texts("home.example.net", "203.0.113.1")}, func(l *List, _ *bytes.Buffer) {
		w.set(func() { w.dns["home.example.net"] = addrs("203.0.113.5") })
		pass(retry + lookupCheck)
		changed(l)
		l.Load(Config{Allow: texts("home.example.net", "203.0.113.2", "0.0.0.0/0", "!")})
		wantChanged(t, l, true)
		wantWhy(t, l, "203.0.113.1", "")
		wantWhy(t, l, "203.0.113.2", "allow: 203.0.113.2")
		wantWhy(t, l, "203.0.113.5", "allow: home.example.net") // without asking again
		asked := w.asked["home.example.net"]
		l.Load(Config{Allow: texts("home.example.net", "203.0.113.2")})
		wantChanged(t, l, false)
		pass(time.Second)
		if got := w.asked["home.example.net"]; got != asked {
			t.Errorf("look-ups: got %d, want %d", got, asked)
		}
		l.AllowSenders(prefixes("203.0.113.9/32"))
		wantChanged(t, l, true)
		l.AllowSenders(nil)
		wantWhy(t, l, "203.0.113.9", "")
		l.Load(Config{})
		wantWhy(t, l, "203.0.113.5", "")
	})
}

// Process, look-ups and changes go on at the same time.
func TestConcurrent(t *testing.T) {
	l := busyList()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, f := range []func(){
		func() { l.Stats(); l.Why(addr("198.51.100.66")); l.Prefixes(); l.Never(prefix("198.51.100.66/32")) },
		func() { l.AllowSenders(prefixes("203.0.113.9/32")); l.AllowSenders(nil) },
		func() { l.Load(Config{Proxies: texts("203.0.113.80")}); l.Load(Config{Allow: texts("198.51.100.66")}) },
	} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	for range 300 {
		b := batch("198.51.100.66", "203.0.113.80", "127.0.0.1", "203.0.113.10")
		l.Process(b)
		if n := len(b.Events); n < 1 || !b.Events[n-1].Offender.IsValid() {
			t.Fatalf("events: got %v", b.Events)
		}
	}
	close(stop)
	wg.Wait()
}
