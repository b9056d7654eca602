package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// People mistype. Who fails seven times within ten minutes and gets it right once in between is nobody's attacker; who
// fails seven times and never gets it right is.
func TestRightPasswordTakesBackWrongOnes(t *testing.T) {
	t.Parallel()
	lab.Need(t, "rsyslogd", "sshd", "ssh", "sshpass")
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(lab.Build(t), "{}\n")
	srv.Rsyslog(lab.Snippet(t, "127.0.0.1"))
	srv.SSHD()

	// W is a wrong password of alice's, R the right one, B bob's right one. The attempts fill nine minutes.
	start := time.Now().Add(-9 * time.Minute)
	f := func(order, addr string, left uint32, banned bool) {
		t.Helper()
		var lines []stamped
		for i, c := range order {
			at := start.Add(time.Duration(i) * 9 * time.Minute / time.Duration(len(order)))
			switch c {
			case 'W':
				lines = append(lines, wrong("alice", addr, at))
			case 'R':
				lines = append(lines, right("alice", addr, at))
			case 'B':
				lines = append(lines, right("bob", addr, at))
			}
		}
		sendTCP(t, srv, lines)
		if banned {
			waitBan(t, d, "ssh", addr+"/32")
			return
		}
		lab.Wait(t, order, func() bool {
			s := sheetOf(t, d, addr)
			return s.sum("ssh", 7) == left && len(s.Offenders) == 1 && len(s.Offenders[0].Lines) == min(10, strings.Count(order, "W"))
		})
		if b, ok := bans(t, d)[addr+"/32"]; ok {
			t.Errorf("%s: got %+v, want no ban", order, b)
		}
	}
	f("WWWWWWRW", "203.0.113.1", 1, false)
	f("WWWRWWWW", "203.0.113.2", 4, false)
	f("WRWWWWWW", "203.0.113.3", 6, false)
	f("WWRWWRWWW", "203.0.113.4", 3, false)
	f("WWWWWWRWWWWWWRWWWWWWR", "203.0.113.5", 0, false)
	f("WWWWWWW", "203.0.113.6", 0, true)
	f("WWWWWWWR", "203.0.113.7", 0, true) // once banned he is banned
	f("RWWWWWWW", "203.0.113.8", 0, true) // what comes after counts
	f("WWWWWWBW", "203.0.113.9", 0, true) // who owns one account may guess no other's password

	// The same by real logins.
	guess := func(from, password string, n int, want lab.Guesses) {
		t.Helper()
		got := atk.Guess(t.Context(), from, lab.Srv4, "alice", password, n)
		if got.Denied != want.Denied || got.Accepted != want.Accepted || got.Cut != 0 {
			t.Errorf("%s tries %q: got %s, want %s", from, password, got, want)
		}
	}
	guess(lab.Near4, "wrong", 4, lab.Guesses{Denied: 4})
	guess(lab.Near4, lab.Accounts["alice"], 1, lab.Guesses{Accepted: 1})
	guess(lab.Near4, "wrong", 3, lab.Guesses{Denied: 3})
	guess(lab.Atk4, "wrong", 7, lab.Guesses{Denied: 7})
	waitBan(t, d, "ssh", lab.Atk4+"/32")
	lab.Wait(t, "the seven of "+lab.Near4, func() bool {
		s := sheetOf(t, d, lab.Near4)
		return s.sum("ssh", 7) == 3 && len(s.Offenders[0].Lines) == 7
	})
	if b, ok := bans(t, d)[lab.Near4+"/32"]; ok {
		t.Errorf("got %+v, want no ban", b)
	}
	if _, err := atk.Login(t.Context(), lab.Near4, lab.Srv4, "alice"); err != nil {
		t.Errorf("login after seven wrong passwords and a right one: %v", err)
	}
	passes(t, atk, lab.Atk4, 22, false)
}
