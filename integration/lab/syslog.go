package lab

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "embed"
)

// As Debian's own: the snippet is a file in rsyslog.d. auth.log is there for whoever looks at a failed story.
const rsyslogConf = `global(workDirectory="/var/spool/rsyslog")
module(load="imuxsock" SysSock.Name="/dev/log")
auth,authpriv.* /var/log/auth.log
syslog.* /var/log/rsyslogd.log
include(file="/etc/rsyslog.d/*.conf" mode="optional")
`

// Rsyslog starts a real rsyslogd that serves the host's /dev/log, with conf as the only file in /etc/rsyslog.d.
func (h *Host) Rsyslog(conf string) *Process {
	h.tb().Helper()
	Need(h.tb(), "rsyslogd")
	h.Do(func() error { return os.RemoveAll("/etc/rsyslog.d") })
	h.WriteFile("/etc/rsyslog.conf", rsyslogConf)
	h.WriteFile("/etc/rsyslog.d/lab.conf", conf)
	h.Do(func() error { return os.MkdirAll("/var/spool/rsyslog", 0o700) })
	h.MustRun("rsyslogd", "-N1", "-f", "/etc/rsyslog.conf")
	h.logs = []string{"/var/log/auth.log", "/var/log/rsyslogd.log"}
	h.Do(func() error { return os.Remove("/dev/log") }) // of an rsyslogd that was killed
	p := h.Start("rsyslogd", "-n", "-f", "/etc/rsyslog.conf", "-i", "/run/rsyslogd.pid")
	h.wait(p, "/dev/log", func() bool { return h.Exists("/dev/log") })
	return p
}

// Snippet is the project's rsyslog snippet, which forwards to rapsheet by TCP, with another target host.
func Snippet(tb testing.TB, target string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(Root(tb), "configs/rsyslog/rapsheet.conf"))
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	const local = `target="127.0.0.1"`
	if !strings.Contains(string(b), local) {
		tb.Fatalf("lab: the rsyslog snippet has no %s", local)
	}
	return strings.ReplaceAll(string(b), local, fmt.Sprintf("target=%q", target))
}

// A Line is one message as a program hands it to syslog(3).
type Line struct {
	Priority int    // facility times 8 plus severity: 38 is auth.info
	Tag      string // sshd[77]
	Text     string
}

// String is the message as syslog(3) writes it to /dev/log, but for its old time stamp: rsyslogd puts its own.
func (l Line) String() string {
	return fmt.Sprintf("<%d>%s %s: %s", l.Priority, time.Unix(0, 0).UTC().Format(time.Stamp), l.Tag, l.Text)
}

// SSH is sshd's line for a wrong password.
func SSH(user, addr string) Line {
	return Line{38, "sshd[77]", fmt.Sprintf("Failed password for %s from %s port 4242 ssh2", user, addr)}
}

// Log sends messages to the host's /dev/log, as root, one after the other.
func (h *Host) Log(lines ...Line) {
	h.tb().Helper()
	err := h.Do(func() error {
		c, err := net.Dial("unixgram", "/dev/log")
		if err != nil {
			return err
		}
		defer c.Close()
		for _, l := range lines {
			if _, err := c.Write([]byte(l.String())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.tb().Fatalf("lab: %s: log: %v", h.Name, err)
	}
}

//go:embed wp.log
var wpLog string

// WordPress is what a real WordPress 6.1 with a failed-login logger wrote while it was attacked by 198.51.100.66 and
// 2001:db8::70: 13 failures, 2 probes, 1 login. Two of its users bear hostile names. See wp.log.
func WordPress() []Line {
	var lines []Line
	for _, s := range strings.Split(strings.TrimSpace(wpLog), "\n") {
		var l Line
		var month, day, clock, host string
		head, text, _ := strings.Cut(s, "]: ")
		fmt.Sscanf(head, "<%d>%s %s %s %s %s", &l.Priority, &month, &day, &clock, &host, &l.Tag)
		l.Tag, l.Text = l.Tag+"]", text
		lines = append(lines, l)
	}
	return lines
}

// From returns the lines with the attacker's address replaced.
func From(lines []Line, old, addr string) []Line {
	moved := make([]Line, len(lines))
	for i, l := range lines {
		if head, ok := strings.CutSuffix(l.Text, " from "+old); ok {
			l.Text = head + " from " + addr
		}
		moved[i] = l
	}
	return moved
}
