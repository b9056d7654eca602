package integration

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// A fault is a message that no sender should send.
type fault struct {
	what string
	text []byte
}

const inFault = "203.0.113.66" // whoever a fault accuses

var faults = []fault{
	{"only a priority", []byte("<34>")},
	{"an empty priority", []byte("<>")},
	{"a negative count", []byte("-5 x")},
	{"a priority that is none", []byte("<999>sshd[77]: Failed password for root from " + inFault + " port 4242 ssh2")},
	{"an endless priority", []byte("<38383838383838383838383838>sshd[77]: x")},
	{"NULs", append(make([]byte, 100), "<38>\x00sshd[77]:\x00 Failed password for root from "+inFault+" port 4242 ssh2\x00\x00"...)},
	{"no UTF-8", []byte("<38>1 2026-\xff\xfe-01T00:00:00Z \xc3\x28 sshd\x80 \xf0\x90 - - \xed\xa0\x80 from \xff")},
	{"a date to come", []byte("<38>1 2199-01-01T00:00:00Z srv sshd 77 - - Failed password for root from " + inFault + " port 4242 ssh2")},
	{"a date that is none", []byte("<38>1 2026-13-45T99:99:99Z srv sshd 77 - - Failed password for root from " + inFault + " port 4242 ssh2")},
	{"a version to come", []byte("<38>2147483648 - - - - - - -")},
	{"structured data without end", []byte(`<38>1 - srv sshd 77 - [a b="` + strings.Repeat(`\"`, 3000))},
	{"a name of the sender's choice", []byte("<38>" + strings.Repeat("A", 7000) + "[77]: Failed password for root from " + inFault + " port 4242 ssh2")},
	{"escapes", []byte("<38>sshd[77]: Failed password for \x1b]0;pwned\x07\x1b[2J\r from " + inFault + " port 4242 ssh2")},
	{"a byte order mark and nothing", []byte("<38>1 - - - - - - \xef\xbb\xbf")},
	{"a line of 10 MB", []byte("<38>sshd[77]: Failed password for " + strings.Repeat("x", 10<<20) + " from " + inFault + " port 4242 ssh2")},
}

// whole is a jail that adds everything up and bans nobody here.
const whole = "jails: {ssh: {tiers: [{maxretry: 1000, findtime: 1d, bantime: 1d}]}}\n"

// dial connects to a listener of the daemon as root does on its host.
func dial(t *testing.T, srv *lab.Host, network, addr string) net.Conn {
	t.Helper()
	var c net.Conn
	if err := srv.Do(func() (err error) {
		c, err = net.Dial(network, addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// counted waits until the jail has counted n failures of an address.
func counted(t *testing.T, d *lab.Daemon, addr string, n int) {
	t.Helper()
	lab.Wait(t, fmt.Sprintf("%d failures of %s", n, addr), func() bool {
		sheet := sheetOf(t, d, addr)
		return sheet.sum("ssh", 1000) == uint32(n)
	})
}

// Whatever a sender sends, what was sent before and after it counts, all of it is counted, and the daemon lives.
func TestBadInput(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(bin, whole)

	f := func(network, addr, offender string, longest int) {
		t.Helper()
		c := dial(t, srv, network, addr)
		end := ""
		if network == "tcp" {
			end = "\n"
		}
		send := func(b []byte) {
			t.Helper()
			if _, err := c.Write(slices.Concat(b[:min(len(b), longest)], []byte(end))); err != nil {
				t.Fatalf("%s: %v", network, err)
			}
		}
		good := []byte(strings.TrimSpace(string(failures(1, offender))))
		send(good)
		for _, bad := range faults {
			send(bad.text)
			send(good)
		}
		name := strings.TrimSuffix(network, "gram") + " " + addr
		want := uint64(2*len(faults) + 1)
		lab.Wait(t, name, func() bool { return status(d).at(t, name).Processed >= want })
		l := status(d).at(t, name)
		t.Logf("%s: received %d, cut %d, malformed %d", name, l.Received, l.Cut, l.Malformed)
		if l.Received != want || l.Processed != want || l.Cut != 1 || l.Malformed == 0 || l.Panics != 0 || l.Dropped["full"]+l.Dropped["kernel"] != 0 {
			t.Errorf("%s: got %+v, want %d received and processed, 1 cut", name, l, want)
		}
		counted(t, d, offender, len(faults)+1)
	}
	const endless = 1 << 30
	f("tcp", "127.0.0.1:5514", "203.0.113.1", endless)
	f("udp", "127.0.0.1:5514", "203.0.113.2", 65507) // the most that UDP carries
	f("unixgram", "/run/rapsheet/log", "203.0.113.3", 200000)
	if !d.Running() {
		t.Error("the daemon has ended")
	}
	if b := d.MustCLI("show", inFault); bytes.ContainsAny(b, "\x1b\x07\r\x00\x80\xff") {
		t.Errorf("show passes control characters on: %q", b)
	}
}

// A count that lies costs at most its own message and the next, on its own connection.
func TestLyingCounts(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(bin, whole)
	const rounds = 10
	good := func(addr string) []byte { // as rsyslogd counts: with the LF
		b := failures(1, addr)
		return fmt.Appendf(nil, "%d %s", len(b), b)
	}
	other := dial(t, srv, "tcp", "127.0.0.1:5514")
	honest := 0
	f := func(addr string, lie func(n int) string) {
		t.Helper()
		c := dial(t, srv, "tcp", "127.0.0.1:5514")
		sent := 0
		write := func(c net.Conn, b []byte) {
			t.Helper()
			if _, err := c.Write(b); err != nil {
				t.Errorf("%s: %v", addr, err)
			}
		}
		for range rounds {
			for range 4 {
				write(c, good(addr))
				sent++
			}
			b := failures(1, inFault)
			write(c, fmt.Appendf(nil, "%s %s", lie(len(b)), b))
			write(other, good("203.0.113.200"))
			honest++
		}
		for range 4 {
			write(c, good(addr))
			sent++
		}
		write(c, good(addr+"0"))
		count := func(addr string) int {
			sheet := sheetOf(t, d, addr)
			return int(sheet.sum("ssh", 1000))
		}
		lab.Wait(t, "what "+addr+" sent", func() bool { return count(addr+"0") == 1 })
		got := count(addr)
		t.Logf("%q for %d: %d of %d true messages counted around %d lies", lie(62), 62, got, sent, rounds)
		if got < sent-rounds {
			t.Errorf("%s: counted %d of %d: a lie costs more than the next message", addr, got, sent)
		}
	}
	f("203.0.113.1", func(n int) string { return fmt.Sprint(n - 5) })
	f("203.0.113.2", func(n int) string { return fmt.Sprint(n + 5) })
	f("203.0.113.3", func(int) string { return "1" })
	f("203.0.113.4", func(n int) string { return fmt.Sprint(n + n/2) })
	f("203.0.113.5", func(int) string { return "0" })
	f("203.0.113.6", func(int) string { return "99999999999999999999" })
	counted(t, d, "203.0.113.200", honest) // the other connection
	if l := status(d).at(t, "tcp 127.0.0.1:5514"); l.Malformed == 0 || l.Panics != 0 {
		t.Errorf("status: got %+v", l)
	}
}
