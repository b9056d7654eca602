package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
	"github.com/rapsheet/rapsheet/integration/netns"
)

// demoLimit is far beyond what the demo takes, and says only that it hangs.
const demoLimit = 2 * time.Minute

// The page as it must look, with figures in the places of figures. Every line stands for a check that was passed.
var demoPage = regexp.MustCompile(`^rapsheet demo: a private network, nothing on this host is touched

 1  receiver up, TCP and UDP, in its own network namespace +\d+\.\ds
 2  203\.0\.113\.7 guesses 7 ssh passwords       sshd\[\d+\]: Failed password\.\.\.
 3  7th failure -> ban 10m, in the kernel set after +\d+\.\dms
 4  packets from 203\.0\.113\.7  \(attacker\)      3 sent   0 arrived          ok
    packets from 203\.0\.113\.8  \(neighbour\)     3 sent   3 arrived          ok
 5  (2001:db8:7::1 guesses; whole 2001:db8:7::/64 banned, 8::1 passes      ok|IPv6 is off on this host: left out +-)
 6  a year of slow guessing, 21 failures      ban 1y                      ok
 7  wordpress: 35 failures in a year          ban 1y                      ok
 8  user "root from 192\.0\.2\.99" tried         192\.0\.2\.99 not banned       ok
 9  kill -9, restart: \d bans still there                                  ok
    packets from 203\.0\.113\.7  meanwhile       \d+ sent   0 arrived +ok

Proved (all 9|8 of 9) steps in \d+\.\ds\. The rap sheet of 203\.0\.113\.7:
  203\.0\.113\.7 +BANNED until (?s:.*)ssh: 7 failures within(?s:.*)Failed password for invalid user(?s:.*)

Next, on a server (?s:.*)
  sudo rapsheet arm .*
$`)

// demoCommand calls the demo as a user without any environment does. All its processes bear the name.
func demoCommand(ctx context.Context, bin, name string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	cmd = exec.CommandContext(ctx, bin, "demo")
	cmd.Args[0] = name
	cmd.Env, cmd.Dir = []string{}, "/"
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, out, errs
}

// demoName is unlike that of any other process.
func demoName(t *testing.T) string { return fmt.Sprintf("rapsheet-%s-%d", t.Name(), os.Getpid()) }

// asNobody makes the command an ordinary user's; a user who is no root stays who he is.
func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
}

// skipRefused skips where the host allows no demo.
func skipRefused(t *testing.T, errs *bytes.Buffer) {
	t.Helper()
	for _, refusal := range []string{"no network of their own here", "not even root gets a network", "nobody gets a network", "the kernel lacks modules"} {
		if strings.Contains(errs.String(), refusal) {
			netns.Skip(t, "%s", errs)
		}
	}
}

func proves(t *testing.T, err error, out, errs *bytes.Buffer) {
	t.Helper()
	if err != nil {
		skipRefused(t, errs)
		t.Fatalf("demo: %v\n%s%s", err, out, errs)
	}
	if !demoPage.Match(out.Bytes()) || errs.Len() > 0 {
		t.Errorf("demo: got\n%s%s\nwant\n%s", out, errs, demoPage)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 || strings.Contains(line, "\x1b") {
			t.Errorf("demo: got a line of %d, want at most 80 and no colours: %q", n, line)
		}
	}
}

// gone waits until no process of that name is left.
func gone(t *testing.T, name string) {
	t.Helper()
	lab.Wait(t, "the end of all processes named "+name, func() bool {
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if b, err := os.ReadFile(f); err == nil && bytes.HasPrefix(b, []byte(name+"\x00")) {
				return false
			}
		}
		return true
	})
}

func TestDemoAsOrdinaryUser(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	cmd, out, errs := demoCommand(ctx, lab.Build(t), demoName(t))
	asNobody(cmd)
	began := time.Now()
	err := cmd.Run()
	proves(t, err, out, errs)
	t.Logf("in %s\n%s", time.Since(began).Round(time.Millisecond), out)
	gone(t, cmd.Args[0])
}

func TestDemoTwiceAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	first, out1, errs1 := demoCommand(ctx, lab.Build(t), demoName(t))
	second, out2, errs2 := demoCommand(ctx, lab.Build(t), demoName(t))
	asNobody(first)
	asNobody(second)
	err := first.Start()
	err2 := second.Run()
	if err == nil {
		err = first.Wait()
	}
	proves(t, err, out1, errs1)
	proves(t, err2, out2, errs2)
}

// A demo that is interrupted, or killed, leaves nothing behind. What it writes lies in memory that is its own.
func TestDemoLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			name := strings.ReplaceAll(demoName(t), "/", "-")
			before := ours(t)
			ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
			defer cancel()
			for {
				cmd, _, errs := demoCommand(ctx, lab.Build(t), name)
				cmd.Stdout = nil
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
					_ = cmd.Wait()
					skipRefused(t, errs)
					t.Fatalf("demo: %v: %s", err, errs)
				}
				pid := cmd.Process.Pid
				if sig == syscall.SIGINT {
					pid = -pid // as a terminal does: to all of them
				}
				if err := syscall.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
				err = cmd.Wait()
				gone(t, name)
				if err == nil {
					continue // it was ready before the signal came
				}
				if want := "rapsheet: demo: interrupted; nothing is left of it\n"; sig != syscall.SIGKILL && errs.String() != want {
					t.Errorf("%s: got %q, want %q", sig, errs, want)
				}
				var exit *exec.ExitError
				if errors.As(err, &exit) && sig != syscall.SIGKILL && exit.ExitCode() != 1 {
					t.Errorf("%s: got exit code %d, want 1", sig, exit.ExitCode())
				}
				break
			}
			if after := ours(t); after != before {
				t.Errorf("files: got %s, want %s", after, before)
			}
		})
	}
}

// ours lists what the demo might have left: what it writes, and what it mounts.
func ours(t *testing.T) string {
	t.Helper()
	var all []string
	for _, name := range []string{"rapsheet.yaml", "state", "socket", "log", "output"} {
		if _, err := os.Lstat(filepath.Join("/tmp", name)); err == nil {
			all = append(all, name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s in /tmp, %d mounts", all, bytes.Count(mounts, []byte(" - tmpfs rapsheet ")))
}

// A daemon that cannot start: here it may write no files of more than a megabyte, and its store has larger ones.
func TestDemoSaysWhatFailed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	cmd, out, errs := demoCommand(ctx, "/bin/sh", demoName(t))
	cmd.Args = []string{"sh", "-c", `ulimit -f 1024 && exec "$0" demo`, lab.Build(t)}
	err := cmd.Run()
	skipRefused(t, errs)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || errs.Len() > 0 {
		t.Errorf("demo: got %v, %q, want exit code 1", err, errs)
	}
	want := regexp.MustCompile(` 1  receiver up, TCP and UDP +FAILED\n    the daemon has ended\n\nThe daemon's last lines:\n(?s:.*)file too large`)
	if !want.Match(out.Bytes()) {
		t.Errorf("demo: got\n%s\nwant\n%s", out, want)
	}
}

// refused runs the demo where the kernel allows no namespaces of a kind, as a user of that number.
func refused(t *testing.T, uid int, limit, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
	defer cancel()
	cmd, out, errs := demoCommand(ctx, "/bin/sh", demoName(t))
	cmd.Args = []string{"sh", "-c", `echo 0 >/proc/sys/user/` + limit + ` && exec "$0" demo`, lab.Build(t)}
	const capSysResource = 24 // which writing the limit takes, and which does not lift it
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getegid(), Size: 1}},
		AmbientCaps: []uintptr{capSysResource},
	}
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		netns.Skip(t, "no user namespace to try it in: %v", err)
	}
	if err == nil || exit.ExitCode() != 1 || out.Len() > 0 || errs.String() != want {
		t.Errorf("demo as %d with %s=0: got %v, %q, %q, want exit code 1, %q", uid, limit, err, out, errs, want)
	}
	t.Logf("refused in %s: %s", time.Since(began).Round(time.Millisecond), errs)
}

func TestDemoWhereRefused(t *testing.T) {
	bin := lab.Build(t)
	refused(t, 1000, "max_user_namespaces",
		"rapsheet: demo: ordinary users get no network of their own here (user.max_user_namespaces is 0). Run: sudo "+bin+" demo\n")
	refused(t, 1000, "max_net_namespaces",
		"rapsheet: demo: nobody gets a network of his own here (user.max_net_namespaces is 0). Run: sudo sysctl -w user.max_net_namespaces=1000\n")
	refused(t, 0, "max_net_namespaces",
		"rapsheet: demo: nobody gets a network of his own here (user.max_net_namespaces is 0). Run: sysctl -w user.max_net_namespaces=1000\n")
}
