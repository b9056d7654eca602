package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// The disk fills up under the daemon: it bans on in the kernel, says so, and writes everything down when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	srv.MustRun("mkdir", "/var/lib/disk")
	srv.MustRun("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", "/var/lib/disk")
	d := srv.Rapsheet(bin, "state: /var/lib/disk/state\n")
	srv.Echo(22)
	attack(t, srv, d, 7, "203.0.113.1")
	waitBan(t, d, "ssh", "203.0.113.1/32")
	if h := status(d); h.Store.Degraded {
		t.Fatalf("degraded from the start: %s", h.Store.Reason)
	}

	if _, err := srv.Run(t.Context(), "dd", "if=/dev/zero", "of=/var/lib/disk/ballast", "bs=1M"); err == nil {
		t.Fatal("the disk is not full")
	}
	attack(t, srv, d, 7, lab.Atk4)
	lab.Wait(t, "status to say so", func() bool { h := status(d); return h.Store.Degraded && h.Store.Pending > 0 })
	waitBan(t, d, "ssh", lab.Atk4+"/32")
	passes(t, atk, lab.Near4, 22, true)
	passes(t, atk, lab.Atk4, 22, false)
	t.Logf("status: %s", status(d).Store.Reason)
	for i := range 20 { // of whom bans, histories and evidence want to be written
		attack(t, srv, d, 20, fmt.Sprintf("203.0.113.%d", 10+i))
	}
	fails(t, d.CLI, 1, "not on disk", "ban", lab.Near4) // true in the kernel all the same
	passes(t, atk, lab.Near4, 22, false)
	d.MustCLI("show", lab.Atk4)

	srv.MustRun("rm", "/var/lib/disk/ballast")
	start := time.Now()
	lab.Wait(t, "all to be written", func() bool { h := status(d); return !h.Store.Degraded && h.Store.Pending == 0 })
	t.Logf("room again: all was written after %s", time.Since(start).Round(10*time.Millisecond))
	before, dropped := bans(t, d), status(d).Store.Dropped
	t.Logf("never written: %v", dropped) // failures that led to a ban are in the ban, others in memory
	if dropped["bans"] != 0 || dropped["records"] == 0 {
		t.Errorf("never written: got %v, want no bans, and records", dropped)
	}
	d.Kill9()
	d.Start()
	after := bans(t, d)
	for p := range before {
		if _, there := after[p]; !there {
			t.Errorf("%s: banned while the disk was full, and forgotten", p)
		}
	}
	passes(t, atk, lab.Atk4, 22, false)
}
