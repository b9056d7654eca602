package filter

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// batch makes messages of program and text pairs.
func batch(from *event.Sender, lines ...string) *event.Batch {
	b := &event.Batch{Now: now}
	for i := 0; i < len(lines); i += 2 {
		b.Messages = append(b.Messages, event.Message{From: from, Raw: []byte(lines[i+1]), Text: []byte(lines[i+1]), Program: []byte(lines[i]), PID: []byte("77")})
	}
	return b
}

func TestProcess(t *testing.T) {
	s := compiled(t)
	from := &event.Sender{Trusted: true}
	const wrong = "Failed password for alice from 198.51.100.66 port 50492 ssh2"
	b := batch(from,
		"sshd", wrong,
		"rapsheet", wrong,
		"cron", wrong,
		"sshd", wrong,
		"sshd", "Accepted password for alice from 198.51.100.67 port 1 ssh2",
		"sshd", "Server listening on :: port 22.",
		"postfix/smtpd", "warning: unknown[2001:db8::70]: SASL LOGIN authentication failed: x",
	)
	b.Messages[0].Time = now.Add(-time.Hour)
	b.Messages[3].Cut = true
	b.Messages[4].Time = now.Add(time.Hour)
	b.Messages[6].From = nil
	s.Process(b)
	f := func(i int, want string) {
		t.Helper()
		if i >= len(b.Events) {
			t.Errorf("events: got %d, want more than %d", len(b.Events), i)
			return
		}
		e := &b.Events[i]
		got := fmt.Sprintf("%s %s msg %d %s %q session %q at %s trusted %v count %d", e.Rule.Filter, e.Rule.Kind, e.Msg, e.Addr, e.User, e.Session, e.Time.Sub(now), e.Trusted, e.Count)
		if got != want {
			t.Errorf("event %d: got %s, want %s", i, got, want)
		}
	}
	if len(b.Events) != 3 {
		t.Errorf("events: got %d, want 3", len(b.Events))
	}
	f(0, `ssh failure msg 0 198.51.100.66 "alice" session "77" at -1h0m0s trusted true count 1`)
	f(1, `ssh success msg 4 198.51.100.67 "alice" session "77" at 0s trusted true count 1`)
	f(2, `postfix failure msg 6 2001:db8::70 "" session "" at 0s trusted false count 1`)
	if got := from.Failures.Load(); got != 1 {
		t.Errorf("failures: got %d, want 1", got)
	}
}

// A stamp counts only when it comes from a listener whose senders can't be forged.
func TestUntrustedStamp(t *testing.T) {
	b := batch(&event.Sender{}, "sshd", "Invalid user x from 198.51.100.66 port 1")
	b.Messages[0].Time = now.Add(-time.Hour)
	compiled(t).Process(b)
	if len(b.Events) != 1 || !b.Events[0].Time.Equal(now) || b.Events[0].Trusted {
		t.Errorf("events: got %+v, want one of now, untrusted", b.Events)
	}
}

func TestFailuresBySender(t *testing.T) {
	from := []*event.Sender{{}, {}, {}}
	b := &event.Batch{Now: now}
	for i, n := range []int{0, 0, 1, 0, 2, 2, 2} {
		b.Messages = append(b.Messages, batch(from[n], "sshd", fmt.Sprintf("Failed password for x from 198.51.100.%d port 1 ssh2", i)).Messages...)
	}
	compiled(t).Process(b)
	for i, want := range []uint64{3, 1, 3} {
		if got := from[i].Failures.Load(); got != want {
			t.Errorf("failures of sender %d: got %d, want %d", i, got, want)
		}
	}
}

func TestPrograms(t *testing.T) {
	s := compiled(t)
	f := func(program, text string, want bool) {
		t.Helper()
		var e event.Event
		if got := s.Match(&event.Message{Program: []byte(program), Text: []byte(text)}, &e); got != want {
			t.Errorf("program %q: got %v, want %v", program, got, want)
		}
	}
	const login, mail = "Authentication failure for admin from 198.51.100.66", "warning: unknown[198.51.100.66]: SASL LOGIN authentication failed: x"
	f("wordpress(example.org)", login, true)
	f("wordpress(example.org/a/b)", login, true)
	f("wordpress(cut-at-32-charac", login, true)
	f("wp()", login, true)
	f("wp", login, false)
	f("mywordpress(example.org)", login, false)
	f("postfix/smtpd", mail, true)
	f("postfix/submission/smtpd", mail, true)
	f("postfix-out/smtps/smtpd", mail, true)
	f("postfix/cleanup", mail, false)
	f("smtpd", mail, false)
	f("/smtpd", mail, false)
	f("post/smtpd", mail, false)
	f("", mail, false)
}

func TestRepeated(t *testing.T) {
	s := compiled(t)
	f := func(text string, want int) {
		t.Helper()
		var e event.Event
		s.Match(&event.Message{Program: []byte("sshd"), Text: []byte(text)}, &e)
		if int(e.Count) != want {
			t.Errorf("count of %q: got %d, want %d", text, e.Count, want)
		}
	}
	const line = "Failed password for alice from 198.51.100.66 port 48800 ssh2"
	f(line, 1)
	f("message repeated 4 times: [ "+line+"]", 4)
	f("message repeated 4 times: [ "+line+"] ", 4)
	f("message repeated 4 times: [ "+line, 0)
	f("message repeated 0 times: [ "+line+"]", 0)
	f("message repeated 18446744073709551617 times: [ "+line+"]", 1000)
	f("message repeated 999999999999999999999999 times: [ "+line+"]", 0)
	f("message repeated -1 times: [ "+line+"]", 0)
	f("message repeated 2 times: [ message repeated 2 times: [ "+line+"]]", 0)
	f("message repeated 2 times: [ ]", 0)
	f("message repeated ]", 0)
	f("[ID 800047 auth.info] "+line, 1)
	f("[ID 800047", 0)
	f("   ", 0)
}

func TestSession(t *testing.T) {
	s, errs := New([]Config{{Service: value.String{S: "mta"}, Programs: []value.String{{S: "mta"}}, Session: value.String{S: "<id>"},
		Rules: []Rule{
			{Failure: value.String{S: "<id>: login of <user> failed, <addr>"}, Once: value.Bool{B: true}, Every: value.Duration{Duration: time.Minute}, Weight: value.Int{N: 3}},
			{Regex: value.String{S: `(?P<id>[A-Z0-9]+): (?P<attempts>[0-9]+) logins failed, (?P<addr>\S+)`}, Kind: value.String{S: "abuse"}, Name: value.String{S: "sum"}},
		}}})
	if errs != nil {
		t.Fatal(errs)
	}
	f := func(text, want string) {
		t.Helper()
		var e event.Event
		if !s.Match(&event.Message{Program: []byte("mta"), Text: []byte(text), PID: []byte("1")}, &e) {
			t.Errorf("%q: got no event", text)
			return
		}
		if got := fmt.Sprintf("%s %s %s %d %s %v %v", e.Session, e.Rule.Name, e.Addr, e.Weight(), e.Rule.Kind, e.Rule.Once, e.Rule.Every); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	f("4F1A: login of x failed, 198.51.100.66", "4F1A <id>: login of <user> failed, <addr> 198.51.100.66 3 failure true 1m0s")
	f("4F1A: 7 logins failed, 2001:db8::66", "4F1A sum 2001:db8::66 7 abuse false 0s")
}

// A sample that says something else is found, whatever is wrong with it.
func TestCheck(t *testing.T) {
	f := func(x Sample, want int) {
		t.Helper()
		c := Config{Service: value.String{S: "x"}, Programs: []value.String{{S: "x"}}, Samples: []Sample{x},
			Rules: []Rule{{Failure: value.String{S: "<user> from <addr>"}}}}
		s, errs := New([]Config{c})
		if errs != nil {
			t.Fatal(errs)
		}
		if got := c.Check(s); len(got) != want {
			t.Errorf("sample %+v: got %v, want %d errors", x, got, want)
		}
	}
	str := func(s string) value.String { return value.String{S: s} }
	f(Sample{Line: str("a from 192.0.2.1"), Kind: str("failure"), Addr: str("192.0.2.1"), User: str("a")}, 0)
	f(Sample{Line: str("a from b.example"), Kind: str("failure"), Name: str("b.example")}, 0)
	f(Sample{Line: str("a"), Kind: str("none")}, 0)
	f(Sample{Line: str("a"), Kind: str("failure")}, 1)
	f(Sample{Line: str("a from 192.0.2.1"), Kind: str("none")}, 1)
	f(Sample{Line: str("a from 192.0.2.1"), Kind: str("probe"), Addr: str("192.0.2.1")}, 1)
	f(Sample{Line: str("a from 192.0.2.1"), Kind: str("failure")}, 1)
	f(Sample{Line: str("a from 192.0.2.1"), Kind: str("failure"), Addr: str("192.0.2.2"), User: str("b"), Count: value.Int{N: 2}}, 3)
	f(Sample{Line: str("a from b.example"), Kind: str("failure")}, 1)
	f(Sample{Line: str("a from 192.0.2.1"), Kind: str("nothing")}, 1)
}

// Several goroutines share one set.
func TestParallel(t *testing.T) {
	s := compiled(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 50 {
				b := batch(&event.Sender{}, mixed...)
				s.Process(b)
				if len(b.Events) != mixedEvents || b.Events[0].Addr != netip.MustParseAddr("198.51.100.66") {
					t.Errorf("events: got %d, want %d", len(b.Events), mixedEvents)
				}
			}
		})
	}
	wait.Wait()
}
