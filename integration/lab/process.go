package lab

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outputMax is how much of a process's output is kept: the newest.
const outputMax = 64 << 10

// A Process is a program that runs in a host until it ends, is stopped, or the lab goes down. Its methods may be called
// by any goroutine.
type Process struct {
	host *Host
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // after done
}

// Start starts a program that stays. What it writes is logged when the test fails.
func (h *Host) Start(name string, args ...string) *Process {
	h.tb().Helper()
	p := &Process{host: h, done: make(chan struct{})}
	p.cmd = h.command(context.Background(), name, args)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := h.Do(p.cmd.Start); err != nil {
		h.tb().Fatalf("lab: %s: %s: %v", h.Name, name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	h.processes = append(h.processes, p)
	return p
}

// Pid is the process id as the machine counts.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// String returns the command line.
func (p *Process) String() string { return strings.Join(p.cmd.Args, " ") }

// Output is what the process has written so far, to both outputs; the newest 64 KiB.
func (p *Process) Output() []byte { return p.out.Bytes() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended, as exec.Cmd.Wait puts it; it waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal; to a process that has ended it does nothing.
func (p *Process) Signal(sig syscall.Signal) { p.cmd.Process.Signal(sig) }

// Kill ends the process by SIGKILL and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop ends the process by SIGTERM, waits, and returns how it ended. It ends the test if the process stays.
func (p *Process) Stop() error {
	p.host.tb().Helper()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.host.tb().Fatalf("lab: %s: %s does not stop", p.host.Name, p)
	}
	return p.err
}

func (h *Host) waitProcesses() {
	for _, p := range h.processes {
		<-p.done
	}
}

// output is a writer that keeps the newest bytes.
type output struct {
	mu  sync.Mutex
	buf []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, b...)
	if len(o.buf) > 2*outputMax {
		o.buf = append(o.buf[:0], tail(o.buf, outputMax)...)
	}
	return len(b), nil
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]byte(nil), tail(o.buf, outputMax)...)
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}
