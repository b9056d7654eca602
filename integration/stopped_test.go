package integration

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// rapsheet hangs while messages pour in, and rsyslogd's queue for it is full, on disk too. Programs that log are not
// delayed, nor is who logs in; and when it goes on, so does all else.
func TestStoppedUnderFlood(t *testing.T) {
	lab.NeedRoot(t)
	lab.Need(t, "rsyslogd", "sshd", "ssh", "sshpass", "logger")
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(bin, "")
	// Small buffers and little room on disk: the flood need not be large.
	srv.MustRun("sh", "-c", "echo 4096 8192 8192 >/proc/sys/net/ipv4/tcp_rmem; echo 4096 8192 8192 >/proc/sys/net/ipv4/tcp_wmem")
	const disk, room, less = 1 << 20, `queue.maxDiskSpace="200m"`, `queue.maxDiskSpace="1m"`
	snippet := lab.Snippet(t, "127.0.0.1")
	if !strings.Contains(snippet, room) {
		t.Fatalf("the snippet has no %s", room)
	}
	snippet = "main_queue(queue.size=\"1000\")\n" + strings.Replace(snippet, room, less, 1)
	rsyslog := srv.Rsyslog(snippet)
	srv.SSHD()
	srv.WriteFile("/run/hundred", strings.Repeat("nothing to see here\n", 100))

	measure := func() (logger, login time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := srv.Run(ctx, "logger", "-p", "auth.info", "-t", "sshd", "-f", "/run/hundred"); err != nil {
			t.Error(err)
		}
		logger = time.Since(start)
		login, err := atk.Login(ctx, lab.Near4, lab.Srv4, "alice")
		if err != nil {
			t.Errorf("login: %v", err)
		}
		return logger, login
	}
	loggerBefore, loginBefore := measure()

	d.Freeze()
	sent, stop := flood(t, srv)
	defer stop()
	spooled := func() (n int64) {
		_ = srv.Do(func() error {
			files, err := filepath.Glob("/var/spool/rsyslog/rapsheet.*")
			for _, f := range files {
				if st, err := os.Stat(f); err == nil {
					n += st.Size()
				}
			}
			return err
		})
		return n
	}
	lab.Wait(t, "rsyslogd's queue to be full", func() bool { return spooled() > disk*9/10 && sent() > 15000 })
	logger, login := measure()
	stop()
	t.Logf("100 messages by logger: %s, and %s while rapsheet hangs; a login: %s and %s", loggerBefore, logger, loginBefore, login)
	// Where messages wait for a queue that is full, each takes 2 seconds.
	if logger > loggerBefore+time.Second || login > loginBefore+1500*time.Millisecond {
		t.Errorf("while rapsheet hangs: logger takes %s, a login %s", logger, login)
	}

	d.Thaw()
	if got := atk.Guess(t.Context(), lab.Atk4, lab.Srv4, "alice", "wrong", 7); got.Denied < 6 {
		t.Errorf("guesses: %s", got)
	}
	waitBan(t, d, "ssh", lab.Atk4+"/32") // behind what was waiting
	tcp := status(d).at(t, "tcp 127.0.0.1:5514")
	t.Logf("sent meanwhile: %d, of which %d came through sockets and queue; refused %v", sent(), tcp.Received, tcp.Refused)
	if tcp.Received >= sent() {
		t.Error("nothing was lost: the queue was never full")
	}
	passes(t, atk, lab.Near4, 22, true)
	passes(t, atk, lab.Atk4, 22, false)
	if !rsyslog.Running() {
		t.Error("rsyslogd has ended")
	}
}

// flood has a program log without pause, 10,000 messages a second, until stop. Sent is how many it has got rid of.
func flood(t *testing.T, srv *lab.Host) (sent func() uint64, stop func()) {
	t.Helper()
	var c net.Conn
	if err := srv.Do(func() (err error) {
		c, err = net.Dial("unixgram", "/dev/log")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var n atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	line := []byte(lab.Line{Priority: 38, Tag: "flood", Text: strings.Repeat("x", 1000)}.String())
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for range 100 {
				if _, err := c.Write(line); err == nil {
					n.Add(1)
				}
			}
		}
	}()
	return n.Load, func() {
		cancel()
		c.Close() // a write may hang
		<-ended
	}
}
