package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long the lab waits for anything that should take a fraction of a second: the machine may be busy.
const patience = 20 * time.Second

// Where hosts find programs, whatever the PATH of whoever runs the tests.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var environ = []string{"PATH=" + searchPath, "HOME=/root", "USER=root", "LANG=C", "TERM=dumb"}

// packages says which Debian package has a program, where the names differ.
var packages = map[string]string{
	"ip": "iproute2", "rsyslogd": "rsyslog", "sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client",
	"nc": "netcat-openbsd", "useradd": "passwd", "chpasswd": "passwd", "mount": "mount", "logger": "bsdutils", "nft": "nftables",
	"setpriv": "util-linux", "sleep": "coreutils",
}

// Need skips the test unless every program is installed.
func Need(tb testing.TB, programs ...string) {
	tb.Helper()
	for _, name := range programs {
		if path(name) == "" {
			pkg := packages[name]
			if pkg == "" {
				pkg = name
			}
			Skip(tb, "lab: "+name+" is not installed: apt-get install "+pkg)
		}
	}
}

// NeedRoot skips the test unless it runs as root.
func NeedRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		Skip(tb, "lab: needs root: hosts are namespaces with mounts of their own")
	}
}

// Skip skips the test and says why, or fails it if RAPSHEET_NO_SKIP=1: where everything is installed on purpose, a
// skipped story is a mistake.
func Skip(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv("RAPSHEET_NO_SKIP") == "1" {
		tb.Fatal(why + " (and RAPSHEET_NO_SKIP=1)")
	}
	tb.Skip(why)
}

// Wait calls f until it reports true, and ends the test when that does not happen in 20 seconds.
func Wait(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	if !poll(f) {
		tb.Fatalf("lab: waited in vain for %s", what)
	}
}

func poll(f func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// path finds a program, and returns "" where it is missing.
func path(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range strings.Split(searchPath, ":") {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}
