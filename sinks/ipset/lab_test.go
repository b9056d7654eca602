package ipset

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/integration/netns"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A lab is this namespace, where the sets are, and another from which attackers and neighbours send.
type lab struct {
	t           *testing.T
	here, there *netns.Net
	v4, v6      *netns.Prober // port 22
	other4      *netns.Prober // port 8080
	other6      *netns.Prober
}

const (
	attacker4, neighbour4, allowed4 = "198.51.100.66", "198.51.100.67", "198.51.100.68"
	attacker6, neighbour6, allowed6 = "2001:db8:bad::66", "2001:db8:bad::67", "2001:db8:bad::68"
	control4, control6              = "192.0.2.2", "2001:db8::2"
	us4, us6                        = "192.0.2.1", "2001:db8::1"
)

// inLab runs f in a namespace of its own, joined to another by a cable.
func inLab(t *testing.T, f func(l *lab)) {
	t.Helper()
	netns.Run(t, func(t *testing.T) {
		l := &lab{t: t}
		var err error
		must(t, func() error { l.here, err = netns.Current(); return err }())
		must(t, func() error { l.there, err = netns.New(); return err }())
		must(t, netns.Join(
			netns.End{Net: l.here, Name: "us", Addrs: prefixes(us4+"/24", us6+"/64")},
			netns.End{Net: l.there, Name: "them", Addrs: prefixes(control4+"/24", control6+"/64",
				attacker4+"/32", neighbour4+"/32", allowed4+"/32", attacker6+"/128", neighbour6+"/128", allowed6+"/128")},
		))
		must(t, netns.AddRoute(netip.MustParsePrefix("198.51.100.0/24"), netip.MustParseAddr(control4)))
		must(t, netns.AddRoute(netip.MustParsePrefix("2001:db8:bad::/48"), netip.MustParseAddr(control6)))
		l.v4, l.v6 = l.prober(us4, control4, 22), l.prober(us6, control6, 22)
		l.other4, l.other6 = l.prober(us4, control4, 8080), l.prober(us6, control6, 8080)
		f(l)
	})
}

func (l *lab) prober(to, control string, port uint16) *netns.Prober {
	l.t.Helper()
	p, err := netns.NewProber(l.here, l.there, netip.AddrPortFrom(netip.MustParseAddr(to), port), netip.MustParseAddr(control))
	must(l.t, err)
	l.t.Cleanup(func() { p.Close() })
	return p
}

// arrives checks by UDP and TCP, on port 22, whether what src sends gets through.
func (l *lab) arrives(src string, want bool) {
	l.t.Helper()
	p := l.v4
	if netip.MustParseAddr(src).Is6() {
		p = l.v6
	}
	l.arrivesAt(p, src, want)
}

func (l *lab) arrivesAt(p *netns.Prober, src string, want bool) {
	l.t.Helper()
	if got, err := p.UDP(netip.MustParseAddr(src)); err != nil || got != want {
		l.t.Errorf("udp from %s to %s arrives: got %v, %v, want %v", src, p.Addr(), got, err, want)
	}
	if got, err := p.TCP(netip.MustParseAddr(src)); err != nil || got != want {
		l.t.Errorf("tcp from %s to %s arrives: got %v, %v, want %v", src, p.Addr(), got, err, want)
	}
}

// open opens the sink, and skips the test where the kernel lacks something.
func open(t *testing.T, cfg Config, jails ...*event.Jail) *Sink {
	t.Helper()
	return openWith(t, cfg, nil, jails...)
}

func openWith(t *testing.T, cfg Config, vouches []Vouch, jails ...*event.Jail) *Sink {
	t.Helper()
	s, err := Open(cfg, jails, zerolog.New(zerolog.TestWriter{T: t}), vouches...)
	if errors.Is(err, ErrModules) || errors.Is(err, ErrPermission) {
		netns.Skip(t, "%v", err)
	}
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefixes(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

var (
	sshJail  = &event.Jail{Name: "ssh", Tiers: []event.Tier{{Ports: []uint16{22, 2222}}, {}}}
	mailJail = &event.Jail{Name: "mail", Tiers: []event.Tier{{}}}
)

// ban returns a ban of an hour for all traffic; change alters it.
func ban(jail, prefix string, change ...func(*event.Ban)) event.Ban {
	now := time.Now()
	b := event.Ban{Prefix: netip.MustParsePrefix(prefix), Jail: jail, Issued: now, Until: now.Add(time.Hour)}
	for _, f := range change {
		f(&b)
	}
	return b
}

func lasts(d time.Duration) func(*event.Ban) {
	return func(b *event.Ban) { b.Until = b.Issued.Add(d) }
}
func lifted(b *event.Ban)    { b.Lifted = true }
func observed(b *event.Ban)  { b.Observed = true }
func portsOnly(b *event.Ban) { b.Ports = true }

// holds checks what the kernel holds, as jail, prefix and p for ports, in any order.
func holds(t *testing.T, s *Sink, want ...string) {
	t.Helper()
	got := map[string]bool{}
	must(t, s.Entries(func(e Entry) bool {
		key := e.Jail + " " + e.Prefix.String()
		if e.Ports {
			key += " p"
		}
		got[key] = true
		return true
	}))
	for _, w := range want {
		if !got[w] {
			t.Errorf("kernel lacks %s", w)
		}
		delete(got, w)
	}
	for k := range got {
		t.Errorf("kernel holds %s besides", k)
	}
}

func apply(t *testing.T, s *Sink, bans ...event.Ban) {
	t.Helper()
	must(t, s.Apply(context.Background(), bans))
}

// until polls f for 5 seconds.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatalf("did not happen within 15 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// holder is the environment variable that makes this binary a daemon to be killed: see TestMain.
const holder = "RAPSHEET_IPSET_HOLDER"

// TestMain is the daemon's main where a test started it: it bans the attackers and waits.
func TestMain(m *testing.M) {
	if os.Getenv(holder) == "" {
		os.Exit(m.Run())
	}
	s, err := Open(Config{}, []*event.Jail{sshJail}, zerolog.Nop())
	if err == nil {
		err = s.Apply(context.Background(), []event.Ban{ban("ssh", attacker4+"/32"), ban("ssh", attacker6+"/128", portsOnly)})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("holding")
	io.Copy(io.Discard, os.Stdin)
}

// hold starts a daemon in this namespace; kill ends it by SIGKILL and returns when it is gone.
func (l *lab) hold() (kill func()) {
	l.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holder+"=1")
	in, err := cmd.StdinPipe()
	must(l.t, err)
	out, err := cmd.StdoutPipe()
	must(l.t, err)
	must(l.t, cmd.Start())
	l.t.Cleanup(func() { in.Close() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "holding\n" {
		l.t.Fatalf("daemon: got %q, %v", line, err)
	}
	return func() {
		l.t.Helper()
		must(l.t, cmd.Process.Kill())
		cmd.Wait()
	}
}
