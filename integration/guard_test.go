package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// hasty has an account of the host connect, tell of one failed login and close, n times. Whoever asks whose the
// connection is comes too late now and then.
func hasty(t *testing.T, srv *lab.Host, uid int, to string, n int, addr string) {
	t.Helper()
	line := failures(1, addr)
	err := srv.Do(func() error {
		if _, err := unix.SetfsuidRetUid(uid); err != nil { // of this thread, which ends
			return err
		}
		for range n {
			c, err := net.Dial("tcp", to)
			if err != nil {
				return err
			}
			_, _ = c.Write(line) // who is refused may notice
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatalf("account %d to %s: %v", uid, to, err)
	}
}

// forgotten is hasty while the daemon hangs, for so long that the kernel does not know any more whose a connection was.
func forgotten(t *testing.T, srv *lab.Host, d *lab.Daemon, uid int, to string, n int, addr string) {
	t.Helper()
	d.Freeze()
	defer d.Thaw()
	lab.Wait(t, "the daemon's threads to stand still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.Pid()))
		return err == nil && !slices.ContainsFunc(threads, func(name string) bool {
			b, err := os.ReadFile(name)
			return err == nil && !strings.Contains(string(b), ") T ")
		})
	})
	hasty(t, srv, uid, to, n, addr)
	lab.Wait(t, "the end of the senders' sockets", func() bool {
		for _, table := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", srv.Pid, table))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				// sl local_address rem_address st: 04 is FIN_WAIT1, 5514 is 158A
				if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[2], ":158A") && f[3] == "04" {
					return false
				}
			}
		}
		return true
	})
}

// logs is hasty by Debian's logger, a process each.
func logs(t *testing.T, srv *lab.Host, uid uint32, to string, n int, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(to)
	_, err := srv.RunAs(t.Context(), uid, "bash", "-c", fmt.Sprintf(`for ((i = 0; i < %d; i++)); do
logger -T -n %s -P %s --octet-count -t sshd "Failed password for root from %s port 4242 ssh2"; done; true`, n, host, port, addr))
	if err != nil {
		t.Fatal(err)
	}
}

// Local programs that send one message and are gone are heard when they may send, all of them, and refused and counted
// when they may not: from the first moment bans are enforced, and after a crash too.
func TestHastyClients(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "logger", "bash")
	bin := lab.Build(t)
	const n = 200
	f := func(listen string, to ...string) {
		t.Helper()
		srv := lab.Up(t, lab.Srv).Host("srv")
		d := srv.Rapsheet(bin, `mode: observe
jails: {ssh: {tiers: [{maxretry: 1000, findtime: 1d, bantime: 10m}]}}
listen: [{name: tcp, tcp: "`+listen+`", uids: [4711], senders: ["127.0.0.0/8", "::1", "198.51.100.1", "2001:db8::1"]}]
`)
		var heard, unheard []string // what is told of
		// tell has n connections made about a new address, and returns how many were heard and how many refused.
		tell := func(what string, send func(addr string)) (string, uint64, uint64) {
			t.Helper()
			before, addr := status(d).at(t, "tcp"), fmt.Sprintf("203.0.113.%d", 1+len(heard)+len(unheard))
			send(addr)
			var received, refused uint64
			lab.Wait(t, what+": all connections to be dealt with", func() bool {
				l := status(d).at(t, "tcp")
				received, refused = l.Processed-before.Processed, l.Refused["uid"]-before.Refused["uid"]
				return received+refused >= n
			})
			return addr, received, refused
		}
		hears := func(what string, send func(addr string)) {
			t.Helper()
			addr, received, refused := tell(what, send)
			if heard = append(heard, addr); received != n || refused != 0 {
				t.Errorf("%s, listening on %s: got %d received and %d refused, want all %d received", what, listen, received, refused, n)
			}
		}
		refuses := func(what string, send func(addr string)) {
			t.Helper()
			addr, received, refused := tell(what, send)
			if unheard = append(unheard, addr); received != 0 || refused != n {
				t.Errorf("%s, listening on %s: got %d received and %d refused, want all %d refused", what, listen, received, refused, n)
			}
		}
		all := func(when string) {
			t.Helper()
			for _, to := range to {
				hears(when+", root to "+to, func(addr string) { hasty(t, srv, 0, to, n, addr) })
				hears(when+", an account of uids to "+to, func(addr string) { hasty(t, srv, 4711, to, n, addr) })
				hears(when+", root to "+to+" while we hang", func(addr string) { forgotten(t, srv, d, 0, to, n, addr) })
				refuses(when+", nobody to "+to+" while we hang", func(addr string) { forgotten(t, srv, d, nobody, to, n, addr) })
				refuses(when+", nobody to "+to, func(addr string) { hasty(t, srv, nobody, to, n, addr) })
			}
			hears(when+", root's logger", func(addr string) { logs(t, srv, 0, to[0], n, addr) })
			refuses(when+", nobody's logger", func(addr string) { logs(t, srv, nobody, to[0], n, addr) })
		}

		if got := tables(t, srv); len(got) != 0 {
			t.Errorf("observing: got tables %v, want none", got)
		}
		refuses("observing, nobody", func(addr string) { forgotten(t, srv, d, nobody, to[0], n, addr) })
		d.MustCLI("arm")
		all("armed")
		d.Kill9()
		d.Start()
		all("killed and started")
		for _, addr := range heard {
			if s := sheetOf(t, d, addr); s.sum("ssh", 1000) != n {
				t.Errorf("listening on %s: failures of %s: got %d, want %d", listen, addr, s.sum("ssh", 1000), n)
			}
		}
		for _, addr := range unheard {
			if s := sheetOf(t, d, addr); s.sum("ssh", 1000) != 0 {
				t.Errorf("listening on %s: forged failures of %s: got %d, want none", listen, addr, s.sum("ssh", 1000))
			}
		}

		d.MustCLI("disarm")
		if got := tables(t, srv); slices.Contains(got, "rapsheet") {
			t.Errorf("disarmed: got tables %v", got)
		}
		refuses("disarmed, nobody", func(addr string) { forgotten(t, srv, d, nobody, to[0], n, addr) })
		// Nobody vouches for root now: so what was heard before was heard because of the rule.
		refuses("disarmed, root", func(addr string) { forgotten(t, srv, d, 0, to[0], n, addr) })
		if got := bans(t, d); len(got) != 0 {
			t.Errorf("bans: got %v, want none", got)
		}
	}
	f("127.0.0.1:5514", "127.0.0.1:5514")
	f("[::1]:5514", "[::1]:5514")
	f(":5514", "127.0.0.1:5514", "[::1]:5514", "[::ffff:127.0.0.1]:5514", lab.Srv4+":5514", "["+lab.Srv6+"]:5514")
}
