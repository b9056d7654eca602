package integration

import (
	"bytes"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// What rapsheet is built on: a wrong password at a real sshd arrives by a real rsyslogd as an RFC 5424 message on a
// TCP port, from this host and from another one, and the lab leaves nothing behind.
func TestWrongPasswordsArrive(t *testing.T) {
	lab.NeedRoot(t)
	lab.Need(t, "rsyslogd", "sshd", "ssh", "sshpass")
	before := interfaces(t)

	l := lab.Up(t, lab.Srv, lab.Atk, lab.Web2)
	srv, atk, web2 := l.Host("srv"), l.Host("atk"), l.Host("web2")
	local := srv.Collect("127.0.0.1:5514")
	remote := srv.Collect(net.JoinHostPort(lab.Srv4, "5514"))
	srv.Rsyslog(lab.Snippet(t, "127.0.0.1"))
	web2.Rsyslog(lab.Snippet(t, lab.Srv4))
	srv.SSHD()

	guess := func(from, to, user, password string, want lab.Guesses) {
		t.Helper()
		got := atk.Guess(t.Context(), from, to, user, password, want.Denied+want.Accepted)
		if got.Denied != want.Denied || got.Accepted != want.Accepted {
			t.Errorf("guess from %s: got %s, want %s", from, got, want)
		}
	}
	guess(lab.Atk4, lab.Srv4, "alice", "wrong", lab.Guesses{Denied: 2})
	guess(lab.Atk6, lab.Srv6, "alice", "wrong", lab.Guesses{Denied: 1})
	guess(lab.Routed6, lab.Srv6, "nobody-here", "wrong", lab.Guesses{Denied: 1})
	guess(lab.Near4, lab.Srv4, "alice", "correct-horse", lab.Guesses{Accepted: 1})
	web2.Log(lab.WordPress()...)
	srv.Log(slices.Repeat([]lab.Line{lab.SSH("root", "203.0.113.9")}, 500)...)

	arrives := func(c *lab.Collector, text string) {
		t.Helper()
		lab.Wait(t, text, func() bool { return c.Contains(text) })
	}
	arrives(local, " Failed password for alice from 198.51.100.66 port ")
	arrives(local, " Failed password for alice from 2001:db8::66 port ")
	arrives(local, " Failed password for invalid user nobody-here from 2001:db8:66::1 port ")
	arrives(local, " Accepted password for alice from 198.51.100.67 port ")
	arrives(remote, " web2 wordpress(198.51.100.1) 135 - -  Accepted password for admin from 198.51.100.66\n")

	// Octet-counted RFC 5424, from the first byte on.
	if first, _, _ := bytes.Cut(local.Bytes(), []byte("\n")); !bytes.Contains(first, []byte(">1 2")) || first[0] < '0' || first[0] > '9' {
		t.Errorf("first message: got %q, want LENGTH <PRI>1 STAMP ...", first)
	}
	flood := []byte(" Failed password for root from 203.0.113.9 port ")
	lab.Wait(t, "500 messages at once", func() bool { return bytes.Count(local.Bytes(), flood) == 500 })
	if got := bytes.Count(remote.Bytes(), []byte(" wordpress(")); got != 16 {
		t.Errorf("messages of WordPress: got %d, want 16", got)
	}

	// The lab can tell a guess that was refused from one that got no answer.
	srv.MustRun("ip", "route", "add", "blackhole", lab.Atk4)
	if got := atk.Guess(t.Context(), lab.Atk4, lab.Srv4, "alice", "wrong", 3); got.Cut != 1 || got.Denied+got.Accepted != 0 {
		t.Errorf("guess without an answer: got %s", got)
	}

	l.Down() // fails the test if a process, or with it a namespace, outlives the lab
	lab.Wait(t, "the machine's interfaces to be as before", func() bool { return slices.Equal(interfaces(t), before) })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), t.Name()) {
		t.Errorf("mounts left behind (%v):\n%s", err, mounts)
	}
}

func interfaces(t *testing.T) []string {
	t.Helper()
	ifs, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range ifs {
		names = append(names, i.Name)
	}
	return names
}
