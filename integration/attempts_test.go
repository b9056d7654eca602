package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// sshd writes up to five lines about one wrong password and says nothing of a wrong key. Whatever the client tries, and
// whether the account exists, one guess is one failure.
func TestOneGuessIsOneFailure(t *testing.T) {
	t.Parallel()
	lab.Need(t, "rsyslogd", "sshd", "ssh", "ssh-keygen")
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(lab.Build(t), "jails: {ssh: {tiers: [{maxretry: 1000, findtime: 1d, bantime: 10m}]}}\n")
	srv.Rsyslog(lab.Snippet(t, "127.0.0.1"))
	sshd := srv.SSHD()

	atk.WriteFile("/etc/wrong", "#!/bin/sh\necho wrong\n")
	atk.MustRun("chmod", "755", "/etc/wrong")
	atk.MustRun("sh", "-c", "for n in 1 2 3; do ssh-keygen -q -t ed25519 -N '' -f /etc/key$n; done")
	ssh := func(from, to, user string, options ...string) {
		args := []string{"SSH_ASKPASS=/etc/wrong", "SSH_ASKPASS_REQUIRE=force", "ssh", "-F", "none", "-b", from, "-l", user, "-o", "ConnectTimeout=10",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes"}
		if out, err := atk.Run(t.Context(), "env", slices.Concat(args, options, []string{to, "true"})...); err == nil {
			t.Errorf("ssh %v from %s as %s: got in, %q", options, from, user, out)
		}
	}
	parallel := 1 // clients at once
	// f tries, and then waits for a mark that rsyslogd takes after all that sshd's children had to say.
	marks := uint32(0)
	f := func(what, from, user string, want uint32, options ...string) {
		t.Helper()
		to, before := lab.Srv4, sheetOf(t, d, from)
		if strings.Contains(from, ":") {
			to = lab.Srv6
		}
		var wg sync.WaitGroup
		for range parallel {
			wg.Go(func() { ssh(from, to, user, options...) })
		}
		wg.Wait()
		lab.Wait(t, "the end of sshd's children", func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", sshd.Pid()))
			return err == nil && len(b) == 0
		})
		marks++
		srv.Log(lab.Line{Priority: 38, Tag: fmt.Sprintf("sshd[%d]", 100000+marks), Text: "Failed password for root from 203.0.113.9 port 4242 ssh2"})
		lab.Wait(t, "the mark", func() bool {
			s := sheetOf(t, d, "203.0.113.9")
			return s.sum("ssh", 1000) == marks
		})
		after := sheetOf(t, d, from)
		got := after.sum("ssh", 1000) - before.sum("ssh", 1000)
		t.Logf("%-13s as %-8s by %-44s %d failures", from, user, what, got)
		if want *= uint32(parallel); got != want {
			t.Errorf("%s as %s by %s: got %d failures, want %d", from, user, what, got, want)
			for _, o := range after.Offenders {
				for _, x := range o.Lines {
					t.Logf("  %s: %s", x.Rule, x.Line)
				}
			}
		}
	}
	passwords := func(method string, n int) []string {
		return []string{"-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=" + method, "-o", fmt.Sprintf("NumberOfPasswordPrompts=%d", n)}
	}
	keys := func(n int) []string {
		options := []string{"-o", "PreferredAuthentications=publickey"}
		for i := range n {
			options = append(options, "-i", fmt.Sprintf("/etc/key%d", i+1))
		}
		return options
	}
	const unknown = "nosuch"
	for n := 1; n <= 6; n++ {
		f(fmt.Sprintf("%d passwords", n), lab.Atk4, "alice", uint32(n), passwords("password", n)...)
		f(fmt.Sprintf("%d passwords", n), lab.Atk6, unknown, uint32(n), passwords("password", n)...)
	}
	for _, n := range []int{1, 3} {
		f(fmt.Sprintf("%d passwords", n), lab.Routed6, "alice", uint32(n), passwords("password", n)...)
		f(fmt.Sprintf("%d passwords", n), lab.Near4, unknown, uint32(n), passwords("password", n)...)
		f(fmt.Sprintf("%d answers", n), lab.Near4, "alice", uint32(n), passwords("keyboard-interactive", n)...)
		f(fmt.Sprintf("%d answers", n), lab.Near6, unknown, uint32(n), passwords("keyboard-interactive", n)...)
	}
	both := "keyboard-interactive,password" // as clients do that were told nothing
	f("2 answers, then 2 passwords", lab.Near4, "alice", 4, passwords(both, 2)...)
	f("2 answers, then 2 passwords", lab.Near6, unknown, 4, passwords(both, 2)...)
	f("3 answers, then 3 passwords", lab.Near4, "alice", 6, passwords(both, 3)...)
	f("3 answers, then 3 passwords", lab.Near6, unknown, 6, passwords(both, 3)...)
	parallel = 4
	f("2 answers, then 2 passwords, 4 at once", lab.Near4, "alice", 4, passwords(both, 2)...)
	f("2 answers, then 2 passwords, 4 at once", lab.Near6, unknown, 4, passwords(both, 2)...)
	parallel = 1

	// Keys alone: a connection without a fitting key is one guess, however many keys it offers.
	sshd.Stop()
	sshd = srv.SSHD("PasswordAuthentication no", "KbdInteractiveAuthentication no")
	for _, n := range []int{1, 3} {
		f(fmt.Sprintf("%d keys", n), "198.51.100.68", "alice", 1, keys(n)...)
		f(fmt.Sprintf("%d keys", n), "198.51.100.68", unknown, 1, keys(n)...)
		f(fmt.Sprintf("%d keys", n), "2001:db8::68", "alice", 1, keys(n)...)
		f(fmt.Sprintf("%d keys", n), "2001:db8::68", unknown, 1, keys(n)...)
	}
	// Who is asked for a key and has none has still tried an account.
	f("a password, where only keys are taken", lab.Atk4, "alice", 1, passwords("password", 1)...)
}
