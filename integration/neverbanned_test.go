package integration

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// The networks that are banned here, and addresses in them.
const (
	wide4, inWide4, allowed4 = "203.0.113.0/24", "203.0.113.66", "203.0.113.67"
	wide6, inWide6, allowed6 = "2001:db8:66::/64", lab.Routed6, lab.Routed6Same
)

// route gives atk a network of IPv4 beside that of IPv6 which it has by a route.
func route(srv, atk *lab.Host) {
	for _, a := range []string{inWide4, allowed4} {
		atk.MustRun("ip", "addr", "add", a+"/32", "dev", "lo")
	}
	srv.MustRun("ip", "route", "add", wide4, "via", "198.51.100.70")
}

// An allowed address gets through whatever is banned around it, and a file of them is read again when it changes.
func TestAllowedInsideBanned(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	route(srv, atk)
	const file = "/etc/rapsheet/allow.txt"
	srv.WriteFile(file, "# the office\n"+allowed4+"\n"+allowed6+"\n")
	d := srv.Rapsheet(bin, "allow: [file:"+file+"]\n")
	srv.Echo(80)

	d.MustCLI("ban", wide4, wide6, "--reason", "a bad neighbourhood")
	passes(t, atk, allowed4, 80, true)
	passes(t, atk, allowed6, 80, true)
	passes(t, atk, inWide4, 80, false)
	passes(t, atk, inWide6, 80, false)
	passes(t, atk, lab.Atk4, 80, true)
	passes(t, atk, lab.Routed6Next, 80, true)
	fails(t, d.CLI, 1, "never banned: allow: "+allowed4+" in "+file, "ban", allowed4)
	attack(t, srv, d, 60, allowed6)
	if got := status(d).NeverBanned.Dropped["allow"]; got != 60 {
		t.Errorf("failures of an allowed address: got %d, want 60", got)
	}

	// Who is taken into the file is let in, and its own ban is lifted; who is taken out of it is under the ban around it.
	d.MustCLI("ban", inWide4)
	start := time.Now()
	srv.WriteFile(file, inWide4+"\n")
	lab.Wait(t, "the changed file", func() bool { _, there := bans(t, d)[inWide4+"/32"]; return !there })
	t.Logf("a changed file was read after %s", time.Since(start).Round(10*time.Millisecond))
	passes(t, atk, inWide4, 80, true)
	passes(t, atk, allowed4, 80, false)
	if got := bans(t, d); len(got) != 2 {
		t.Errorf("bans: got %v, want those of both networks", got)
	}

	// The host's own network may be banned: not the host, what it needs, nor who is allowed.
	d.MustCLI("ban", "198.51.100.0/24", "2001:db8::/64")
	passes(t, atk, lab.Near4, 80, false)
	passes(t, atk, lab.Near6, 80, false)
	passes(t, srv, lab.Srv4, 80, true)
	passes(t, srv, lab.Srv6, 80, true)
	passes(t, atk, inWide4, 80, true) // by a router whose own address is banned
}

// Bans by hand: what is refused, what needs force, and that a lifted ban is not back with the next mistake.
func TestByHand(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	d := srv.Rapsheet(bin, "")
	srv.Echo(22)
	attack(t, srv, d, 7, lab.Atk4)
	waitBan(t, d, "ssh", lab.Atk4+"/32")
	if out, code := d.CLI("unban", "--reason", "a mistake", lab.Atk4); code != 0 || !strings.Contains(string(out), "198.51.100.66/32 lifted in jail ssh") {
		t.Errorf("unban: exit code %d: %s", code, out)
	}
	passes(t, atk, lab.Atk4, 22, true)
	attack(t, srv, d, 6, lab.Atk4)
	if got := bans(t, d); len(got) != 0 {
		t.Errorf("6 failures after the unban: got %v, want no ban", got)
	}
	attack(t, srv, d, 1, lab.Atk4) // the mark forgives what was, not what comes
	if b := waitBan(t, d, "ssh", lab.Atk4+"/32"); b.Strike != 1 {
		t.Errorf("a lifted ban is no strike: got strike %d, want 1", b.Strike)
	}
	log := string(d.MustCLI("show", lab.Atk4))
	if !strings.Contains(log, "ssh: lifted by uid 0: a mistake") || strings.Count(log, "Failed password for root from "+lab.Atk4) != 10 {
		t.Errorf("show: want the lift and ten lines:\n%s", log)
	}

	d.MustCLI("ban", "--for", "permanent", lab.Near4)
	passes(t, atk, lab.Near4, 22, false)
	if b := bans(t, d)[lab.Near4+"/32"]; b.Jail != "manual" || b.By != "uid 0" || b.Strike != 0 {
		t.Errorf("ban by hand: got %+v", b)
	}
	d.MustCLI("unban", lab.Near4)
	passes(t, atk, lab.Near4, 22, true)
	fails(t, d.CLI, 3, "not found", "unban", lab.Near4)
	fails(t, d.CLI, 3, "not found", "show", "203.0.113.200")

	wide := netip.MustParsePrefix(lab.Srv4 + "/7").Masked().String()
	fails(t, d.CLI, 1, "is everybody", "ban", "0.0.0.0/0")
	fails(t, d.CLI, 1, "is everybody", "ban", "--force", "::/0")
	fails(t, d.CLI, 1, "--force", "ban", wide)
	fails(t, d.CLI, 1, "--force", "ban", "203.0.113.1", "2001:db8::/31") // all or none
	fails(t, d.CLI, 1, "never banned", "ban", "127.0.0.1")
	fails(t, d.CLI, 1, "never banned", "ban", "::1")
	fails(t, d.CLI, 2, "host bits", "ban", "203.0.113.1/24")
	fails(t, d.CLI, 2, "no address", "ban", "attacker.example")
	fails(t, d.CLI, 2, "--for", "ban", "--for", "soon", lab.Near4)
	if got := bans(t, d); len(got) != 1 {
		t.Errorf("bans: got %v, want one", got)
	}
	d.MustCLI("ban", "--force", wide, "2001:db8::/31")
	passes(t, atk, lab.Near4, 22, false)
	passes(t, atk, lab.Near6, 22, false)
	passes(t, srv, lab.Srv4, 22, true)
	d.MustCLI("unban", wide, "2001:db8::/31")
	passes(t, atk, lab.Near4, 22, true)
	passes(t, atk, lab.Near6, 22, true)
}

// The address of the SSH session in which the daemon was started is never banned, however many processes lie between.
func TestOwnSession(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Atk)
	srv, atk := l.Host("srv"), l.Host("atk")
	srv.Echo(22)
	d := srv.RapsheetBy([]string{"env", "SSH_CONNECTION=" + lab.Near4 + " 50022 " + lab.Srv4 + " 22",
		"sh", "-c", `env -u SSH_CONNECTION "$@"; exit`, "sh"}, bin, "") // as sudo does
	attack(t, srv, d, 60, lab.Near4)
	attack(t, srv, d, 60, lab.Atk4)
	waitBan(t, d, "ssh", lab.Atk4+"/32")
	passes(t, atk, lab.Atk4, 22, false)
	passes(t, atk, lab.Near4, 22, true)
	fails(t, d.CLI, 1, "never banned: SSH session", "ban", lab.Near4)
	if out, code := d.CLI("show", lab.Near4); code != 0 || !strings.Contains(string(out), "never banned: SSH session") {
		t.Errorf("show: exit code %d: %s", code, out)
	}
}
