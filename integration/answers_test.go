package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A health is what stories read of rapsheet status --json.
type health struct {
	Mode         string
	Off          string
	Protected    bool
	Warnings     []string
	Listeners    []listener
	Jails        []struct{ Name string }
	Sets         map[string]int
	Repaired     uint64
	NotProtected []string `json:"not_protected"`
	NeverBanned  struct {
		Allowed int
		Dropped map[string]uint64
	} `json:"never_banned"`
	Store struct {
		Degraded bool
		Reason   string
		Pending  int
		Dropped  map[string]uint64
		Damaged  []string `json:"set_aside"`
	}
}

type listener struct {
	Name, Kind             string
	Trusted                bool
	Received, Processed    uint64
	Cut, Malformed, Panics uint64
	Refused, Dropped       map[string]uint64
	Senders                []struct{ Addr, Name string }
}

// status asks the daemon how it is.
func status(d *lab.Daemon) (h health) {
	d.StatusJSON(&h)
	return h
}

// at returns the listener of that name: "tcp 127.0.0.1:5514".
func (h health) at(t *testing.T, name string) listener {
	t.Helper()
	for _, l := range h.Listeners {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("status: no listener %q", name)
	return listener{}
}

// bans asks the daemon for the bans that run, by prefix.
func bans(t *testing.T, d *lab.Daemon) map[string]event.Ban {
	t.Helper()
	var list []event.Ban
	if err := json.Unmarshal(d.MustCLI("list", "--json"), &list); err != nil {
		t.Fatalf("rapsheet list --json: %v", err)
	}
	all := map[string]event.Ban{}
	for _, s := range list {
		all[s.Prefix.String()] = s
	}
	return all
}

// year is how long the longest default ban is.
const year = 365 * 24 * time.Hour

func length(b event.Ban) time.Duration { return b.Until.Sub(b.Issued) }

// failures are n failed logins of one address, framed by line feeds, as they come from a sender that puts its own stamps.
func failures(n int, addr string) []byte {
	var b []byte
	for range n {
		b = fmt.Appendf(b, "<38>sshd[77]: Failed password for root from %s port 4242 ssh2\n", addr)
	}
	return b
}

// fails checks that a command fails with that exit code, and that it says why.
func fails(t *testing.T, cli func(args ...string) ([]byte, int), code int, why string, args ...string) {
	t.Helper()
	if out, got := cli(args...); got != code || !strings.Contains(string(out), why) {
		t.Errorf("rapsheet %s: got exit code %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, why, out)
	}
}

// tell writes to the daemon's TCP listener as root does on its host, and waits until n messages have been dealt with. Only
// then it hangs up: whose a closed connection was, the kernel does not say, and the daemon refuses it.
func tell(t *testing.T, srv *lab.Host, d *lab.Daemon, n int, b []byte) {
	t.Helper()
	var c net.Conn
	err := srv.Do(func() (err error) {
		c, err = net.Dial("tcp", "127.0.0.1:5514")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	processed := func() (sum uint64) {
		for _, l := range status(d).Listeners {
			if l.Kind == "tcp" {
				sum += l.Processed
			}
		}
		return sum
	}
	before := processed()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	lab.Wait(t, "messages to be processed", func() bool { return processed() >= before+uint64(n) })
}

// attack tells the daemon of n failed logins.
func attack(t *testing.T, srv *lab.Host, d *lab.Daemon, n int, addr string) {
	t.Helper()
	tell(t, srv, d, n, failures(n, addr))
}
