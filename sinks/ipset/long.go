package ipset

import (
	"context"
	"slices"
	"time"
)

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
	if s.c == nil {
		return
	}
	byID := s.byIDLocked()
	w, now, n := &s.work, s.now(), 0
	w.reset(s.c, false, s.book, func(set *set) { s.makeRoomLocked(ctx, set, false) })
	for k, h := range s.book.held {
		if h.long == 0 {
			continue
		}
		n++
		set, end := byID[k.set], time.Unix(int64(h.long), 0)
		if set == nil || !end.After(now) { // the clock jumped; the kernel's own count goes on
			h.long = 0
			s.book.held[k] = h
			continue
		}
		timeout, long := s.timeout(end, now)
		w.add(set, k.prefix(set.family), timeout, long, 0)
	}
	if n == 0 {
		return
	}
	if failed := s.settleLocked(ctx, w); len(failed) > 0 {
		s.log.Error().Int("bans", len(failed)).Err(failed[0].err).Msg("long bans were not refreshed")
		return
	}
	s.log.Info().Int("bans", n).Msg("refreshed long bans in the kernel")
}

// Long counts the bans that Run refreshes.
func (s *Sink) Long() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.book.held {
		if h.long != 0 {
			n++
		}
	}
	return n
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

// byIDLocked finds a ban set by our number of it.
func (s *Sink) byIDLocked() map[uint16]*set {
	m := map[uint16]*set{}
	for _, set := range s.banSetsLocked() {
		m[set.id] = set
	}
	return m
}

// forgetLocked drops what the book has of sets that are not ours any more.
func (s *Sink) forgetLocked() {
	byID := s.byIDLocked()
	s.book.keep(func(id uint16) bool { return byID[id] != nil })
}
