package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A daemon as the lab expects one: it answers to status while it runs, and keeps a count of its starts as its state.
const stub = `#!/bin/sh
case $1 in
run)
	echo run >>/var/lib/starts
	trap 'rm -f /run/stub.pid; exit 0' TERM
	echo "$*"
	echo $$ >/run/stub.pid
	while :; do sleep 0.02; done ;;
status)
	kill -0 "$(cat /run/stub.pid)" 2>/dev/null || { echo "no daemon" >&2; exit 1; }
	printf '{"mode": "%s", "starts": %d}\n' "$(cut -d' ' -f2 /etc/rapsheet/rapsheet.yaml)" "$(wc -l </var/lib/starts)" ;;
*)
	echo "usage: stub"
	echo "no command $1" >&2
	exit 2 ;;
esac
`

func TestDaemon(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "stub")
	if err := os.WriteFile(bin, []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	d := Up(t, Srv).Host("srv").Rapsheet(bin, "mode: observe\n", "--flag")

	f := func(mode string, starts int) {
		t.Helper()
		var got struct {
			Mode   string
			Starts int
		}
		d.StatusJSON(&got)
		if got.Mode != mode || got.Starts != starts {
			t.Errorf("status: got %+v, want %s, %d", got, mode, starts)
		}
	}
	f("observe", 1)
	if got := string(d.Output()); got != "run --config /etc/rapsheet/rapsheet.yaml --flag\n" {
		t.Errorf("arguments: got %q", got)
	}
	d.Configure("mode: enforce\n")
	d.Restart()
	f("enforce", 2)

	d.Kill9()
	if out, code := d.CLI("status"); code != 1 || string(out) != "no daemon\n" {
		t.Errorf("status of a dead daemon: got %q, %d", out, code)
	}
	d.Start("--other")
	f("enforce", 3)
	Wait(t, "the new flags", func() bool { return strings.Contains(string(d.Output()), " --other") })

	state := func(want string) {
		t.Helper()
		Wait(t, "state "+want, func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
			return err == nil && strings.Contains(string(b), "State:\t"+want)
		})
	}
	d.Freeze()
	state("T")
	d.Thaw()
	state("S")
	if out, code := d.CLI("juggle"); code != 2 || string(out) != "usage: stub\nno command juggle\n" {
		t.Errorf("wrong command: got %q, %d", out, code)
	}
	d.Stop()
	if d.Running() {
		t.Error("stop: still running")
	}
}
