package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program returns the path of a program, or skips the test. With RAPSHEET_NO_SKIP=1 one that must be there, must be.
func program(t *testing.T, name, pack string, must bool) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if must && os.Getenv("RAPSHEET_NO_SKIP") == "1" {
		t.Fatalf("no %s: install %s", name, pack)
	}
	t.Skipf("no %s on this host: install %s to run this test", name, pack)
	return ""
}

// rsyslogd itself reads the snippet and finds nothing to complain of.
func TestRsyslogSnippet(t *testing.T) {
	rsyslogd := program(t, "rsyslogd", "rsyslog", true)
	snippet, err := filepath.Abs("rsyslog/rapsheet.conf")
	if err != nil {
		t.Fatal(err)
	}
	check := func(conf string) (string, error) {
		t.Helper()
		dir := t.TempDir()
		main := filepath.Join(dir, "rsyslog.conf")
		text := `global(workDirectory="` + dir + `")` + "\n" + conf + "\n"
		if err := os.WriteFile(main, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(rsyslogd, "-N1", "-f", main).CombinedOutput()
		return string(out), err
	}
	quiet := func(out string) bool {
		return !strings.Contains(out, "error") && !strings.Contains(out, "warning") && !strings.Contains(out, "not known")
	}
	include := `include(file="` + snippet + `")`
	const after = "\n*.* /dev/null" // what stands behind it is still reached
	if out, err := check(include + after); err != nil || !quiet(out) {
		t.Errorf("rsyslogd -N1: %v\n%s", err, out)
	}
	if out, err := check(`action(type="omfwd" target="127.0.0.1" queue.timeoutEnque="0")`); err == nil && quiet(out) {
		t.Errorf("a wrong parameter: rsyslogd -N1 did not complain, so the test says nothing\n%s", out)
	}
}

// The promises of the snippet that no syntax check would miss.
func TestRsyslogPromises(t *testing.T) {
	src, err := os.ReadFile("rsyslog/rapsheet.conf")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for line := range strings.Lines(string(src)) {
		line, _, _ = strings.Cut(line, "#")
		code.WriteString(line)
	}
	for _, want := range []string{`"auth,authpriv.*;mail.info"`, `TCP_Framing="octet-counted"`, `target="127.0.0.1" port="5514"`,
		`template="RSYSLOG_SyslogProtocol23Format"`, `queue.timeoutEnqueue="0"`, `action.resumeRetryCount="-1"`, `queue.filename=`} {
		if !strings.Contains(code.String(), want) {
			t.Errorf("rapsheet.conf: no %s", want)
		}
	}
	if strings.Contains(code.String(), "stop") {
		t.Error("rapsheet.conf: stop would end what stands behind it")
	}
}

func TestSystemdUnit(t *testing.T) {
	analyze := program(t, "systemd-analyze", "systemd", false)
	src, err := os.ReadFile("systemd/rapsheet.service")
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/rapsheet"
	if !strings.Contains(string(src), "ExecStart="+installed+" run\n") {
		t.Fatalf("unit does not run %s", installed)
	}
	verify := func(text string) (string, error) {
		t.Helper()
		unit := filepath.Join(t.TempDir(), "rapsheet.service")
		if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
		if strings.Contains(string(out), "Failed to") && !strings.Contains(string(out), unit) {
			t.Skipf("systemd-analyze does not work here: %s", out)
		}
		var ours strings.Builder // other units of the host are not to be judged
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "rapsheet") {
				ours.WriteString(line)
			}
		}
		return ours.String(), err
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(src), installed, self)
	if out, _ := verify(text); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	if out, _ := verify(strings.Replace(text, "MemoryDenyWriteExecute", "MemoryDenyWriteExecutes", 1)); out == "" {
		t.Error("a wrong key: systemd-analyze verify did not complain, so the test says nothing")
	}
}

func TestSystemdPromises(t *testing.T) {
	src, err := os.ReadFile("systemd/rapsheet.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Type=exec", "User=rapsheet", "ExecReload=/bin/kill -HUP $MAINPID", "Before=network.target",
		"AmbientCapabilities=CAP_NET_ADMIN", "CapabilityBoundingSet=CAP_NET_ADMIN", "StateDirectoryMode=0700", "RuntimeDirectory=rapsheet",
		"ProtectSystem=strict", "NoNewPrivileges=yes", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service",
		"RestrictAddressFamilies=AF_NETLINK AF_UNIX AF_INET AF_INET6"} {
		if !strings.Contains(string(src), "\n"+want+"\n") {
			t.Errorf("rapsheet.service: no line %s", want)
		}
	}
}
