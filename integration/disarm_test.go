package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// setNames names the sets in a host's kernel.
func setNames(t *testing.T, h *lab.Host) (names []string) {
	t.Helper()
	err := h.Do(func() error {
		all, err := netlink.IpsetListAll()
		for _, s := range all {
			names = append(names, s.SetName)
		}
		return err
	})
	if err != nil {
		t.Fatalf("sets of %s: %v", h.Name, err)
	}
	return names
}

// tables names the nf_tables of a host's kernel.
func tables(t *testing.T, h *lab.Host) (names []string) {
	t.Helper()
	err := h.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		all, err := c.ListTables()
		for _, table := range all {
			names = append(names, table.Name)
		}
		return err
	})
	if err != nil {
		t.Fatalf("tables of %s: %v", h.Name, err)
	}
	return names
}

// nothingLeft checks that a host's kernel has no set and no table.
func nothingLeft(t *testing.T, h *lab.Host) {
	t.Helper()
	if s, n := setNames(t, h), tables(t, h); len(s)+len(n) != 0 {
		t.Errorf("disarm --remove: got sets %v and tables %v, want none", s, n)
	}
}

// The daemon is dead and its bans are not: without it they can be read, lifted one by one, or all switched off, until
// somebody says arm.
func TestDisarmWithoutDaemon(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(bin, "")
	srv.Echo(22)
	d.MustCLI("ban", lab.Atk4, lab.Near4)
	d.Kill9()
	passes(t, atk, lab.Atk4, 22, false)

	fails(t, d.CLI, 1, "no rapsheet daemon answers", "list")
	fails(t, d.CLI, 1, "no rapsheet daemon answers", "status")
	if out, code := d.CLI("show", lab.Atk4); code != 0 || !strings.Contains(string(out), lab.Atk4+" is banned in jail manual, all traffic") {
		t.Errorf("show without a daemon: exit code %d: %s", code, out)
	}
	fails(t, d.CLI, 3, "no kernel set holds 203.0.113.1", "show", "203.0.113.1")
	if out, code := d.CLI("unban", lab.Near4); code != 0 || !strings.Contains(string(out), "removed 1 entries") {
		t.Errorf("unban without a daemon: exit code %d: %s", code, out)
	}
	passes(t, atk, lab.Near4, 22, true)

	start := time.Now()
	if out, code := d.CLI("disarm"); code != 0 || !strings.Contains(string(out), "nobody is kept out") {
		t.Errorf("disarm without a daemon: exit code %d: %s", code, out)
	}
	passes(t, atk, lab.Atk4, 22, true)
	t.Logf("disarm, until the banned address was in: %s", time.Since(start).Round(time.Millisecond))
	if got := tables(t, srv); len(got) != 0 || len(kernel(t, srv)) == 0 {
		t.Errorf("disarm: got tables %v, want none, and the sets with their bans", got)
	}

	d.Start()
	if h := status(d); h.Mode != "observe" || h.Off != "disarmed" || h.Protected {
		t.Errorf("started after disarm: got mode %q, %q, protected %t", h.Mode, h.Off, h.Protected)
	}
	if got := bans(t, d); len(got) != 1 || got[lab.Atk4+"/32"].Jail != "manual" {
		t.Errorf("bans: got %v, want the one that was not lifted meanwhile", got)
	}
	attack(t, srv, d, 7, "198.51.100.68")
	if b := waitBan(t, d, "ssh", "198.51.100.68/32"); !b.Observed {
		t.Errorf("ban while disarmed: got %+v, want it observed", b)
	}
	passes(t, atk, lab.Atk4, 22, true)
	passes(t, atk, "198.51.100.68", 22, true)

	d.MustCLI("arm")
	passes(t, atk, lab.Near4, 22, true)
	passes(t, atk, lab.Atk4, 22, false)
	passes(t, atk, "198.51.100.68", 22, false)
	d.Restart()
	if h := status(d); h.Mode != "enforce" || !h.Protected {
		t.Errorf("restarted after arm: got mode %q, protected %t", h.Mode, h.Protected)
	}
}

// With a daemon that answers, and with one that hangs: it must not keep anybody out, nor start again by itself.
func TestDisarmWithDaemon(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(bin, "")
	srv.Echo(22)
	d.MustCLI("ban", lab.Atk4)
	passes(t, atk, lab.Atk4, 22, false)
	d.MustCLI("disarm")
	passes(t, atk, lab.Atk4, 22, true)
	d.MustCLI("arm")
	passes(t, atk, lab.Atk4, 22, false)

	d.Freeze()
	start := time.Now()
	out, code := d.CLI("disarm")
	passes(t, atk, lab.Atk4, 22, true)
	t.Logf("disarm of a daemon that hangs, until the banned address was in: %s; exit code %d: %s", time.Since(start).Round(time.Millisecond), code, out)
	d.Thaw()
	lab.Wait(t, "the daemon to obey", func() bool { return status(d).Mode == "observe" })
	attack(t, srv, d, 7, lab.Near4)
	d.Restart()
	if h := status(d); h.Off != "disarmed" {
		t.Errorf("restarted: got mode %q (%s)", h.Mode, h.Off)
	}
	passes(t, atk, lab.Atk4, 22, true)
	passes(t, atk, lab.Near4, 22, true)

	d.MustCLI("arm")
	d.MustCLI("disarm", "--remove")
	nothingLeft(t, srv)
	d.MustCLI("arm")
	passes(t, atk, lab.Atk4, 22, false)
	d.Stop()
	if out, code := d.CLI("disarm", "--remove"); code != 0 {
		t.Errorf("disarm --remove without a daemon: exit code %d: %s", code, out)
	}
	nothingLeft(t, srv)
	if out, code := d.CLI("disarm", "--remove"); code != 0 {
		t.Errorf("disarm --remove where nothing is: exit code %d: %s", code, out)
	}
}
