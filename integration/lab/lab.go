// Package lab builds small networks of hosts for tests: real daemons and real attackers, without containers and without
// systemd, in unnamed namespaces that die with the test.
//
//	l := lab.Up(t, lab.Srv, lab.Atk)
//	srv, atk := l.Host("srv"), l.Host("atk")
//	srv.Rsyslog(lab.Snippet(t, "127.0.0.1"))
//	srv.SSHD()
//	d := srv.Rapsheet(lab.Build(t), "mode: enforce\n")
//	got := atk.Guess(t.Context(), lab.Atk4, lab.Srv4, "alice", "wrong", 8)
//
// A host has network, mount, UTS, IPC and PID namespaces of its own; /etc, /var, /home and /root are overlays whose
// changes vanish with it; /run and /dev (with /dev/log) are private; /usr and /tmp are the machine's. Nothing is ever
// changed in the machine's own network namespace, mount table, /etc or services.
package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed hostinit.sh
var hostinit string

// hostNamespaces are what a host has of its own.
const hostNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID

// A Lab is a set of hosts on one network. Its methods, and those of its hosts, end the test when the lab itself fails;
// they belong to the test's goroutine, but for those that say otherwise.
type Lab struct {
	tb     testing.TB
	dir    string
	keeper *keeper
	lan    *Host // holds the bridge, nothing else
	hosts  []*Host
	down   sync.Once

	mu      sync.Mutex
	closers []io.Closer // sockets of this process in a host's network: they would keep it alive
	closed  bool
}

// Up starts the hosts and joins them by a bridge, in well under a second. The lab goes down when the test ends; then
// what the hosts' processes said is logged if the test failed, and whatever outlives the lab fails the test.
//
// Where a lab is impossible (not root, a program is missing, namespaces are forbidden) the test is skipped, or fails
// if RAPSHEET_NO_SKIP=1.
func Up(tb testing.TB, specs ...Spec) *Lab {
	tb.Helper()
	NeedRoot(tb)
	Need(tb, "bash", "mount", "ip", "sleep")
	l := &Lab{tb: tb, dir: tb.TempDir(), keeper: newKeeper()}
	tb.Cleanup(l.Down)

	lan, err := l.start("lan", unix.CLONE_NEWNET, "exec 3>&-; exec sleep infinity")
	l.lan = lan
	for i := 0; err == nil && i < len(specs); i++ {
		var h *Host
		h, err = l.start(specs[i].Name, hostNamespaces, hostinit)
		if h != nil {
			h.spec = specs[i]
			l.hosts = append(l.hosts, h)
		}
	}
	if errors.Is(err, syscall.EPERM) {
		Skip(tb, "lab: namespaces are forbidden here: "+err.Error())
	}
	for i := 0; err == nil && i < len(l.hosts); i++ {
		err = l.hosts[i].ready()
	}
	if err == nil {
		err = l.wire()
	}
	if err != nil {
		tb.Fatalf("lab: up: %v", err)
	}
	return l
}

// Host returns the host of that name, which must be one that Up was given.
func (l *Lab) Host(name string) *Host {
	l.tb.Helper()
	for _, h := range l.hosts {
		if h.Name == name {
			return h
		}
	}
	l.tb.Fatalf("lab: no host %s in this lab", name)
	return nil
}

// start starts the first process of a host. It is killed by the kernel when this process dies, however that happens,
// and with it, being pid 1 of its namespace, everything in the host.
func (l *Lab) start(name string, flags uintptr, script string) (*Host, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	h := &Host{Name: name, lab: l, up: r}
	work := filepath.Join(l.dir, name)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	h.init = exec.Command(path("bash"), "-c", script, name, name, work)
	h.init.Env = environ
	h.init.Dir = "/"
	h.init.ExtraFiles = []*os.File{w} // 3: the script says ready there
	h.init.Stdout, h.init.Stderr = &h.out, &h.out
	h.init.WaitDelay = time.Second
	h.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if err := l.keeper.do(h.init.Start); err != nil {
		r.Close()
		return nil, fmt.Errorf("start host %s: %w", name, err)
	}
	h.Pid = h.init.Process.Pid
	h.namespaces = namespaces(fmt.Sprintf("/proc/%d/ns", h.Pid), flags)
	return h, nil
}

// ready waits until the host's mounts stand.
func (h *Host) ready() error {
	defer h.up.Close()
	h.up.SetReadDeadline(time.Now().Add(patience))
	said, err := io.ReadAll(h.up)
	if err != nil || strings.TrimSpace(string(said)) != "ready" {
		return fmt.Errorf("host %s did not come up: %v: %s", h.Name, err, h.out.Bytes())
	}
	return nil
}

// Down ends the lab; the test's end does it too. It may be called more than once.
func (l *Lab) Down() { l.down.Do(l.takeDown) }

func (l *Lab) takeDown() {
	if l.tb.Failed() {
		l.logOutputs()
	}
	l.mu.Lock()
	for _, c := range l.closers {
		c.Close()
	}
	l.closed = true
	l.mu.Unlock()
	all := l.hosts
	if l.lan != nil {
		l.lan.up.Close()
		all = append(all, l.lan)
	}
	for _, h := range all {
		h.init.Process.Kill()
	}
	for _, h := range all {
		h.waitProcesses()
		h.init.Wait()
	}
	l.keeper.stop()
	if !poll(func() bool { return len(l.left()) == 0 }) {
		l.tb.Errorf("lab: left behind: %s", strings.Join(l.left(), ", "))
	}
}

func (l *Lab) logOutputs() {
	for _, h := range l.hosts {
		for _, p := range h.processes {
			l.tb.Logf("%s: %s:\n%s", h.Name, p, p.out.Bytes())
		}
		for _, name := range h.logs {
			if b, err := h.ReadFile(name); err == nil {
				l.tb.Logf("%s: %s:\n%s", h.Name, name, tail(b, outputMax))
			}
		}
	}
}

// keep has c closed before the hosts die.
func (l *Lab) keep(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return
	}
	l.closers = append(l.closers, c)
}

// left names the processes, and threads of this one, that are in a namespace of the lab.
func (l *Lab) left() []string {
	ours := map[string]bool{}
	for _, h := range append([]*Host{l.lan}, l.hosts...) {
		if h != nil {
			for _, n := range h.namespaces {
				ours[n] = true
			}
		}
	}
	var left []string
	found, _ := filepath.Glob("/proc/[0-9]*/ns")
	threads, _ := filepath.Glob("/proc/self/task/[0-9]*/ns")
	for _, dir := range append(found, threads...) {
		for _, n := range namespaces(dir, hostNamespaces) {
			if ours[n] {
				comm, _ := os.ReadFile(filepath.Join(filepath.Dir(dir), "comm"))
				left = append(left, fmt.Sprintf("%s in %s of %s", strings.TrimSpace(string(comm)), n, filepath.Dir(dir)))
			}
		}
	}
	return left
}
