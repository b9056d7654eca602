package integration

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// Somebody empties the kernel's sets, or takes the tables away: the bans are back within moments.
func TestEmptiedKernelIsRepaired(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(bin, "allow: ["+lab.Near4+"]\n")
	srv.Echo(22)
	d.MustCLI("ban", lab.Atk4, lab.Routed6, "203.0.113.0/24", "198.51.100.0/24")
	attack(t, srv, d, 7, "192.0.2.1")
	waitBan(t, d, "ssh", "192.0.2.1/32")
	allowed := status(d).Sets["rapsheet-allow-4"]
	whole := func() bool {
		k := kernel(t, srv)
		for _, p := range []string{lab.Atk4 + "/32", lab.Routed6 + "/128", "203.0.113.0/24", "198.51.100.0/24", "192.0.2.1/32"} {
			if len(k[p]) == 0 {
				return false
			}
		}
		return status(d).Sets["rapsheet-allow-4"] == allowed
	}
	if !whole() {
		t.Fatalf("before: %v", kernel(t, srv))
	}
	repaired := func(what string, f func() error) {
		t.Helper()
		if err := srv.Do(f); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		start := time.Now()
		lab.Wait(t, what+": repaired", whole)
		t.Logf("%s: repaired after %s", what, time.Since(start).Round(time.Millisecond))
	}
	repaired("all ban sets flushed", func() (err error) {
		for _, set := range []string{"manual-4", "manual-6", "ssh-4", "ssh-4p"} {
			err = errors.Join(err, netlink.IpsetFlush("rapsheet-"+set))
		}
		return err
	})
	passes(t, atk, lab.Atk4, 22, false)
	repaired("one entry taken out", func() error {
		return netlink.IpsetDel("rapsheet-manual-4", &netlink.IPSetEntry{IP: net.ParseIP(lab.Atk4).To4(), CIDR: 32})
	})
	repaired("the allow set flushed", func() error { return netlink.IpsetFlush("rapsheet-allow-4") })
	passes(t, atk, lab.Near4, 22, true)
	if got := status(d).Repaired; got < 3 {
		t.Errorf("status: got %d repairs, want at least 3", got)
	}

	// Where the kernel can, the tables are the daemon's own: nobody else can take them away while it lives.
	err := srv.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		for _, f := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
			c.DelTable(&nftables.Table{Name: "rapsheet", Family: f})
		}
		return c.Flush()
	})
	if err != nil && !errors.Is(err, syscall.EPERM) {
		t.Fatal(err)
	}
	start := time.Now()
	lab.Wait(t, "the tables", func() bool { return len(tables(t, srv)) == 2 })
	t.Logf("tables deleted: %v; there again after %s", err, time.Since(start).Round(time.Millisecond))
	passes(t, atk, lab.Atk4, 22, false)
	passes(t, atk, lab.Near4, 22, true)
}

// What is damaged on disk is set aside and said; the daemon starts, holds on to what the kernel holds, bans, and
// remembers again.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(bin, "")
	srv.Echo(22)
	d.MustCLI("ban", lab.Atk4)
	attack(t, srv, d, 6, lab.Near4)

	const state = "/var/lib/rapsheet"
	f := func(what string, damage func() error) {
		t.Helper()
		d.Stop()
		if err := srv.Do(damage); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		d.Start()
		h := status(d)
		_, still := bans(t, d)[lab.Atk4+"/32"]
		sheet := sheetOf(t, d, lab.Near4)
		t.Logf("%s: set aside %v, the ban is there: %t, failures known: %d", what, h.Store.Damaged, still, sheet.sum("ssh", 21))
		if h.Mode != "enforce" || h.Store.Degraded || !still {
			t.Errorf("%s: got mode %q, %s, the ban is there: %t", what, h.Mode, h.Store.Reason, still)
		}
		attack(t, srv, d, 7, "203.0.113.1")
		waitBan(t, d, "ssh", "203.0.113.1/32")
		d.MustCLI("unban", "203.0.113.1")
		d.Restart()
		if got := bans(t, d); len(got) != 1 || len(kernel(t, srv)[lab.Atk4+"/32"]) == 0 {
			t.Errorf("%s: after another restart: got %v, want one ban", what, got)
		}
	}
	for _, db := range []string{"bans", "history"} {
		f(db+" without its MANIFEST", func() error { return os.Remove(filepath.Join(state, db, "MANIFEST")) })
		for _, kind := range []string{"*.sst", "*.vlog", "MANIFEST"} {
			f("flipped bytes in "+db+"/"+kind, func() error { return flip(filepath.Join(state, db, kind)) })
		}
	}
	passes(t, atk, lab.Near4, 22, true)
	passes(t, atk, lab.Atk4, 22, false)
	f("a mark of nonsense", func() error {
		return os.WriteFile(filepath.Join(state, "lifts"), []byte("\x00\xff\n/0 never\n"), 0o600)
	})
}

// flip inverts a stretch in the middle of files, where they have content.
func flip(pattern string) error {
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		used := len(strings.TrimRight(string(b), "\x00"))
		for i := used / 3; i < used*2/3; i++ {
			b[i] ^= 0xff
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			return err
		}
	}
	return err
}
