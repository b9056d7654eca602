package allow

import (
	"net/netip"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"
)

// genAddr draws addresses that meet each other: from a few networks, with few different bits.
var genAddr = rapid.Custom(func(t *rapid.T) netip.Addr {
	base := rapid.SampledFrom([]string{
		"198.51.100.0", "192.0.2.0", "10.0.0.0", "100.64.0.0", "127.0.0.0", "203.0.113.0", "104.16.0.0",
		"2001:db8::", "2001:db8:0:1::", "2001::", "64:ff9b::", "64:ff9b:1::", "2002:c633:6400::", "fd00::", "fe80::", "2606:4700::",
		"2001:db8:64::", "::ffff:198.51.100.0",
	}).Draw(t, "base")
	b := addr(base).AsSlice()
	b[len(b)-1] = rapid.SampledFrom([]byte{0, 1, 2, 3, 128, 255}).Draw(t, "last")
	if len(b) == 16 {
		b[7] ^= rapid.SampledFrom([]byte{0, 0, 1, 2}).Draw(t, "subnet")
		b[5] ^= rapid.SampledFrom([]byte{0, 0, 1}).Draw(t, "site")
	} else {
		b[2] ^= rapid.SampledFrom([]byte{0, 0, 1, 2}).Draw(t, "subnet")
	}
	a, _ := netip.AddrFromSlice(b)
	return a
})

var genPrefix = rapid.Custom(func(t *rapid.T) netip.Prefix {
	a := genAddr.Draw(t, "addr").Unmap()
	bits := rapid.SampledFrom([]int{32, 31, 24, 16, 9}).Draw(t, "bits")
	if a.Is6() {
		bits = rapid.SampledFrom([]int{128, 127, 96, 65, 64, 63, 56, 48, 32}).Draw(t, "bits6")
	}
	return netip.PrefixFrom(a, bits).Masked()
})

var genFacts = rapid.Custom(func(t *rapid.T) Facts {
	some := rapid.SliceOfN(genAddr, 0, 3)
	return Facts{
		Own: some.Draw(t, "own"), Gateways: some.Draw(t, "gateways"), Resolvers: some.Draw(t, "resolvers"),
		Sessions: some.Draw(t, "sessions"), Links: rapid.SliceOfN(genPrefix, 0, 3).Draw(t, "links"),
	}
})

var genConfig = rapid.Custom(func(t *rapid.T) Config {
	var c Config
	for _, p := range rapid.SliceOfN(genPrefix, 0, 5).Draw(t, "allow") {
		c.Allow = append(c.Allow, value.String{S: p.String()})
	}
	for _, p := range rapid.SliceOfN(genPrefix, 0, 3).Draw(t, "proxies") {
		c.Proxies = append(c.Proxies, value.String{S: p.String()})
	}
	if rapid.Bool().Draw(t, "cloudflare") {
		c.Proxies = append(c.Proxies, value.String{S: cloudflareName})
	}
	c.BanPrivate.B = rapid.Bool().Draw(t, "ban_private")
	if rapid.Bool().Draw(t, "nat64") {
		c.NAT64 = []value.Prefix{{Prefix: prefix("2001:db8:64::/96")}}
	}
	return c
})

// listed is the specification, the slow way: each address and network that must never be banned, unmapped.
func listed(c Config, f Facts, senders []netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range always {
		list = append(list, prefix(s.prefix))
	}
	if !c.BanPrivate.B {
		for _, s := range private {
			list = append(list, prefix(s.prefix))
		}
	}
	for _, s := range append(append([]value.String{}, c.Allow...), c.Proxies...) {
		if s.S == cloudflareName {
			list = append(list, edge...)
			continue
		}
		list = append(list, prefix(s.S))
	}
	for _, group := range [][]netip.Addr{f.Own, f.Gateways, f.Resolvers, f.Sessions} {
		for _, a := range group {
			list = append(list, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		}
	}
	for _, p := range senders {
		if p.IsSingleIP() {
			list = append(list, p)
		}
	}
	return list
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, f := genConfig.Draw(t, "config"), genFacts.Draw(t, "facts")
		senders := rapid.SliceOfN(genPrefix, 0, 2).Draw(t, "senders")
		l := New(c, static(f), zerolog.Nop())
		l.AllowSenders(senders)
		never := listed(c, f, senders)
		holds := func(a netip.Addr) bool {
			for _, p := range never {
				if p.Contains(a.Unmap()) {
					return true
				}
			}
			return false
		}
		b := &event.Batch{Now: noon}
		drawn := rapid.SliceOfN(genAddr, 1, 20).Draw(t, "addrs")
		survivors := 0
		for _, a := range drawn {
			b.Events = append(b.Events, event.Event{Rule: failure, Count: 1, Addr: a})
			if holds(a) != (l.Why(a) != "") {
				t.Fatalf("%s: on the list %v, why %q", a, holds(a), l.Why(a))
			}
			if !holds(a) {
				survivors++
			}
		}
		l.Process(b)
		if len(b.Events) != survivors {
			t.Fatalf("events: got %d, want %d of %v", len(b.Events), survivors, drawn)
		}
		for i := range b.Events {
			e := &b.Events[i]
			if holds(e.Addr) {
				t.Fatalf("%s is never banned, and its event survived", e.Addr)
			}
			if e.Offender != l.Offender(e.Addr) || !e.Offender.Contains(e.Addr) || e.Offender != e.Offender.Masked() {
				t.Fatalf("%s: offender %s", e.Addr, e.Offender)
			}
			if why, yes := l.Never(e.Offender); yes {
				t.Fatalf("%s: offender %s is never banned: %s", e.Addr, e.Offender, why)
			}
			if e.Offender.IsSingleIP() {
				continue
			}
			for _, p := range append(append([]netip.Prefix{}, never...), translated...) {
				if p.Overlaps(e.Offender) {
					t.Fatalf("%s: offender %s touches %s", e.Addr, e.Offender, p)
				}
			}
		}
		for _, p := range never {
			if _, yes := l.Never(p); !yes {
				t.Fatalf("%s is on the list and could be banned", p)
			}
			if !covered(l.Prefixes(), p) {
				t.Fatalf("%s is not in %v", p, l.Prefixes())
			}
		}
		for i, p := range l.Prefixes() {
			if _, yes := l.Never(p); !yes || p != p.Masked() || p.Bits() == 0 {
				t.Fatalf("%s is for the kernel and could be banned, or is no network", p)
			}
			if i > 0 && l.Prefixes()[i-1].Overlaps(p) {
				t.Fatalf("%s lies in %s", p, l.Prefixes()[i-1])
			}
		}
		p := genPrefix.Draw(t, "ban")
		if _, yes := l.Never(p); yes != covered(l.Prefixes(), p) {
			t.Fatalf("%s: never %v, with %v", p, yes, l.Prefixes())
		}
	})
}

func covered(list []netip.Prefix, p netip.Prefix) bool {
	for _, q := range list {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return true
		}
	}
	return false
}
