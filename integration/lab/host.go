package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Host is one machine of the lab.
type Host struct {
	Name string
	Pid  int // of its first process, as the machine counts

	lab        *Lab
	spec       Spec
	init       *exec.Cmd
	up         *os.File
	out        output
	namespaces []string
	processes  []*Process
	logs       []string // files worth showing when the test fails
}

func (h *Host) tb() testing.TB { return h.lab.tb }

// Do runs f on a thread that is inside the host: f sees the host's files, and the sockets it opens stay in the host's
// network wherever they are used afterwards. Goroutines that f starts are outside. Any goroutine may call it.
func (h *Host) Do(f func() error) error { return within(h.Pid, hostNamespaces, f) }

// Run runs a program in the host and returns what it wrote to its standard output. The error holds what it wrote to the
// other. The program is killed when ctx ends. Any goroutine may call it.
func (h *Host) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, errs, err := h.run(ctx, nil, name, args)
	return out, h.explain(name, errs, err)
}

// RunAs is Run as another account, without groups.
func (h *Host) RunAs(ctx context.Context, uid uint32, name string, args ...string) ([]byte, error) {
	out, errs, err := h.run(ctx, &syscall.Credential{Uid: uid, Gid: uid}, name, args)
	return out, h.explain(name, errs, err)
}

func (h *Host) run(ctx context.Context, as *syscall.Credential, name string, args []string) (out, errs []byte, err error) {
	var o, e bytes.Buffer
	cmd := h.command(ctx, name, args)
	cmd.Stdout, cmd.Stderr = &o, &e
	if as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	}
	if err = h.Do(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	return o.Bytes(), e.Bytes(), err
}

func (h *Host) explain(name string, errs []byte, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w: %s", h.Name, name, err, bytes.TrimSpace(tail(errs, outputMax)))
}

// MustRun is Run for what the story takes for granted: it ends the test when the program fails.
func (h *Host) MustRun(name string, args ...string) []byte {
	h.tb().Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.Run(ctx, name, args...)
	if err != nil {
		h.tb().Fatalf("lab: %v", err)
	}
	return out
}

func (h *Host) command(ctx context.Context, name string, args []string) *exec.Cmd {
	if p := path(name); p != "" {
		name = p
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = environ, "/"
	cmd.WaitDelay = time.Second // what it started may hold its pipes
	return cmd
}

// WriteFile writes a file of the host and makes its folders. Files outside /etc, /var, /home, /root, /run and /dev
// would be the machine's: that ends the test.
func (h *Host) WriteFile(name, text string) {
	h.tb().Helper()
	if !private(name) {
		h.tb().Fatalf("lab: %s is not the host's own", name)
	}
	err := h.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return os.WriteFile(name, []byte(text), 0o644)
	})
	if err != nil {
		h.tb().Fatalf("lab: %s: %v", h.Name, err)
	}
}

func private(name string) bool {
	name = filepath.Clean(name)
	for _, d := range []string{"/etc/", "/var/", "/home/", "/root/", "/run/", "/dev/"} {
		if strings.HasPrefix(name, d) {
			return true
		}
	}
	return false
}

// ReadFile reads a file of the host.
func (h *Host) ReadFile(name string) ([]byte, error) {
	var b []byte
	err := h.Do(func() (err error) {
		b, err = os.ReadFile(name)
		return err
	})
	return b, err
}

// Exists reports whether the host has that file.
func (h *Host) Exists(name string) bool {
	return h.Do(func() error {
		_, err := os.Lstat(name)
		return err
	}) == nil
}

// Listen listens in the host's network, or on a socket file of it. This process accepts; the lab closes.
func (h *Host) Listen(network, addr string) net.Listener {
	h.tb().Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen(network, addr)
		return err
	})
	if err != nil {
		h.tb().Fatalf("lab: %s: %v", h.Name, err)
	}
	h.lab.keep(l)
	return l
}

// Listening reports whether a TCP port is open in the host, without touching it: a connection would leave its lines in
// the daemon's log.
func (h *Host) Listening(port int) bool {
	want := fmt.Sprintf(":%04X ", port)
	for _, table := range []string{"tcp", "tcp6"} {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", h.Pid, table))
		for _, line := range strings.Split(string(b), "\n") {
			// sl local_address rem_address st: 0A is TCP_LISTEN
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" && strings.Contains(f[1]+" ", want) {
				return true
			}
		}
	}
	return false
}
