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
	child = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1, Once: true, Apart: true}
	fault = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1, Apart: true}
	echo  = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1, Apart: true}
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

// For keyboard-interactive sshd (7) has PAM asked by a child with a pid of its own for each attempt (c, d, e). The
// child's line comes first, then sshd's "error: PAM", then "Failed keyboard-interactive/pam": of an unknown user each
// time, of a known one from half of the allowed attempts on.
func TestAttemptsThatSeveralProcessesReport(t *testing.T) {
	f := func(name string, want int, lines ...line) {
		t.Helper()
		if got := total(lines...); got != want {
			t.Errorf("session: %s: %d failures, want %d", name, got, want)
		}
	}
	l := func(r *event.Rule, session string) line { return line{rule: r, session: session} }
	end := l(last, "7")
	f("one answer", 1, l(child, "c"), l(fault, "7"), end)
	f("three answers", 3, l(child, "c"), l(fault, "7"), l(child, "d"), l(fault, "7"), l(child, "e"), l(fault, "7"), l(echo, "7"), end)
	f("an unknown user's one", 1, l(once, "7"), l(child, "c"), l(fault, "7"), l(echo, "7"), end)
	f("an unknown user's three", 3, l(once, "7"), l(child, "c"), l(fault, "7"), l(echo, "7"),
		l(child, "d"), l(fault, "7"), l(echo, "7"), l(child, "e"), l(fault, "7"), l(echo, "7"), end)
	f("an answer, then passwords", 3, l(child, "c"), l(fault, "7"), l(child, "7"), l(each, "7"), l(each, "7"), end)
	f("answers a minute apart", 2, l(child, "c"), l(fault, "7"), line{rule: child, session: "d", at: time.Minute}, line{rule: fault, session: "7", at: time.Minute},
		line{rule: last, session: "7", at: time.Minute})
	f("two at once", 2, l(child, "c"), l(child, "d"), l(fault, "7"), l(fault, "8"), end, l(last, "8"))
	f("two at once, one of them a password", 2, l(child, "c"), l(child, "8"), l(each, "8"), l(fault, "7"), end, l(last, "8"))
	f("the other's child was faster", 2, l(child, "8"), l(fault, "7"), l(each, "8"), end, l(last, "8"))
	f("nobody but PAM speaks", 3, l(child, "c"), l(child, "d"), l(child, "e"))
	f("PAM, and the end of the session", 1, l(child, "c"), end)
	f("no error line", 3, l(once, "7"), l(child, "c"), l(echo, "7"), l(child, "d"), l(echo, "7"), l(child, "e"), l(echo, "7"), end)
	f("two connections", 2, l(child, "7"), l(each, "7"), end, l(child, "8"), l(each, "8"), l(last, "8"))
	f("two senders", 2, l(child, "c"), line{rule: fault, session: "7", from: there})
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
