package session_test

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/session"
)

var (
	start = time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	each  = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1}
	once  = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1, Once: true}
	last  = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1, Once: true, End: true}
	paced = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1, Every: time.Minute}
	here  = &event.Sender{}
	there = &event.Sender{Addr: netip.MustParseAddr("192.0.2.10")}
)

// A line is one event: of a rule, in a session, from a sender, so long after the start.
type line struct {
	rule    *event.Rule
	session string
	from    *event.Sender
	at      time.Duration
	count   uint16
}

// total runs the lines through a table, a batch each, and adds up the attempts that are left.
func total(lines ...line) int {
	t := session.New()
	n := 0
	for _, l := range lines {
		b := event.NewBatch(1, 16)
		b.Now = start.Add(l.at)
		if l.from == nil {
			l.from = here
		}
		b.Add([]byte("x"), l.from, false)
		b.Messages[0].Host = []byte("srv")
		b.Events = append(b.Events, event.Event{Rule: l.rule, Session: []byte(l.session), Time: b.Now,
			Count: max(l.count, 1), Addr: netip.MustParseAddr("198.51.100.66")})
		t.Process(b)
		for _, e := range b.Events {
			n += int(e.Count)
		}
	}
	return n
}

func TestOneAttemptIsOneFailure(t *testing.T) {
	f := func(name string, want int, lines ...line) {
		t.Helper()
		if got := total(lines...); got != want {
			t.Errorf("session: %s: %d failures, want %d", name, got, want)
		}
	}
	f("one wrong password", 1, line{rule: once, session: "7"}, line{rule: each, session: "7"}, line{rule: last, session: "7"})
	f("six tries of an unknown user", 6, line{rule: once, session: "7"}, line{rule: once, session: "7"}, line{rule: each, session: "7"},
		line{rule: each, session: "7"}, line{rule: each, session: "7"}, line{rule: each, session: "7"}, line{rule: each, session: "7"},
		line{rule: each, session: "7"}, line{rule: once, session: "7"}, line{rule: last, session: "7"})
	f("keys only", 1, line{rule: last, session: "7"})
	f("unknown user, keys only", 1, line{rule: once, session: "7"}, line{rule: last, session: "7"})
	f("repeated 5 times after PAM", 6, line{rule: once, session: "7"}, line{rule: each, session: "7"}, line{rule: each, session: "7", count: 5})
	f("repeat takes the credit", 4, line{rule: once, session: "7"}, line{rule: each, session: "7", count: 4})
	f("two processes", 2, line{rule: last, session: "7"}, line{rule: last, session: "8"})
	f("two senders", 2, line{rule: once, session: "7"}, line{rule: once, session: "7", from: there})
	f("a pid used again", 2, line{rule: once, session: "7"}, line{rule: once, session: "7", at: 6 * time.Minute})
	f("a pid used again after the end", 2, line{rule: last, session: "7"}, line{rule: last, session: "7", at: time.Second})
	f("no session", 2, line{rule: once}, line{rule: once})
	f("penalties, one a minute", 2, line{rule: paced}, line{rule: paced, at: 59 * time.Second}, line{rule: paced, at: 60 * time.Second})
}

// A flood of sessions stays inside the capacity, and the newest still join.
func TestBounded(t *testing.T) {
	tab := session.New()
	send := func(id string) int {
		b := event.NewBatch(1, 16)
		b.Now = start
		b.Add([]byte("x"), here, false)
		b.Events = append(b.Events, event.Event{Rule: once, Session: []byte(id), Time: start, Count: 1})
		tab.Process(b)
		return len(b.Events)
	}
	for i := range 3 * session.Capacity {
		if send(strconv.Itoa(i)) != 1 {
			t.Fatalf("session: first line of session %d was dropped", i)
		}
	}
	if got := tab.Len(); got > session.Capacity {
		t.Errorf("session: %d sessions kept, limit %d", got, session.Capacity)
	}
	if send(strconv.Itoa(3*session.Capacity-1)) != 0 {
		t.Errorf("session: the newest session was forgotten")
	}
}
