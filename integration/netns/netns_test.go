package netns

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestRun(t *testing.T) {
	Run(t, func(t *testing.T) {
		if !Inside() {
			t.Fatal("not inside")
		}
		links, err := netlink.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if l.Type() == "veth" {
				t.Errorf("link: got %s, which is another namespace's", l.Attrs().Name)
			}
		}
	})
}

func TestRunSubtest(t *testing.T) {
	ran := Inside()
	t.Run("name with spaces (and more)", func(t *testing.T) {
		Run(t, func(t *testing.T) { ran = true })
	})
	if Inside() && !ran {
		t.Error("the subtest did not run inside")
	}
}

// Run must fail when the test inside fails, and say what it said. That takes a test that fails: it does so only when
// TestRunFails runs it, as an ordinary user where this is root.
func TestRunFails(t *testing.T) {
	const fail = "RAPSHEET_NETNS_FAIL"
	if os.Getenv(fail) != "" {
		Run(t, func(t *testing.T) { t.Error("on purpose") })
		return
	}
	Run(t, func(*testing.T) {}) // skips this test where namespaces are forbidden
	if Inside() {
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRunFails$")
	cmd.Env = append(os.Environ(), fail+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "on purpose") {
		t.Errorf("a test that fails inside: got %v, output %s", err, out)
	}
}

func TestProber(t *testing.T) {
	Run(t, func(t *testing.T) {
		here, err := Current()
		if err != nil {
			t.Fatal(err)
		}
		defer here.Close()
		there, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		prefixes := func(s ...string) (p []netip.Prefix) {
			for _, s := range s {
				p = append(p, netip.MustParsePrefix(s))
			}
			return p
		}
		err = Join(End{here, "a0", prefixes("192.0.2.1/24", "2001:db8::1/64")},
			End{there, "b0", prefixes("192.0.2.66/24", "192.0.2.67/24", "2001:db8::66/64", "2001:db8::67/64")})
		if err != nil {
			t.Fatal(err)
		}
		f := func(to, src, control string, want bool) {
			t.Helper()
			var c netip.Addr
			if control != "" {
				c = netip.MustParseAddr(control)
			}
			p, err := NewProber(here, there, netip.MustParseAddrPort(to), c)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for name, probe := range map[string]func(netip.Addr) (bool, error){"udp": p.UDP, "tcp": p.TCP} {
				if got, err := probe(netip.MustParseAddr(src)); err != nil || got != want {
					t.Errorf("%s from %s to %s: got %v, %v, want %v", name, src, to, got, err, want)
				}
			}
		}
		f("192.0.2.1:0", "192.0.2.66", "192.0.2.67", true)
		f("192.0.2.1:0", "192.0.2.66", "", true)
		f("[2001:db8::1]:0", "2001:db8::66", "2001:db8::67", true)

		stranger, err := NewProber(here, there, netip.MustParseAddrPort("192.0.2.1:0"), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if _, err := stranger.TCP(netip.MustParseAddr("192.0.2.99")); err == nil {
			t.Error("tcp from an address that is nowhere: got no error")
		}

		// A route that leads nowhere stands for a rule that drops.
		lost := netlink.Route{Type: 6 /* blackhole */, Dst: mustNet(t, "192.0.2.66/32")}
		p, err := NewProber(here, there, netip.MustParseAddrPort("192.0.2.1:0"), netip.MustParseAddr("192.0.2.67"))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := netlink.RouteAdd(&lost); err != nil {
			t.Fatal(err)
		}
		if got, err := p.TCP(netip.MustParseAddr("192.0.2.66")); err != nil || got {
			t.Errorf("tcp whose answers are lost: got %v, %v, want false", got, err)
		}
	})
}

func mustNet(t *testing.T, s string) *net.IPNet {
	t.Helper()
	n, err := netlink.ParseIPNet(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPattern(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := pattern(in); got != want {
			t.Errorf("pattern: got %q, want %q", got, want)
		}
	}
	f("TestA", "^TestA$")
	f("TestA/b.c", `^TestA$/^b\.c$`)
}

func TestPath(t *testing.T) {
	n, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	got, err := os.Stat(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(got, want) {
		t.Errorf("path: %s is not this namespace", n.Path())
	}
}
