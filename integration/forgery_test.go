package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// nobody is an account that may do nothing.
const nobody = 65534

// forge has an account without rights send n failed logins of addr: to a port of this host, or a unix socket.
func forge(t *testing.T, srv *lab.Host, to string, n int, addr string) error {
	t.Helper()
	file := "/run/forged-" + addr
	srv.WriteFile(file, strings.Repeat("Failed password for root from "+addr+" port 4242 ssh2\n", n))
	logger := []string{"logger", "--socket-errors=on", "-t", "sshd", "-p", "auth.info", "-f", file}
	switch to {
	case "tcp": // logger would connect again and again
		srv.WriteFile(file, string(failures(n, addr)))
		logger = []string{"bash", "-c", "cat " + file + " >/dev/tcp/127.0.0.1/5514"}
	case "udp":
		logger = append(logger, "-d", "-n", "127.0.0.1", "-P", "5514")
	default:
		logger = append(logger, "-u", to)
	}
	_, err := srv.RunAs(t.Context(), nobody, logger[0], logger[1:]...)
	return err
}

// Any local account can write what sshd would. It gets nobody banned by the unix socket and TCP, where the kernel says
// who writes, and for no longer than a day by UDP, where nobody knows.
func TestForgedMessages(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "logger")
	bin := lab.Build(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(bin, "")

	if err := forge(t, srv, "/run/rapsheet/log", 21, "203.0.113.1"); err == nil {
		t.Error("unix socket: any account may open it")
	}
	const tcp, udp = "tcp 127.0.0.1:5514", "udp 127.0.0.1:5514"
	for n, addr := range map[int]string{21: "203.0.113.3", 60: "203.0.113.4"} {
		_ = forge(t, srv, "tcp", n, addr) // the connection is ended: who writes may notice
	}
	for n, addr := range map[int]string{21: "203.0.113.5", 60: "203.0.113.6"} {
		if err := forge(t, srv, "udp", n, addr); err != nil {
			t.Fatal(err)
		}
	}
	lab.Wait(t, "the forged messages to be counted", func() bool {
		h := status(d)
		return h.at(t, tcp).Refused["uid"] == 2 && h.at(t, udp).Processed == 81
	})
	for who, b := range bans(t, d) {
		if who != "203.0.113.5/32" && who != "203.0.113.6/32" {
			t.Errorf("banned by a listener that knows its senders: %+v", b)
		}
		if length(b) > 24*time.Hour {
			t.Errorf("banned for longer than the untrusted limit: %s, %s", who, length(b))
		}
		t.Logf("by UDP: %s for %s: %s", who, length(b), b.Reason)
	}
	h := status(d)
	t.Logf("refused by TCP: %v; received by UDP: %d", h.at(t, tcp).Refused, h.at(t, udp).Received)
	if got := h.at(t, tcp).Received; got != 0 {
		t.Errorf("received by TCP: got %d, want 0", got)
	}
}

// The same where the only threshold is the one for a year, with a socket that everybody may open: what would ban for
// longer than a day counts for nothing, alone or behind true failures.
func TestForgedMessagesNeverBanForAYear(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "logger")
	bin := lab.Build(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(bin, `jails: {ssh: {tiers: [{maxretry: 21, findtime: 1y, bantime: 1y}]}}
listen:
  - {unix: /run/rapsheet/log, mode: "0666", name: local}
  - {tcp: "127.0.0.1:5514", name: tcp}
  - {udp: "127.0.0.1:5514", name: udp}
`)
	processed := func(name string, n uint64) {
		t.Helper()
		lab.Wait(t, "messages by "+name, func() bool { return status(d).at(t, name).Processed == n })
	}
	for i, to := range []string{"/run/rapsheet/log", "udp"} {
		if err := forge(t, srv, to, 21, []string{"203.0.113.1", "203.0.113.3"}[i]); err != nil {
			t.Fatal(err)
		}
		if err := forge(t, srv, to, 60, []string{"203.0.113.2", "203.0.113.4"}[i]); err != nil {
			t.Fatal(err)
		}
	}
	processed("udp", 81)
	lab.Wait(t, "the unix socket to count what it refused", func() bool { return status(d).at(t, "local").Refused["uid"] == 81 })

	// 20 true failures, then forged ones: it is not the last message that decides.
	attack(t, srv, d, 20, "203.0.113.5")
	if err := forge(t, srv, "udp", 60, "203.0.113.5"); err != nil {
		t.Fatal(err)
	}
	processed("udp", 141)
	if got := bans(t, d); len(got) != 0 {
		t.Errorf("bans by forged messages: got %v, want none", got)
	}
	attack(t, srv, d, 1, "203.0.113.5") // the 21st true one
	lasts(t, waitBan(t, d, "ssh", "203.0.113.5/32"), year)
}

// A host that is not among a listener's senders is refused, and counted.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv, lab.Web2, lab.Atk)
	srv, web2, atk := l.Host("srv"), l.Host("web2"), l.Host("atk")
	d := srv.Rapsheet(bin, `listen:
  - {tcp: "198.51.100.1:5514", senders: [198.51.100.66], name: tcp}
  - {udp: "198.51.100.1:5514", senders: [198.51.100.66], name: udp}
`)
	for _, network := range []string{"tcp", "udp"} {
		send := func(h *lab.Host, from, addr string) {
			for range 21 {
				_ = h.Send(t.Context(), network, from, lab.Srv4, 5514, failures(1, addr)) // a refused connection may break
			}
		}
		send(web2, lab.Web4, "203.0.113.1")
		send(atk, lab.Atk4, "203.0.113.2")
	}
	lab.Wait(t, "all to be counted", func() bool {
		h := status(d)
		for _, name := range []string{"tcp", "udp"} {
			if l := h.at(t, name); l.Refused["sender"] != 21 || l.Processed != 21 {
				return false
			}
		}
		return true
	})
	if got := bans(t, d); len(got) != 1 || got["203.0.113.2/32"].Jail != "ssh" {
		t.Errorf("bans: got %v, want that of the known sender's messages", got)
	}
}

// Whoever is in the socket's group may look, root may change, everybody else may do neither.
func TestWhoMayCommand(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "setpriv")
	bin := lab.Build(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(bin, "")
	d.MustCLI("ban", "203.0.113.1")

	as := func(gid string) func(args ...string) ([]byte, int) {
		return func(args ...string) ([]byte, int) {
			return srv.CLI("setpriv", append([]string{"--reuid=65534", "--regid=" + gid, "--clear-groups", bin}, args...)...)
		}
	}
	changes := [][]string{{"ban", "203.0.113.2"}, {"unban", "203.0.113.1"}, {"disarm"}, {"disarm", "--remove"}, {"arm"}}
	for _, args := range append(changes, []string{"status"}, []string{"list"}, []string{"show", "203.0.113.1"}) {
		fails(t, as("65534"), 1, "not permitted", args...)
	}
	group := as("0") // the lab's hosts have no group rapsheet: the socket's is root's
	for _, args := range changes {
		fails(t, group, 1, "uid 65534 is not among the admins", args...)
	}
	for _, args := range [][]string{{"status"}, {"list"}, {"show", "203.0.113.1"}} {
		if out, code := group(args...); code != 0 {
			t.Errorf("the group's rapsheet %v: exit code %d: %s", args, code, out)
		}
	}
	if h := status(d); h.Mode != "enforce" || h.Sets["rapsheet-manual-4"] != 1 || len(bans(t, d)) != 1 {
		t.Errorf("after all that: mode %s, sets %v", h.Mode, h.Sets)
	}
}
