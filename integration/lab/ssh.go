package lab

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// Accounts are who may log in by sshd, with their passwords.
var Accounts = map[string]string{"alice": "correct-horse", "bob": "hunter2"}

const sshdConfig = `ListenAddress 0.0.0.0
ListenAddress ::
HostKey /etc/ssh/lab_key
PidFile /run/sshd.pid
UsePAM yes
UseDNS no
PasswordAuthentication yes
PrintMotd no
MaxStartups 200:30:400
`

// SSHD starts a real sshd on port 22 of all addresses, with the Accounts and PAM as the machine has it, but without
// PAM's delay of 2 to 3 seconds after a failure. It logs to /dev/log. Options are lines of sshd_config(5) and win over
// the lab's own.
func (h *Host) SSHD(options ...string) *Process {
	h.tb().Helper()
	Need(h.tb(), "sshd", "ssh-keygen", "useradd", "chpasswd")
	for user, password := range Accounts {
		if _, err := h.Run(context.Background(), "id", user); err != nil {
			h.MustRun("useradd", "-m", "-s", "/bin/sh", user)
		}
		h.MustRun("sh", "-c", `printf '%s:%s\n' "$1" "$2" | chpasswd -c SHA256`, "sh", user, password)
	}
	h.hurryPAM()
	if !h.Exists("/etc/ssh/lab_key") {
		h.MustRun("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/lab_key")
	}
	// sshd takes the first value of each keyword. From OpenSSH 9.8 on it drops guessers by itself.
	conf := strings.Join(append(options, ""), "\n") + sshdConfig
	h.WriteFile("/etc/ssh/lab.conf", conf+"PerSourcePenalties no\n")
	if _, err := h.Run(context.Background(), "sshd", "-t", "-f", "/etc/ssh/lab.conf"); err != nil {
		h.WriteFile("/etc/ssh/lab.conf", conf)
		h.MustRun("sshd", "-t", "-f", "/etc/ssh/lab.conf")
	}
	p := h.Start("sshd", "-D", "-f", "/etc/ssh/lab.conf")
	h.wait(p, "port 22", func() bool { return h.Listening(22) })
	return p
}

func (h *Host) hurryPAM() {
	h.tb().Helper()
	const name, stock, quick = "/etc/pam.d/common-auth", "pam_unix.so nullok", "pam_unix.so nullok nodelay"
	b, err := h.ReadFile(name)
	if err != nil || !bytes.Contains(b, []byte(stock)) {
		h.tb().Fatalf("lab: %s has no %q (%v): the lab knows Debian's PAM only", name, stock, err)
	}
	if !bytes.Contains(b, []byte(quick)) {
		h.WriteFile(name, strings.Replace(string(b), stock, quick, 1))
	}
}

// wait waits for a process to become useful, and ends the test when it ends instead.
func (h *Host) wait(p *Process, what string, f func() bool) {
	h.tb().Helper()
	if !poll(func() bool { return !p.Running() || f() }) || !p.Running() {
		h.tb().Fatalf("lab: %s: %s: no %s:\n%s", h.Name, p, what, p.Output())
	}
}

// Guesses is what became of a number of logins.
type Guesses struct {
	Denied   int    // a wrong password: the server asked for it and refused it
	Accepted int    // a right one
	Cut      int    // 1: no answer, and no guess after it was made
	Said     string // the client's last words
}

// String is for failure messages.
func (g Guesses) String() string {
	return fmt.Sprintf("%d denied, %d accepted, %d cut (%s)", g.Denied, g.Accepted, g.Cut, g.Said)
}

// Guess tries a password n times by the real ssh client, one connection each, from one of the host's addresses. It
// stops at the first connection that gets no answer within 2 seconds or is broken off.
func (h *Host) Guess(ctx context.Context, from, to, user, password string, n int) Guesses {
	h.tb().Helper()
	Need(h.tb(), "ssh", "sshpass")
	var g Guesses
	for i := 0; i < n && g.Cut == 0; i++ {
		switch err := h.login(ctx, from, to, user, password); {
		case err == nil:
			g.Accepted++
		case strings.Contains(err.Error(), "Permission denied"):
			g.Denied++
			g.Said = err.Error()
		default:
			g.Cut++
			g.Said = err.Error()
		}
	}
	return g
}

func (h *Host) login(ctx context.Context, from, to, user, password string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := h.Run(ctx, "sshpass", "-p", password, "ssh", "-F", "none", "-b", from, "-l", user,
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=2", "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password",
		"-o", "NumberOfPasswordPrompts=1", to, "true")
	return err
}

// Login logs in with the right password and reports how long it took: sshd must not be slowed by its log.
func (h *Host) Login(ctx context.Context, from, to, user string) (time.Duration, error) {
	h.tb().Helper()
	Need(h.tb(), "ssh", "sshpass")
	start := time.Now()
	err := h.login(ctx, from, to, user, Accounts[user])
	return time.Since(start), err
}
