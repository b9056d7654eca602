package ipset

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func TestBannedPacketsStop(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail, mailJail)
		for _, src := range []string{attacker4, neighbour4, attacker6, neighbour6} {
			l.arrives(src, true)
		}
		apply(t, s, ban("ssh", attacker4+"/32"), ban("mail", "2001:db8:bad::66/128"))
		l.arrives(attacker4, false)
		l.arrives(neighbour4, true)
		l.arrives(attacker6, false)
		l.arrives(neighbour6, true)
		holds(t, s, "ssh 198.51.100.66/32", "mail 2001:db8:bad::66/128")

		counters, err := s.Dropped()
		must(t, err)
		n := map[string]uint64{}
		for _, c := range counters {
			n[c.Jail] += c.Packets
		}
		if n["ssh"] == 0 || n["mail"] == 0 || n["manual"] != 0 {
			t.Errorf("dropped packets: got %v, want some of ssh and mail, none of manual", n)
		}

		apply(t, s, ban("ssh", attacker4+"/32", lifted), ban("mail", "2001:db8:bad::66/128", lifted))
		l.arrives(attacker4, true)
		l.arrives(attacker6, true)
		holds(t, s)
	})
}

func TestAllowedInsideBanned(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		must(t, s.Allow(prefixes(allowed4+"/32", allowed6+"/128")))
		apply(t, s, ban("manual", "198.51.100.0/24"), ban("manual", "2001:db8:bad::/64"))
		for _, src := range []string{attacker4, neighbour4, attacker6, neighbour6} {
			l.arrives(src, false)
		}
		l.arrives(allowed4, true)
		l.arrives(allowed6, true)

		must(t, s.Allow(prefixes(neighbour4+"/32", "::/0")))
		l.arrives(allowed4, false)
		l.arrives(neighbour4, true)
		l.arrives(allowed6, true)
		l.arrives(attacker6, true)

		must(t, s.Allow(nil))
		l.arrives(neighbour4, false)
		l.arrives(allowed6, false)
	})
}

func TestPortsOnly(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		apply(t, s, ban("ssh", attacker4+"/32", portsOnly), ban("ssh", "2001:db8:bad::/64", portsOnly))
		holds(t, s, "ssh 198.51.100.66/32 p", "ssh 2001:db8:bad::/64 p")
		l.arrives(attacker4, false)
		l.arrives(attacker6, false)
		l.arrives(neighbour4, true)
		l.arrivesAt(l.other4, attacker4, true)
		l.arrivesAt(l.other6, attacker6, true)

		// The ban becomes one for all traffic, and back.
		apply(t, s, ban("ssh", attacker4+"/32"))
		holds(t, s, "ssh 198.51.100.66/32", "ssh 2001:db8:bad::/64 p")
		l.arrives(attacker4, false)
		l.arrivesAt(l.other4, attacker4, false)
		apply(t, s, ban("ssh", attacker4+"/32", portsOnly))
		l.arrives(attacker4, false)
		l.arrivesAt(l.other4, attacker4, true)

		apply(t, s, ban("ssh", attacker4+"/32", lifted), ban("ssh", "2001:db8:bad::/64", lifted))
		holds(t, s)
		l.arrives(attacker4, true)

		// A jail without ports closes everything.
		apply(t, s, ban("manual", attacker4+"/32", portsOnly))
		l.arrivesAt(l.other4, attacker4, false)
	})
}

func TestNeighbourDiscoveryOfBanned(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		// All that is on the cable is banned before anybody has asked for a neighbour: the port that is not banned
		// can only be reached if solicitations and advertisements pass.
		apply(t, s, ban("ssh", "2001:db8::/64", portsOnly), ban("ssh", "fe80::/64"))
		if got, err := l.other6.TCP(netip.MustParseAddr(control6)); err != nil || !got {
			t.Errorf("tcp from a banned neighbour to a port that is open: got %v, %v, want true", got, err)
		}
	})
}

func TestWhatIsNotEnforced(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		apply(t, s, ban("ssh", attacker4+"/32", lasts(-time.Second)), ban("ssh", attacker6+"/128", observed))
		holds(t, s)
		// A ban that is only observed from now on is taken out.
		apply(t, s, ban("ssh", attacker4+"/32"))
		apply(t, s, ban("ssh", attacker4+"/32", observed))
		holds(t, s)
		// Twice the same is the same.
		apply(t, s, ban("ssh", attacker4+"/32"), ban("ssh", attacker4+"/32"))
		apply(t, s, ban("ssh", attacker4+"/32"))
		holds(t, s, "ssh 198.51.100.66/32")
		l.arrives(attacker4, false)
	})
}

func TestRefused(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		f := func(b event.Ban, refused bool) {
			t.Helper()
			err := s.Apply(context.Background(), []event.Ban{b, ban("ssh", neighbour4+"/32")})
			var e *Error
			if errors.As(err, &e) != refused {
				t.Fatalf("%s: got %v, want an error: %v", b.Prefix, err, refused)
			}
			if refused && (len(e.Retry) != 0 || len(e.Refused) != 1 || e.Refused[0] != b || e.Lost()) {
				t.Errorf("%s: got retry %v, refused %v, lost %v", b.Prefix, e.Retry, e.Refused, e.Lost())
			}
			holds(t, s, "ssh 198.51.100.67/32")
		}
		f(ban("ssh", "0.0.0.0/0"), true)
		f(ban("ssh", "::/0"), true)
		f(ban("ssh", "::/0", lifted), false)
		f(ban("ssh", "::ffff:192.0.2.7/128"), true)
		f(ban("nosuchjail", attacker4+"/32"), true)
		f(event.Ban{Jail: "ssh", Until: event.Forever}, true)
	})
}

func TestTimeouts(t *testing.T) {
	f := func(d time.Duration, want uint32) {
		t.Helper()
		if got := seconds(d); got != want {
			t.Errorf("seconds: got %d, want %d for %v", got, want, d)
		}
	}
	f(time.Nanosecond, 1)
	f(time.Second, 1)
	f(time.Second+time.Nanosecond, 2)
	f(kernelLimit, 2147483)

	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		f := func(jail, prefix string, d, least, most time.Duration) {
			t.Helper()
			apply(t, s, ban(jail, prefix, lasts(d)))
			found := false
			must(t, s.Entries(func(e Entry) bool {
				if e.Jail == jail && e.Prefix.String() == prefix {
					found = true
					if e.Left < least || e.Left > most {
						t.Errorf("timeout: got %v, want %v to %v", e.Left, least, most)
					}
				}
				return true
			}))
			if !found {
				t.Errorf("%s is not there", prefix)
			}
		}
		f("ssh", "192.0.2.66/32", time.Hour, time.Hour-2*time.Second, time.Hour)
		f("ssh", "192.0.2.66/32", time.Minute, 58*time.Second, time.Minute)
		f("ssh", "192.0.2.66/32", 365*24*time.Hour, kernelLimit-2*time.Second, kernelLimit)
		f("ssh", "2001:db8::/32", time.Until(event.Forever), kernelLimit-2*time.Second, kernelLimit)

		apply(t, s, ban("ssh", attacker4+"/32", lasts(4*time.Second)))
		l.arrives(attacker4, false)
		until(t, "the ban of four seconds ends", func() bool {
			got, err := l.v4.UDP(netip.MustParseAddr(attacker4))
			return err == nil && got
		})
	})
}

func TestLongBansAreRearmed(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		s.limit = 2 * time.Second
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go s.Run(ctx)
		apply(t, s, ban("ssh", attacker4+"/32", lasts(365*24*time.Hour)), ban("ssh", attacker6+"/128", lasts(6*time.Second)),
			ban("ssh", neighbour4+"/32", lasts(365*24*time.Hour)), ban("ssh", neighbour6+"/128", lasts(time.Hour), portsOnly))
		apply(t, s, ban("ssh", neighbour4+"/32", lifted), ban("ssh", neighbour6+"/128", lasts(time.Second)))
		if got, want := s.Long(), 2; got != want {
			t.Errorf("long bans: got %d, want %d", got, want)
		}
		until(t, "neighbour's ban ends", func() bool {
			got, err := l.v6.UDP(netip.MustParseAddr(neighbour6))
			return err == nil && got
		})
		// Three times the limit later the short one has ended and the long one holds.
		deadline := time.Now().Add(15 * time.Second)
		for {
			got, err := l.v6.UDP(netip.MustParseAddr(attacker6))
			must(t, err)
			if got {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the ban of 6 s has not ended")
			}
		}
		l.arrives(attacker4, false)
		l.arrives(neighbour4, true)
		until(t, "only one long ban is left", func() bool { return s.Long() == 1 })
	})
}

func TestLongestName(t *testing.T) {
	inLab(t, func(l *lab) {
		name := strings.Repeat("j", maxJail)
		jail := &event.Jail{Name: name, Tiers: []event.Tier{{Ports: []uint16{22}}}}
		s := open(t, Config{}, jail)
		apply(t, s, ban(name, attacker6+"/128", portsOnly))
		must(t, s.Sync(context.Background(), func(yield func(event.Ban) bool) {
			yield(ban(name, attacker4+"/32", portsOnly))
		}))
		holds(t, s, name+" 198.51.100.66/32 p")
		l.arrives(attacker4, false)
	})
}

func TestBadJails(t *testing.T) {
	inLab(t, func(*lab) {
		s := open(t, Config{})
		f := func(name string) {
			t.Helper()
			if err := s.Configure([]*event.Jail{{Name: name}}); err == nil {
				t.Errorf("jail %q: got no error", name)
			}
		}
		f("")
		f("allow")
		f("SSH")
		f("ssh jail")
		f(strings.Repeat("j", maxJail+1))
		must(t, s.Configure([]*event.Jail{{Name: "manual"}, sshJail, sshJail}))
	})
}
