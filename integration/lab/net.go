package lab

import (
	"fmt"
	"net"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// A Spec is a host's name and place in the network: 198.51.100.0/24 and 2001:db8::/64, one segment.
type Spec struct {
	Name   string   // at most 15 characters
	Addrs  []string // with prefix lengths
	Local  []string // addresses that others must route to it, on no segment
	Routes []string // as for ip route add: 2001:db8:66::/64 via 2001:db8::70
}

// The addresses of the hosts.
const (
	Srv4, Srv6   = "198.51.100.1", "2001:db8::1"
	Web4, Web6   = "198.51.100.2", "2001:db8::2"
	Atk4, Atk6   = "198.51.100.66", "2001:db8::66" // the attacker
	Near4, Near6 = "198.51.100.67", "2001:db8::67" // its neighbour: same host, same /24 and /64
)

// Addresses of the attacker's that srv and web2 reach by a route: two in one /64, and one in the /64 beside it.
const (
	Routed6     = "2001:db8:66::1"
	Routed6Same = "2001:db8:66::2"
	Routed6Next = "2001:db8:67::1"
)

var routes = []string{"2001:db8:66::/64 via 2001:db8::70", "2001:db8:67::/64 via 2001:db8::70"}

// The hosts of the stories: a server, a second server that sends its messages to the first, and an attacker who holds
// .66 to .70 of both networks and two networks of his own.
var (
	Srv  = Spec{Name: "srv", Addrs: []string{Srv4 + "/24", Srv6 + "/64"}, Routes: routes}
	Web2 = Spec{Name: "web2", Addrs: []string{Web4 + "/24", Web6 + "/64"}, Routes: routes}
	Atk  = Spec{Name: "atk", Addrs: []string{
		Atk4 + "/24", Near4 + "/24", "198.51.100.68/24", "198.51.100.69/24", "198.51.100.70/24",
		Atk6 + "/64", Near6 + "/64", "2001:db8::68/64", "2001:db8::69/64", "2001:db8::70/64",
	}, Local: []string{Routed6, Routed6Same, Routed6Next}}
)

// wire joins the hosts by a bridge that lives in a network namespace of its own, and gives them their addresses.
func (l *Lab) wire() error {
	// Without multicast snooping and forward delay a port passes everything at once, neighbour discovery included.
	b := "link add br0 type bridge mcast_snooping 0 forward_delay 0\nlink set br0 up\n"
	for _, h := range l.hosts {
		b += fmt.Sprintf("link add %s type veth peer name eth0 netns %d\nlink set %[1]s master br0 up\n", h.Name, h.Pid)
	}
	if err := l.lan.ip(b); err != nil {
		return err
	}
	for _, h := range l.hosts {
		if err := h.ip(h.spec.batch()); err != nil {
			return err
		}
	}
	for _, h := range l.hosts {
		if !poll(h.carrier) {
			return fmt.Errorf("host %s has no carrier", h.Name)
		}
	}
	return nil
}

func (s Spec) batch() string {
	b := "link set lo up\nlink set eth0 up\n"
	for _, a := range s.Addrs {
		b += "addr add " + a + " dev eth0" + nodad(a) + "\n"
	}
	for _, a := range s.Local {
		b += "addr add " + a + " dev lo" + nodad(a) + "\n"
	}
	for _, r := range s.Routes {
		b += "route add " + r + "\n"
	}
	return b
}

func nodad(addr string) string {
	if strings.Contains(addr, ":") {
		return " nodad"
	}
	return ""
}

// ip runs a batch of ip(8) in the host's network, but with the machine's process ids.
func (h *Host) ip(batch string) error {
	return within(h.Pid, unix.CLONE_NEWNET, func() error {
		cmd := exec.Command(path("ip"), "-batch", "-")
		cmd.Env, cmd.Stdin = environ, strings.NewReader(batch)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip in %s: %w: %s", h.Name, err, out)
		}
		return nil
	})
}

func (h *Host) carrier() bool {
	up := false
	h.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		up = err == nil && eth0.Flags&net.FlagRunning != 0
		return nil
	})
	return up
}
