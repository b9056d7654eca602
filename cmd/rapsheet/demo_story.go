package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/integration/netns"
)

// A story is the demo as it runs: what it says is the outcome of a check, and every figure is measured.
type story struct {
	*demoPage
	began time.Time
	net   *demoNet
	d     *demoDaemon
}

// steps are what the story proves. A step that fails is named by its title.
func (s *story) steps() []demoStep {
	return []demoStep{
		{"receiver up, TCP and UDP", s.receive},
		{"203.0.113.7 guesses 7 ssh passwords", s.guess},
		{"7th failure -> ban 10m", s.strike},
		{"packets of attacker and neighbour", s.packets},
		{"2001:db8:7::1 guesses, its whole /64 is banned", s.guess6},
		{"a year of slow guessing", s.slow},
		{"wordpress: a year of slow guessing", s.wordpress},
		{"a hostile user name", s.hostile},
		{"kill -9 and restart", s.restart},
	}
}

// sshFailed is what sshd logs of a wrong password.
func sshFailed(user string, src netip.Addr) string {
	return fmt.Sprintf("Failed password for invalid user %s from %s port 51514 ssh2", user, src)
}

// wordpressFailed is what the plugin WP fail2ban logs of one.
func wordpressFailed(src netip.Addr) string {
	return fmt.Sprintf("Authentication failure for admin from %s", src)
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// 1: a message by each road arrives, and so do everybody's packets.
func (s *story) receive(ctx context.Context) error {
	var st status
	err := s.await(ctx, "the daemon's mode", armed, func() (string, error) {
		st = status{}
		if err := s.d.get(ctx, "/v1/status", &st); err != nil {
			return err.Error(), nil
		}
		if st.Off != "" {
			return st.Off, nil
		}
		return st.Mode, nil
	})
	if err != nil {
		return err
	}
	took := time.Since(s.began)
	for _, by := range []string{"unix", "tcp", "udp"} {
		if _, err := s.d.say(by, time.Now(), "sshd", "Server listening on 0.0.0.0 port 22."); err != nil {
			return err
		}
	}
	err = s.await(ctx, "messages received", "unix 1, tcp 1, udp 1", func() (string, error) {
		if err := s.d.get(ctx, "/v1/status", &st); err != nil {
			return "", err
		}
		var got []string
		for _, l := range st.Listeners {
			got = append(got, fmt.Sprintf("%s %d", l.Kind, l.Received))
		}
		return strings.Join(got, ", "), nil
	})
	if err == nil {
		err = s.net.open(ctx)
	}
	if err == nil {
		s.line("receiver up, TCP and UDP, in its own network namespace", "", fmt.Sprintf("%.1fs", took.Seconds()))
	}
	return err
}

// 2: six failures are counted, and ban nobody. The seventh comes in the next step.
func (s *story) guess(ctx context.Context) error {
	said := ""
	for _, user := range []string{"root", "admin", "oracle", "test", "ubuntu", "git"} {
		var err error
		if said, err = s.d.say("tcp", time.Now(), "sshd", sshFailed(user, demoAttacker)); err != nil {
			return err
		}
	}
	p := single(demoAttacker)
	err := s.await(ctx, "failures of 203.0.113.7 counted", "6 of 21 within 1y", func() (string, error) { return s.d.counted(ctx, "ssh", p) })
	if err != nil {
		return err
	}
	if err := s.expect("after 6 failures the kernel holds", "none", func() (string, error) { return held(p) }); err != nil {
		return err
	}
	s.line("203.0.113.7 guesses 7 ssh passwords", said[:25]+"...", "")
	return nil
}

// 3: the time from handing over the message to the entry in the kernel, looked for without a pause.
func (s *story) strike(ctx context.Context) error {
	p := single(demoAttacker)
	sent := time.Now()
	if _, err := s.d.say("tcp", sent, "sshd", sshFailed("postgres", demoAttacker)); err != nil {
		return err
	}
	const want = "ssh, the jail's ports"
	got := "none"
	var took time.Duration
	for got == "none" && took < demoPatience && ctx.Err() == nil {
		var err error
		if got, err = held(p); err != nil {
			return err
		}
		took = time.Since(sent)
	}
	if got != want {
		return &mismatch{"after the 7th failure the kernel holds", want, got}
	}
	if err := s.expect("the ban", "ssh 10m, the jail's ports", func() (string, error) { return s.d.ban(ctx, p) }); err != nil {
		return err
	}
	s.line("7th failure -> ban 10m, in the kernel set after", "", fmt.Sprintf("%.1fms", float64(took.Microseconds())/1000))
	return nil
}

// 4: packets decide.
func (s *story) packets(ctx context.Context) error {
	attacker, err := s.probe(ctx, s.net.ssh, demoAttacker, 0)
	if err != nil {
		return err
	}
	neighbour, err := s.probe(ctx, s.net.ssh, demoNeighbour, 3)
	if err != nil {
		return err
	}
	s.line("packets from 203.0.113.7  (attacker)", attacker.String(), "ok")
	s.more("packets from 203.0.113.8  (neighbour)", neighbour.String(), "ok")
	return nil
}

// 5: an IPv6 attacker has a /64 at the least.
func (s *story) guess6(ctx context.Context) error {
	if !s.net.ipv6 {
		s.skip("IPv6 is off on this host: left out")
		return nil
	}
	for range 7 {
		if _, err := s.d.say("tcp", time.Now(), "sshd", sshFailed("root", demoAttacker6)); err != nil {
			return err
		}
	}
	err := s.await(ctx, "the kernel holds of 2001:db8:7::/64", "ssh, the jail's ports", func() (string, error) { return held(slash64(demoAttacker6)) })
	if err != nil {
		return err
	}
	for _, src := range []netip.Addr{demoAttacker6, demoAccomplice} {
		if _, err := s.probe(ctx, s.net.ssh6, src, 0); err != nil {
			return err
		}
	}
	if _, err := s.probe(ctx, s.net.ssh6, demoNeighbour6, 3); err != nil {
		return err
	}
	s.line("2001:db8:7::1 guesses; whole 2001:db8:7::/64 banned, 8::1 passes", "", "ok")
	return nil
}

// 6: too slow for any window of minutes.
func (s *story) slow(ctx context.Context) error {
	if err := s.year(ctx, "tcp", "ssh", "sshd", sshFailed("root", demoSlow), demoSlow, 21); err != nil {
		return err
	}
	s.line("a year of slow guessing, 21 failures", "ban 1y", "ok")
	return nil
}

// 7: the same at another service, by another road.
func (s *story) wordpress(ctx context.Context) error {
	if err := s.year(ctx, "unix", "wordpress", "wordpress(www.example.org)", wordpressFailed(demoBlogger), demoBlogger, 35); err != nil {
		return err
	}
	s.line("wordpress: 35 failures in a year", "ban 1y", "ok")
	return nil
}

// year sends n failures with the stamps of eleven months, as a forwarder does that was cut off or a log that is read
// late, and proves that the last of them closes every port.
func (s *story) year(ctx context.Context, by, jail, program, text string, src netip.Addr, n int) error {
	p, now := single(src), time.Now()
	for i := range n {
		if i == n-1 {
			want := fmt.Sprintf("%d of %d within 1y", n-1, n)
			err := s.await(ctx, fmt.Sprintf("failures of %s counted", src), want, func() (string, error) { return s.d.counted(ctx, jail, p) })
			if err != nil {
				return err
			}
			if err := s.expect("by then the ban of "+src.String(), "none", func() (string, error) { return s.d.ban(ctx, p) }); err != nil {
				return err
			}
		}
		at := now.Add(-330 * 24 * time.Hour / time.Duration(n) * time.Duration(n-1-i))
		if _, err := s.d.say(by, at, program, text); err != nil {
			return err
		}
	}
	err := s.await(ctx, "the kernel holds of "+src.String(), jail+", all traffic", func() (string, error) { return held(p) })
	if err != nil {
		return err
	}
	if err := s.expect("the ban of "+src.String(), jail+" 1y, all traffic", func() (string, error) { return s.d.ban(ctx, p) }); err != nil {
		return err
	}
	_, err = s.probe(ctx, s.net.https, src, 0)
	return err
}

// 8: whoever may choose a user name may not choose who is banned.
func (s *story) hostile(ctx context.Context) error {
	const user = "root from 192.0.2.99 port 22 ssh2"
	for range 7 {
		if _, err := s.d.say("tcp", time.Now(), "sshd", sshFailed(user, demoLiar)); err != nil {
			return err
		}
	}
	err := s.await(ctx, "the kernel holds of 203.0.113.11, who tried that name", "ssh, the jail's ports", func() (string, error) { return held(single(demoLiar)) })
	if err != nil {
		return err
	}
	err = s.expect("known of 192.0.2.99", "0 offenders, none in the kernel", func() (string, error) {
		sheet, err := s.d.sheet(ctx, single(demoVictim))
		if err != nil {
			return "", err
		}
		in, err := held(single(demoVictim))
		return fmt.Sprintf("%d offenders, %s in the kernel", len(sheet.Offenders), in), err
	})
	if err != nil {
		return err
	}
	s.line(`user "root from 192.0.2.99" tried`, "192.0.2.99 not banned", "ok")
	return nil
}

// probe sends packets from src; want is how many must arrive.
func (s *story) probe(ctx context.Context, to *netns.Prober, src netip.Addr, want int) (demoTally, error) {
	neighbour := demoNeighbour
	if src.Is6() {
		neighbour = demoNeighbour6
	}
	t, err := s.net.probe(ctx, to, src, neighbour)
	if err == nil && t.arrived != want {
		err = &mismatch{fmt.Sprintf("packets from %s to port %d", src, to.Addr().Port()), fmt.Sprintf("%d arrived", want), t.String()}
	}
	return t, err
}
