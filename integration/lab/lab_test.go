package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// holdLab makes the test binary a process that brings a lab up and waits to be killed.
const holdLab = "RAPSHEET_LAB_HOLD"

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestHostsAreApart(t *testing.T) {
	l := Up(t, Srv, Atk)
	srv, atk := l.Host("srv"), l.Host("atk")

	f := func(h *Host, want string, name string, args ...string) {
		t.Helper()
		if got := strings.TrimSpace(string(h.MustRun(name, args...))); got != want {
			t.Errorf("%s: %s %v: got %q, want %q", h.Name, name, args, got, want)
		}
	}
	f(srv, "srv", "hostname")
	f(atk, "atk", "hostname")
	f(srv, "1", "sh", "-c", "exec ls -d /proc/[0-9]* | grep -cx /proc/1")
	f(atk, "65534", "sh", "-c", "setpriv --reuid=65534 --clear-groups id -u")

	for _, dir := range []string{"/etc", "/var", "/home", "/root", "/run", "/dev"} {
		name := filepath.Join(dir, "rapsheet-lab-test")
		srv.WriteFile(name, "private")
		if got, err := srv.ReadFile(name); string(got) != "private" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if atk.Exists(name) {
			t.Errorf("%s: the other host has it too", name)
		}
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s: the machine has it too", name)
			os.Remove(name)
		}
	}
	if srv.Exists("/dev/log") {
		t.Error("the host has the machine's /dev/log")
	}
	if got := len(l.left()); got < 3 {
		t.Errorf("processes in the lab: got %d, want at least the lan and two hosts", got)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), l.dir) {
		t.Errorf("the machine sees the lab's mounts (%v)", err)
	}
}

func TestRunReports(t *testing.T) {
	srv := Up(t, Srv).Host("srv")
	out, err := srv.Run(t.Context(), "sh", "-c", "echo out; echo trouble >&2; exit 7")
	if string(out) != "out\n" || err == nil || !strings.Contains(err.Error(), "exit status 7: trouble") {
		t.Errorf("run: got %q, %v", out, err)
	}
	out, err = srv.RunAs(t.Context(), 65534, "id", "-u")
	if string(out) != "65534\n" || err != nil {
		t.Errorf("run as: got %q, %v", out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = srv.Run(ctx, "sleep", "infinity"); err == nil {
		t.Error("run: a program outlived its context")
	}
	p := srv.Start("sh", "-c", "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.1; done")
	Wait(t, "hello", func() bool { return strings.Contains(string(p.Output()), "hello") })
	if err := p.Stop(); err == nil || err.Error() != "exit status 3" || p.Running() {
		t.Errorf("stop: got %v", err)
	}
	if got := string(p.Output()); got != "hello\nbye\n" {
		t.Errorf("output: got %q", got)
	}
}

func TestReaches(t *testing.T) {
	l := Up(t, Srv, Atk, Web2)
	srv, atk, web2 := l.Host("srv"), l.Host("atk"), l.Host("web2")
	echo := srv.Echo(7)

	f := func(from *Host, src, dst string, want bool) {
		t.Helper()
		udp := make(chan bool)
		go func() { udp <- from.ReachesUDP(src, dst, 7) }()
		if got := from.Reaches(src, dst, 7); got != want {
			t.Errorf("tcp %s to %s: got %v, want %v", src, dst, got, want)
		}
		if got := <-udp; got != want {
			t.Errorf("udp %s to %s: got %v, want %v", src, dst, got, want)
		}
	}
	f(atk, Atk4, Srv4, true)
	f(atk, Near4, Srv4, true)
	f(atk, Atk6, Srv6, true)
	f(atk, Near6, Srv6, true)
	f(atk, Routed6, Srv6, true)
	f(atk, Routed6Same, Srv6, true)
	f(atk, Routed6Next, Srv6, true)
	f(web2, Web4, Srv4, true)
	f(web2, Web6, Srv6, true)
	if got := echo.Seen(Routed6); got != 2 {
		t.Errorf("seen of %s: got %d, want 2", Routed6, got)
	}

	srv.MustRun("ip", "route", "add", "blackhole", Atk4)
	srv.MustRun("ip", "route", "add", "blackhole", "2001:db8:66::/64", "metric", "1")
	f(atk, Atk4, Srv4, false)
	f(atk, Near4, Srv4, true)
	f(atk, Routed6Same, Srv6, false)
	f(atk, Routed6Next, Srv6, true)
}

// A test that is killed leaves nothing: the kernel kills the hosts.
func TestDiesWithTheTest(t *testing.T) {
	if os.Getenv(holdLab) == "1" {
		l := Up(t, Srv)
		p := l.Host("srv").Start("sh", "-c", "setsid sleep 777 & sleep 778")
		fmt.Println("pids", l.Host("srv").Pid, l.lan.Pid, p.Pid())
		io.Copy(io.Discard, os.Stdin)
		t.Fatal("was to be killed")
	}
	NeedRoot(t)
	hold := exec.Command(os.Args[0], "-test.run=^TestDiesWithTheTest$")
	hold.Env = append(os.Environ(), holdLab+"=1", "TMPDIR="+t.TempDir())
	in, err := hold.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [3]int
	said, err := bufio.NewReader(out).ReadString('\n')
	if _, scan := fmt.Sscanf(said, "pids %d %d %d", &pids[0], &pids[1], &pids[2]); scan != nil {
		hold.Process.Kill()
		t.Fatalf("the holder said %q (%v)", said, err)
	}
	ns := namespaces(fmt.Sprintf("/proc/%d/ns", pids[0]), hostNamespaces)
	ns = append(ns, namespaces(fmt.Sprintf("/proc/%d/ns", pids[1]), unix.CLONE_NEWNET)...)
	if len(ns) != 6 {
		t.Errorf("namespaces: got %v", ns)
	}
	hold.Process.Signal(syscall.SIGKILL)
	hold.Wait()
	gone := &Lab{hosts: []*Host{{namespaces: ns}}}
	Wait(t, "the end of everything in the lab", func() bool { return len(gone.left()) == 0 })
}

func TestWordPressLines(t *testing.T) {
	lines := WordPress()
	if len(lines) != 16 {
		t.Fatalf("lines: got %d, want 16", len(lines))
	}
	want := Line{37, "wordpress(198.51.100.1)[135]", "Authentication failure for admin from 198.51.100.66"}
	if lines[0] != want {
		t.Errorf("first: got %v, want %v", lines[0], want)
	}
	if got := From(lines, Atk4, Near4)[5].Text; got != "Authentication attempt for unknown user admin from 192.0.2.99 from 198.51.100.67" {
		t.Errorf("moved: got %q", got)
	}
	if got := lines[15].String(); got != "<38>Jan  1 00:00:00 wordpress(198.51.100.1)[135]: Accepted password for admin from 198.51.100.66" {
		t.Errorf("string: got %q", got)
	}
}

// fake records what a test would have done.
type fake struct {
	testing.TB
	skipped, failed string
}

func (f *fake) Helper() {}

func (f *fake) Skip(args ...any) {
	f.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *fake) Fatal(args ...any) {
	f.failed = fmt.Sprint(args...)
	runtime.Goexit()
}

func TestNeed(t *testing.T) {
	f := func(noSkip string, skipped, failed string) {
		t.Helper()
		t.Setenv("RAPSHEET_NO_SKIP", noSkip)
		var tb fake
		done := make(chan struct{})
		go func() {
			defer close(done)
			Need(&tb, "sh", "no-such-program")
		}()
		<-done
		if tb.skipped != skipped || tb.failed != failed {
			t.Errorf("need: got %q and %q, want %q and %q", tb.skipped, tb.failed, skipped, failed)
		}
	}
	const why = "lab: no-such-program is not installed: apt-get install no-such-program"
	f("", why, "")
	f("1", "", why+" (and RAPSHEET_NO_SKIP=1)")
}

func TestPrivate(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if got := private(name); got != want {
			t.Errorf("private %s: got %v, want %v", name, got, want)
		}
	}
	f("/etc/rapsheet/rapsheet.yaml", true)
	f("/etc/../usr/bin/true", false)
	f("/tmp/x", false)
	f("/variable", false)
}
