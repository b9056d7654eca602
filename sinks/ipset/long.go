package ipset

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// A longKey is an entry whose ban outlasts what the kernel can count. No pointers: there may be a million.
type longKey struct {
	addr [16]byte
	bits uint8
	set  uint16 // set.id
}

func keyOf(s *set, p netip.Prefix) longKey {
	return longKey{addr: p.Addr().As16(), bits: uint8(p.Bits()), set: s.id}
}

// prefix is the reverse of keyOf.
func (k longKey) prefix(f family) netip.Prefix {
	a := netip.AddrFrom16(k.addr)
	if f == v4 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, int(k.bits))
}

// Run keeps the kernel as it should be until ctx ends: it refreshes long bans at half of the kernel's longest timeout,
// and looks every second whether somebody took our sets, rules or bans away.
func (s *Sink) Run(ctx context.Context) {
	arm := time.NewTicker(s.limit / 2)
	defer arm.Stop()
	look := time.NewTicker(s.every)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-arm.C:
			s.rearm(ctx)
		case <-look.C:
			s.guard()
			s.compare(ctx)
		}
	}
}

// rearm gives every long ban its time again.
func (s *Sink) rearm(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil || len(s.long) == 0 {
		return
	}
	byID := map[uint16]*set{}
	for _, set := range s.banSetsLocked() {
		byID[set.id] = set
	}
	w, now, n := &s.work, s.now(), len(s.long)
	w.reset(s.c, false, func(set *set) { s.makeRoomLocked(ctx, set, false) })
	for k, until := range s.long {
		set := byID[k.set]
		if set == nil {
			delete(s.long, k)
			continue
		}
		if p, end := k.prefix(set.family), time.Unix(until, 0); end.After(now) {
			w.add(set, p, s.timeout(set, p, end, now, s.long), 0)
		} else {
			delete(s.long, k) // the clock jumped; the kernel's own count goes on
		}
	}
	if failed := s.settleLocked(ctx, w); len(failed) > 0 {
		s.log.Error().Int("bans", len(failed)).Err(failed[0].err).Msg("long bans were not refreshed")
		return
	}
	s.log.Info().Int("bans", n).Msg("refreshed long bans in the kernel")
}

// Long counts the bans that Run refreshes.
func (s *Sink) Long() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.long)
}

// banSetsLocked lists the sets of all jails.
func (s *Sink) banSetsLocked() []*set {
	var sets []*set
	for _, j := range s.jails {
		for _, set := range slices.Concat(j.all[:], j.ports[:]) {
			if set != nil {
				sets = append(sets, set)
			}
		}
	}
	return sets
}

// forgetLocked drops the long bans of sets that are not ours any more.
func (s *Sink) forgetLocked() {
	ids := map[uint16]bool{}
	for _, set := range s.banSetsLocked() {
		ids[set.id] = true
	}
	for k := range s.long {
		if !ids[k.set] {
			delete(s.long, k)
		}
	}
}
