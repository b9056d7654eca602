package integration

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// A second host forwards its messages: who attacks it is banned here, and only here. rapsheet says so wherever it names
// the ban, and never bans the host that reports.
func TestSecondHost(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "rsyslogd", "sshd", "ssh", "sshpass")
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Web2, lab.Atk)
	srv, web2, atk := l.Host("srv"), l.Host("web2"), l.Host("atk")
	d := srv.Rapsheet(bin, `listen:
  - unix: /run/rapsheet/log
  - {tcp: "198.51.100.1:5514", senders: [198.51.100.2], name: web2}
`)
	web2.Rsyslog(lab.Snippet(t, lab.Srv4))
	web2.SSHD()
	srv.Echo(22)

	if got := atk.Guess(t.Context(), lab.Atk4, lab.Web4, "alice", "wrong", 7); got.Denied != 7 {
		t.Fatalf("guesses at web2: got %s", got)
	}
	b := waitBan(t, d, "ssh", lab.Atk4+"/32")
	lasts(t, b, 10*time.Minute)
	if b.Sender != lab.Web4 {
		t.Errorf("sender of the ban: got %q, want %q", b.Sender, lab.Web4)
	}
	passes(t, atk, lab.Near4, 22, true)
	passes(t, atk, lab.Atk4, 22, false)
	if got := atk.Guess(t.Context(), lab.Atk4, lab.Web4, "alice", "wrong", 1); got.Denied != 1 {
		t.Errorf("web2 has no rapsheet of its own, and the attacker: %s", got)
	}

	says := func(want string, args ...string) {
		t.Helper()
		if out := string(d.MustCLI(args...)); !strings.Contains(out, want) {
			t.Errorf("rapsheet %s: no %q in:\n%s", strings.Join(args, " "), want, out)
		}
	}
	says("enforced here, NOT on 198.51.100.2", "show", lab.Atk4)
	says("web2 (198.51.100.2) sshd: pam_unix(sshd:auth): authentication failure", "show", lab.Atk4)
	says("NOT enforced on 198.51.100.2", "list")
	says("bans are enforced here, NOT on 198.51.100.2", "status")
	if got := sheetOf(t, d, lab.Atk4).NotProtected; !slices.Equal(got, []string{lab.Web4}) {
		t.Errorf("show: not protected: got %v", got)
	}
	if got := status(d).NotProtected; !slices.Equal(got, []string{lab.Web4}) {
		t.Errorf("status: not protected: got %v", got)
	}

	// Whoever can make web2 log something would like to have it cut off.
	web2.Log(slices.Repeat([]lab.Line{lab.SSH("root", lab.Web4), lab.SSH("root", lab.Srv4), lab.SSH("root", "127.0.0.1")}, 30)...)
	web2.Log(slices.Repeat([]lab.Line{lab.SSH("root", "203.0.113.9")}, 7)...) // comes last
	waitBan(t, d, "ssh", "203.0.113.9/32")
	if got := bans(t, d); len(got) != 2 {
		t.Errorf("bans: got %v, want two", got)
	}
	dropped := status(d).NeverBanned.Dropped
	if dropped["sender"] != 30 || dropped["own"] != 30 || dropped["reserved"] != 30 {
		t.Errorf("never banned: got %v, want 30 of each", dropped)
	}
	fails(t, d.CLI, 1, "198.51.100.2/32 is never banned: sender of messages", "ban", lab.Web4)
	fails(t, d.CLI, 1, "198.51.100.1/32 is never banned: own address", "ban", lab.Srv4)

	// One line in the log for the host, not one for each ban.
	if got := bytes.Count(d.Output(), []byte("do not protect that sender")); got != 1 {
		t.Errorf("warnings of a host that is not protected: got %d, want 1", got)
	}
}
