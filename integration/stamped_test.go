package integration

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// A stamped line is a message of sshd's that says when it happened: RFC 5424, as rsyslogd forwards it.
type stamped struct {
	at   time.Time
	text string
}

var pids atomic.Int32

// String is the message without framing. Each has a process id of its own: one connection, one attempt.
func (l stamped) String() string {
	return fmt.Sprintf("<38>1 %s srv sshd %d - - %s", l.at.Format("2006-01-02T15:04:05.000000Z07:00"), pids.Add(1), l.text)
}

// wrong is a wrong password.
func wrong(user, addr string, at time.Time) stamped {
	return stamped{at, "Failed password for " + user + " from " + addr + " port 4242 ssh2"}
}

// right is the right one.
func right(user, addr string, at time.Time) stamped {
	return stamped{at, "Accepted password for " + user + " from " + addr + " port 4242 ssh2"}
}

// spread is n wrong passwords, the first at a time and the others each a step later.
func spread(addr string, n int, at time.Time, step time.Duration) []stamped {
	lines := make([]stamped, n)
	for i := range lines {
		lines[i] = wrong("root", addr, at.Add(time.Duration(i)*step))
	}
	return lines
}

// sendTCP sends lines to the default TCP listener, from the host itself and as root, in octet-counted frames. It closes
// when they have been read: of a connection that is closed earlier nobody can tell whose it was.
func sendTCP(t *testing.T, h *lab.Host, lines []stamped) {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		s := l.String()
		fmt.Fprintf(&b, "%d %s", len(s), s)
	}
	err := h.Do(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:5514")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte(b.String())); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, c)
		return err
	})
	if err != nil {
		t.Fatalf("send: %v", err)
	}
}

// sendUnix sends lines to the default unix socket, as root, a datagram each.
func sendUnix(t *testing.T, h *lab.Host, lines []stamped) {
	t.Helper()
	err := h.Do(func() error {
		c, err := net.Dial("unixgram", "/run/rapsheet/log")
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
		t.Fatalf("send: %v", err)
	}
}
