package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/sinks/ipset"
)

// demoDir is covered by a file system in memory that nobody else sees, and that ends with the demo.
const demoDir = "/tmp"

// whatNext is what to do after the demo.
const whatNext = `
Next, on a server (README.md says more):
  sudo apt-get install rsyslog
  sudo cp configs/rsyslog/rapsheet.conf /etc/rsyslog.d/30-rapsheet.conf
  sudo systemctl restart rsyslog
  sudo rapsheet run --observe      decides and records, drops nothing
  sudo rapsheet status             is it fed? list, show: what would it do?
  sudo rapsheet arm                from here on it bans
`

// demoInside is the demo proper. It runs in namespaces that demo made, as their root.
func (c *cli) demoInside(ctx context.Context, host hostFacts) error {
	began := time.Now()
	runtime.LockOSThread() // the daemon dies with the thread that starts it
	defer runtime.UnlockOSThread()
	if err := fresh(); err != nil {
		return err
	}
	network, err := demoGround()
	if err != nil {
		return errors.New(host.refusal(err))
	}
	s := &story{demoPage: newDemoPage(c.stdout), began: began, net: network, d: &demoDaemon{dir: demoDir, pid: 70}}
	s.running = s.d.running
	c.printf("rapsheet demo: a private network, nothing on this host is touched\n\n")
	defer s.d.kill()
	if err := s.d.start(); err != nil {
		return err
	}
	steps := s.steps()
	for i, step := range steps {
		s.n = i + 1
		err := step.run(ctx)
		if ctx.Err() != nil {
			return errors.New("demo: interrupted; nothing is left of it")
		}
		if err != nil {
			s.fail(step.title, err, s.d.tail(10))
			return quiet{err}
		}
	}
	done := fmt.Sprintf("all %d steps", len(steps))
	if s.left > 0 {
		done = fmt.Sprintf("%d of %d steps", len(steps)-s.left, len(steps))
	}
	c.printf("\nProved %s in %.1fs. The rap sheet of %s:\n", done, time.Since(began).Seconds(), demoAttacker)
	if err := c.demoSheet(ctx, s.d); err != nil {
		return err
	}
	c.printf("%s", whatNext)
	return nil
}

// fresh refuses to go on in a network that is in use: whoever calls --inside by hand would ban on his own host.
func fresh() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 {
			return fmt.Errorf("demo: %s is up: this network is somebody's. Run rapsheet demo, without --inside", i.Name)
		}
	}
	return nil
}

// demoGround makes the file system and the network that the demo stands on, and tries whether bans are possible there.
func demoGround() (*demoNet, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil { // so that nothing mounted here shows outside
		return nil, fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("rapsheet", demoDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256m,mode=0700"); err != nil {
		return nil, fmt.Errorf("tmpfs: %w", err)
	}
	sink, err := ipset.Open(ipset.Config{}, nil, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	if err := sink.Close(); err != nil {
		return nil, err
	}
	if _, err := ipset.Disarm(true); err != nil {
		return nil, err
	}
	return openDemoNet()
}

// demoSheet prints what rapsheet show says of the attacker, with the newest lines only.
func (c *cli) demoSheet(ctx context.Context, d *demoDaemon) error {
	s, err := d.sheet(ctx, single(demoAttacker))
	if err != nil {
		return err
	}
	for _, o := range s.Offenders {
		o.Lines = o.Lines[max(0, len(o.Lines)-3):]
	}
	var b bytes.Buffer
	(&cli{stdout: &b}).printSheet(s, time.Now())
	for _, line := range fold(string(bytes.TrimRight(b.Bytes(), "\n")), pageWidth-2) {
		if line != "" {
			line = "  " + line
		}
		c.printf("%s\n", line)
	}
	return nil
}
