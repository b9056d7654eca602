package allow

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The child has SSH_CONNECTION and starts the grandchild without it; the grandchild says whom it finds.
func TestSessions(t *testing.T) {
	const role = "ALLOW_TEST_ROLE"
	again := func(next string, env ...string) ([]byte, error) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSessions$", "-test.count=1")
		cmd.Env = append(append([]string{}, env...), role+"="+next)
		return cmd.CombinedOutput()
	}
	switch os.Getenv(role) {
	case "child":
		out, err := again("grandchild")
		os.Stdout.Write(out)
		if err != nil {
			t.Fatal(err)
		}
	case "grandchild":
		fmt.Printf("found %v\n", sessions("/proc"))
	default:
		want := append(addrs("198.51.100.10"), sessions("/proc")...) // whoever runs the tests may sit in a session himself
		out, err := again("child", "SSH_CONNECTION=198.51.100.10 50022 192.0.2.2 22")
		if err != nil || !strings.Contains(string(out), fmt.Sprintf("found %v\n", want)) {
			t.Errorf("got %v %s, want %v", err, out, want)
		}
	}
}

func TestClient(t *testing.T) {
	f := func(env, want string) {
		t.Helper()
		got := client([]byte(env))
		if want == "" && got.IsValid() || want != "" && got != addr(want) {
			t.Errorf("%q: got %s, want %s", env, got, want)
		}
	}
	f("A=b\x00SSH_CONNECTION=198.51.100.10 50022 192.0.2.2 22\x00C=d\x00", "198.51.100.10")
	f("SSH_CONNECTION=fe80::5%eth0 50022 fe80::1%eth0 22", "fe80::5")
	f("SSH_CONNECTION=::ffff:198.51.100.10 50022 ::ffff:192.0.2.2 22\x00", "198.51.100.10")
	f("SSH_CONNECTION=UNKNOWN 50022 192.0.2.2 22\x00", "")
	f("XSSH_CONNECTION=198.51.100.10 50022\x00", "")
	f("SSH_CONNECTION=\x00", "")
	f("", "")
}

func TestParent(t *testing.T) {
	f := func(stat string, want int) {
		t.Helper()
		got, err := parent([]byte(stat))
		if got != want || err != nil {
			t.Errorf("%q: got %d %v, want %d", stat, got, err, want)
		}
	}
	f("7 (sshd) S 5 7 7 0 -1", 5)
	f("7 (a) S 1 (b) R 6 7", 6)
	f("1 (init) S 0 1 1", 0)
	if _, err := parent([]byte("7 (x)")); err == nil {
		t.Error("cut off: no error")
	}
	if pid, err := os.ReadFile("/proc/self/stat"); err != nil {
		t.Error(err)
	} else if got, err := parent(pid); got != os.Getppid() {
		t.Errorf("our own: got %d %v, want %d", got, err, os.Getppid())
	}
}

func TestNameservers(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i, text := range []string{
		"# nameserver 192.0.2.9\nsearch example\nnameserver 127.0.0.53\nnameserver\t2001:db8::53%eth0 # x\n nameserver 203.0.113.53\r\nnameserver\nnameserver x\n;nameserver 192.0.2.8\nnameservers 192.0.2.7",
		"nameserver 203.0.113.53\nnameserver ::ffff:203.0.113.54",
	} {
		paths = append(paths, filepath.Join(dir, strconv.Itoa(i)))
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := resolvers(append(paths, filepath.Join(dir, "missing")))
	if want := addrs("127.0.0.53", "2001:db8::53", "203.0.113.53", "203.0.113.54"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Whatever other programs leave in the environment and in resolv.conf, what comes out are plain addresses.
func FuzzEnviron(f *testing.F) {
	f.Add([]byte("A=b\x00SSH_CONNECTION=198.51.100.10 50022 192.0.2.2 22\x00"))
	f.Add([]byte("nameserver 2001:db8::53%eth0\nnameserver ::ffff:192.0.2.1\n"))
	f.Add([]byte("7 (a) b) S 5 6"))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain := func(a netip.Addr) {
			if a.Is4In6() || a.Zone() != "" {
				t.Fatalf("%q: got %s", b, a)
			}
		}
		plain(client(b))
		for _, a := range nameservers(string(b)) {
			plain(a)
			if !a.IsValid() {
				t.Fatalf("%q: no address", b)
			}
		}
		if pid, err := parent(b); err == nil && len(strings.Fields(string(b))) < 2 {
			t.Fatalf("%q: parent %d", b, pid)
		}
	})
}
