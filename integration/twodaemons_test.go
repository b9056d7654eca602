package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// A second daemon says what it shares with the first, ends, and leaves the first as it was.
func TestSecondDaemonEnds(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	bin := lab.Build(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(bin, "")

	const own = "/etc/rapsheet/rapsheet.yaml"
	const ownSocket, ownState = "/run/rapsheet/rapsheet.sock", "/var/lib/rapsheet"
	f := func(listen, socket, state, want string) {
		t.Helper()
		const second = "/etc/rapsheet/second.yaml"
		srv.WriteFile(second, fmt.Sprintf("listen: [%s]\nsocket: %s\nstate: %s\n", listen, socket, state))
		out, code := srv.CLI(bin, "run", "--config", second)
		last := out[strings.LastIndex(strings.TrimSpace("\n"+string(out)), "\n")+1:]
		t.Logf("%s", last)
		if code != 1 || !strings.Contains(string(last), want) {
			t.Errorf("second daemon: exit code %d, want 1 and %q:\n%s", code, want, out)
		}
	}
	f("{unix: /run/second/log}", ownSocket, "/var/lib/second", ownSocket+": another rapsheet answers there")
	f("{unix: /run/second/log}", "/run/second/api", ownState, "another rapsheet")
	f("{unix: /run/rapsheet/log}", "/run/second/api", "/var/lib/second", "/run/rapsheet/log")
	f(`{tcp: "127.0.0.1:5514"}`, "/run/second/api", "/var/lib/second", "address already in use")
	f(`{udp: "127.0.0.1:5514"}`, "/run/second/api", "/var/lib/second", "address already in use")
	fails(t, d.CLI, 1, "another rapsheet answers there", "run", "--config", own)

	unix := dial(t, srv, "unixgram", "/run/rapsheet/log")
	for range 7 {
		if _, err := unix.Write(failures(1, "203.0.113.1")); err != nil {
			t.Fatal(err)
		}
	}
	waitBan(t, d, "ssh", "203.0.113.1/32")
	attack(t, srv, d, 7, "203.0.113.2")
	waitBan(t, d, "ssh", "203.0.113.2/32")
	if h := status(d); h.Mode != "enforce" || h.Sets["rapsheet-ssh-4p"] != 2 {
		t.Errorf("the first daemon: mode %s, sets %v", h.Mode, h.Sets)
	}

	// A crash leaves sockets and locks behind, which are nobody's.
	d.Kill9()
	for _, name := range []string{ownSocket, "/run/rapsheet/log"} {
		if !srv.Exists(name) {
			t.Errorf("%s went with the daemon: this story proves nothing", name)
		}
	}
	d.Start()
	if got := bans(t, d); len(got) != 2 {
		t.Errorf("after the crash: got %v, want two bans", got)
	}
	d.Stop()
	if srv.Exists(ownSocket) || srv.Exists("/run/rapsheet/log") {
		t.Error("stopped in order, the daemon left its sockets")
	}
}
