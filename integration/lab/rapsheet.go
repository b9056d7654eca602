package lab

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// Main runs the tests and removes what Build made: func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	return code
}

// Build builds cmd/rapsheet, once for all tests of the process, and returns the binary. TestMain must call Main.
func Build(tb testing.TB) string {
	tb.Helper()
	root := Root(tb)
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "rapsheet-lab-"); built.err != nil {
			return
		}
		// Accounts of the hosts run it too.
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", built.dir, "./cmd/rapsheet")
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = errors.New(string(out))
		}
	})
	if built.err != nil {
		tb.Fatalf("lab: build rapsheet: %v", built.err)
	}
	return filepath.Join(built.dir, "rapsheet")
}

// Root is the repository's folder.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	tb.Fatalf("lab: no go.mod above the working directory (%v)", err)
	return ""
}

const configFile = "/etc/rapsheet/rapsheet.yaml"

// A Daemon is a rapsheet in a host. Its state and its kernel sets live as long as the host, so a daemon that was killed
// and started again finds them.
type Daemon struct {
	host  *Host
	bin   string
	by    []string
	flags []string
	*Process
}

// Rapsheet writes the configuration, starts rapsheet run in the host and waits until it answers.
func (h *Host) Rapsheet(bin, config string, flags ...string) *Daemon {
	h.tb().Helper()
	d := &Daemon{host: h, bin: bin, flags: flags}
	d.Configure(config)
	d.Start()
	return d
}

// RapsheetBy is Rapsheet by way of other programs, whose words come before the daemon's: env A=B, or sh -c '"$@"; exit' sh.
// The daemon's Process is the first of them.
func (h *Host) RapsheetBy(by []string, bin, config string) *Daemon {
	h.tb().Helper()
	d := &Daemon{host: h, bin: bin, by: by}
	d.Configure(config)
	d.Start()
	return d
}

// Configure writes the configuration; a running daemon takes it at Reload or Restart.
func (d *Daemon) Configure(config string) {
	d.host.tb().Helper()
	d.host.WriteFile(configFile, config)
}

// Start starts the daemon after Kill9 or Stop, and waits until it answers. Flags replace those of the last start.
func (d *Daemon) Start(flags ...string) {
	d.host.tb().Helper()
	if len(flags) > 0 {
		d.flags = flags
	}
	args := slices.Concat(d.by, []string{d.bin, "run", "--config", configFile}, d.flags)
	d.Process = d.host.Start(args[0], args[1:]...)
	d.host.wait(d.Process, "answer to status", func() bool {
		_, code := d.CLI("status", "--json")
		return code == 0
	})
}

// Kill9 kills the daemon as a crash would, and waits for its end.
func (d *Daemon) Kill9() { d.Process.Kill() }

// Stop ends the daemon in order; the test fails if it does not end well.
func (d *Daemon) Stop() {
	d.host.tb().Helper()
	if err := d.Process.Stop(); err != nil {
		d.host.tb().Errorf("lab: %s: rapsheet stopped: %v:\n%s", d.host.Name, err, d.Output())
	}
}

// Restart stops the daemon and starts it again.
func (d *Daemon) Restart() {
	d.host.tb().Helper()
	d.Stop()
	d.Start()
}

// Reload has the daemon read its configuration again. It does not wait.
func (d *Daemon) Reload() { d.Signal(syscall.SIGHUP) }

// Freeze stops the daemon in its tracks: it keeps its sockets and does nothing.
func (d *Daemon) Freeze() { d.Signal(syscall.SIGSTOP) }

// Thaw lets it go on.
func (d *Daemon) Thaw() { d.Signal(syscall.SIGCONT) }

// CLI runs a sub-command in the daemon's host, as root. It returns the exit code and what the command wrote to standard
// output, followed by its standard error if it failed; -1 if it did not end by itself.
func (d *Daemon) CLI(args ...string) (out []byte, code int) {
	return d.host.CLI(d.bin, args...)
}

// CLI runs the rapsheet binary where there need not be a daemon. See Daemon.CLI.
func (h *Host) CLI(bin string, args ...string) (out []byte, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, errs, err := h.run(ctx, nil, bin, args)
	if err == nil {
		return out, 0
	}
	out = append(out, errs...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, exit.ExitCode()
	}
	return append(out, err.Error()...), -1
}

// MustCLI is CLI for what must succeed.
func (d *Daemon) MustCLI(args ...string) []byte {
	d.host.tb().Helper()
	out, code := d.CLI(args...)
	if code != 0 {
		d.host.tb().Fatalf("lab: rapsheet %v: exit code %d: %s", args, code, out)
	}
	return out
}

// StatusJSON decodes the daemon's status into v.
func (d *Daemon) StatusJSON(v any) {
	d.host.tb().Helper()
	if err := json.Unmarshal(d.MustCLI("status", "--json"), v); err != nil {
		d.host.tb().Fatalf("lab: rapsheet status --json: %v", err)
	}
}
