package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/sinks/ipset"
	"github.com/rapsheet/rapsheet/web"
)

// demoConfig is all that the demo changes of the defaults: where files are.
const demoConfig = `mode: enforce
filters: %[1]s/filters
listen:
  - unix: %[1]s/log
  - tcp: 127.0.0.1:5514
  - udp: 127.0.0.1:5514
state: %[1]s/state
socket: %[1]s/socket
`

// A demoDaemon is rapsheet run, in a process of its own.
type demoDaemon struct {
	dir   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
	conns map[string]net.Conn
	pid   int // of the service that speaks next
}

func (d *demoDaemon) path(name string) string { return filepath.Join(d.dir, name) }

// start does not wait: see running.
func (d *demoDaemon) start() error {
	if err := os.WriteFile(d.path("rapsheet.yaml"), fmt.Appendf(nil, demoConfig, d.dir), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(d.path("output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.Command("/proc/self/exe", "run", "--config", d.path("rapsheet.yaml"))
	d.cmd.Args[0] = os.Args[0]
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // the caller's thread lasts as long as the demo
	if err := d.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	d.ended, d.conns = ended, map[string]net.Conn{}
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // that it ended says enough: running reports it
		close(ended)
	}(d.cmd)
	return nil
}

// kill is kill -9.
func (d *demoDaemon) kill() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill() // an error: it has ended
	<-d.ended
	for _, c := range d.conns {
		c.Close()
	}
}

var errDaemonEnded = errors.New("the daemon has ended")

// running returns errDaemonEnded when there is nothing to wait for any more.
func (d *demoDaemon) running() error {
	select {
	case <-d.ended:
		return errDaemonEnded
	default:
		return nil
	}
}

// tail returns the newest lines that the daemon logged.
func (d *demoDaemon) tail(n int) []string {
	b, err := os.ReadFile(d.path("output"))
	if err != nil {
		return []string{err.Error()}
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[max(0, len(lines)-n):]
}

// say sends one message as a service of this host would, by tcp (octet-counted, as rsyslog does), udp or unix, and
// returns what stood in the log.
func (d *demoDaemon) say(by string, at time.Time, program, text string) (string, error) {
	c := d.conns[by]
	if c == nil {
		addr := "127.0.0.1:5514"
		network := by
		if by == "unix" {
			network, addr = "unixgram", d.path("log")
		}
		var err error
		if c, err = net.Dial(network, addr); err != nil {
			return "", err
		}
		d.conns[by] = c
	}
	d.pid++
	msg := fmt.Sprintf("<38>1 %s srv %s %d - - %s", at.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), program, d.pid, text)
	if by == "tcp" {
		msg = fmt.Sprintf("%d %s", len(msg), msg)
	}
	_, err := c.Write([]byte(msg))
	return fmt.Sprintf("%s[%d]: %s", program, d.pid, text), err
}

func (d *demoDaemon) get(ctx context.Context, path string, out any) error {
	return web.Call(ctx, d.path("socket"), "GET", path, nil, out)
}

// sheet is the rap sheet: an empty one where nothing is known.
func (d *demoDaemon) sheet(ctx context.Context, p netip.Prefix) (*sheet, error) {
	var s sheet
	err := d.get(ctx, "/v1/offenders/"+p.String(), &s)
	if errors.Is(err, web.ErrNotFound) {
		err = nil
	}
	return &s, err
}

// counted says how near the offender is to the jail's last tier.
func (d *demoDaemon) counted(ctx context.Context, jail string, p netip.Prefix) (string, error) {
	s, err := d.sheet(ctx, p)
	if err != nil {
		return "", err
	}
	said := "none"
	for _, o := range s.Offenders {
		for _, t := range o.Tiers {
			if o.Prefix == p && t.Jail == jail {
				said = fmt.Sprintf("%d of %d within %s", t.Sum, t.Limit, t.FindTime)
			}
		}
	}
	return said, nil
}

// bans lists the running bans as lines of text, sorted.
func (d *demoDaemon) bans(ctx context.Context) ([]string, error) {
	var list []event.Ban
	if err := d.get(ctx, "/v1/bans", &list); err != nil {
		return nil, err
	}
	lines := make([]string, len(list))
	for i := range list {
		b := &list[i]
		lines[i] = fmt.Sprintf("%s %s until %s", b.Prefix, sentence(b), b.Until.UTC().Format(time.RFC3339Nano))
	}
	slices.Sort(lines)
	return lines, nil
}

func sentence(b *event.Ban) string {
	return fmt.Sprintf("%s %s, %s", b.Jail, value.FormatDuration(b.Until.Sub(b.Issued)), traffic(b))
}

// ban says which ban of the offender runs.
func (d *demoDaemon) ban(ctx context.Context, p netip.Prefix) (string, error) {
	var list []event.Ban
	if err := d.get(ctx, "/v1/bans", &list); err != nil {
		return "", err
	}
	for i := range list {
		if list[i].Prefix == p {
			return sentence(&list[i]), nil
		}
	}
	return "none", nil
}

// inKernel says what the kernel's sets hold, as lines of text, sorted.
func inKernel() ([]string, error) {
	var all []string
	err := ipset.List(func(e ipset.Entry) bool {
		all = append(all, fmt.Sprintf("%s %s, %s", e.Prefix, e.Jail, traffic(&event.Ban{Ports: e.Ports})))
		return true
	})
	slices.Sort(all)
	return all, err
}

// held says which of the kernel's sets has the prefix.
func held(p netip.Prefix) (string, error) {
	all, err := inKernel()
	for _, line := range all {
		if rest, ok := strings.CutPrefix(line, p.String()+" "); ok {
			return rest, nil
		}
	}
	return "none", err
}
