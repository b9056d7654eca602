package ipset

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

const (
	// compareAll is how often all sets are compared entry by entry, whatever their counts say.
	compareAll = 10 * time.Minute
	// compareShare keeps comparisons from taking more than a 20th of the time: one of a million entries takes a second,
	// and entries that end a little late can ask for one. A set that is empty and should not be does not wait.
	compareShare = 20
	// refillRest is the least time between two refills that are asked for.
	refillRest = 10 * time.Second
	// tellRest is how long it must have been calm before the log says that it no longer is.
	tellRest = 10 * time.Second
	// manyForeign is how many foreign entries one comparison takes out; the next takes more.
	manyForeign = 100_000
)

// A watch is what is remembered from one look to the next. Sets tell nobody when others put entries in or take them out
// (ipset flush, del, swap), but the kernel counts those that have not ended, and so does the book.
type watch struct {
	skipped int       // looks that came between two changes of ours
	due     time.Time // when all sets are compared
	rest    time.Time // no comparison before
	refill  time.Time // no refill before
	quiet   time.Time // no line in the log before: whoever flushes a set every second is told of once
}

// compare looks at what the kernel says of our sets. A set that holds more or fewer entries than it may is compared with
// the book, from time to time all are, and what others changed is put right.
func (s *Sink) compare(ctx context.Context) {
	if s.compareOnce(ctx) && s.Lost != nil {
		s.Lost()
	}
}

func (s *Sink) compareOnce(ctx context.Context) (lost bool) {
	s.mu.Lock()
	book, edits := s.book, s.book.edits
	s.mu.Unlock()
	from := book.clock()
	list, err := s.headers() // without mu: bans need not wait for the kernel to count
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.c == nil {
		return false
	}
	w := &s.watch
	if s.book != book || s.book.edits != edits {
		if w.skipped++; w.skipped < 5 {
			return false
		}
		if list, err = s.c.headers(); err != nil {
			return false
		}
	}
	w.skipped = 0
	heads := make(map[string]header, len(list))
	for _, h := range list {
		heads[h.name] = h
	}
	now := time.Now()
	all := !w.due.IsZero() && !now.Before(w.due)
	if all || w.due.IsZero() {
		w.due = now.Add(s.whole)
	}
	s.compareAllowedLocked(heads, all)

	s.book.settle(from)
	until := s.book.clock()
	var suspects []*set
	empty, odd := false, ""
	for _, set := range s.banSetsLocked() {
		h, stands := heads[set.name]
		if !stands {
			continue // guard sees to it
		}
		least, most := s.book.between(set.id, until)
		switch n := int(h.elements); {
		case !h.timeouts:
			odd, lost = set.name, true // entries cannot end there: only a refill replaces it
		case all && !set.known:
			lost = true
		case set.known && (all || n < least || n > most):
			suspects = append(suspects, set)
			empty = empty || n == 0 && least > 0
		}
	}
	if len(suspects) > 0 && (empty || all || !now.Before(w.rest)) {
		began := time.Now()
		s.repairLocked(ctx, suspects)
		w.rest = time.Now().Add(compareShare * time.Since(began))
	}
	if !lost || now.Before(w.refill) {
		return false
	}
	w.refill = now.Add(refillRest)
	if odd != "" {
		s.tell("somebody else put a set without timeouts in the place of ours: filling it again", odd, 0, 0, nil)
	}
	return true
}

// headers is Count with all that the kernel says.
func (s *Sink) headers() ([]header, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.reader == nil {
		return nil, errClosed
	}
	return s.reader.headers()
}

// repairLocked compares sets with the book, entry by entry, puts back what is missing and takes out what is not ours.
func (s *Sink) repairLocked(ctx context.Context, sets []*set) {
	byID := make(map[uint16]*set, len(sets))
	w := &s.work
	w.reset(s.c, false, s.book, func(set *set) { s.makeRoomLocked(ctx, set, false) })
	name, foreign, missing := "", 0, 0
	for _, set := range sets {
		strange, err := s.dumpLocked(set)
		if err != nil {
			continue // not compared; what was marked must be cleared all the same
		}
		byID[set.id] = set
		for _, p := range strange {
			w.del(set, p, 0)
		}
		if foreign += len(strange); len(strange) > 0 {
			name = set.name
		}
	}
	w.flush() // before the marks are read: to take entries out of the book's map is to lose none
	now := s.book.clock()
	for k, h := range s.book.held {
		found := h.out&seen != 0
		if found {
			h.out &^= seen
			s.book.held[k] = h
		}
		if set := byID[k.set]; set != nil && !found && h.out >= sure(now) {
			w.add(set, k.prefix(set.family), h.out-now, h.long, 0)
			name = set.name
			missing++
		}
	}
	failed := s.settleLocked(ctx, w)
	var err error
	if len(failed) > 0 {
		err = failed[0].err
	}
	if missing+foreign > 0 {
		s.tell("somebody else changed what our sets hold: put right", name, missing, foreign, err)
	}
}

// dumpLocked marks in the book what a set holds, and returns what it holds besides.
func (s *Sink) dumpLocked(set *set) (foreign []netip.Prefix, err error) {
	b := s.book
	err = s.c.dump(set.name, func(p netip.Prefix, _ uint32) {
		k := keyOf(set, p)
		switch h, ok := b.held[k]; {
		case ok && h.out&^seen >= b.at:
			h.out |= seen
			b.held[k] = h
		case len(foreign) < manyForeign:
			foreign = append(foreign, p)
		}
	})
	return foreign, err
}

// compareAllowedLocked fills the allow sets again unless they hold what they are to: by number, and with whole by entry.
// Nothing in them ends by itself.
func (s *Sink) compareAllowedLocked(heads map[string]header, whole bool) {
	if !s.allowed {
		return
	}
	for _, set := range s.allow {
		var want []netip.Prefix
		for _, p := range s.held {
			if familyOf(p) == set.family {
				want = append(want, p)
			}
		}
		h, ok := heads[set.name]
		if !ok || int(h.elements) == len(want) && !h.timeouts && !whole {
			continue
		}
		var have []netip.Prefix // the list may have changed since the kernel counted
		if s.c.dump(set.name, func(p netip.Prefix, _ uint32) { have = append(have, p) }) != nil {
			continue
		}
		slices.SortFunc(have, netip.Prefix.Compare)
		if slices.Equal(have, want) && !h.timeouts {
			continue
		}
		s.allowed = false
		err := s.allowLocked(s.held)
		s.tell("somebody else changed who is never banned: filled the set again", set.name, lacking(have, want), lacking(want, have), err)
		return
	}
}

// lacking counts what of all is not in have, which is sorted.
func lacking(have, all []netip.Prefix) (n int) {
	for _, p := range all {
		if _, ok := slices.BinarySearchFunc(have, p, netip.Prefix.Compare); !ok {
			n++
		}
	}
	return n
}

// tell counts a repair and says so, once for all that happen within seconds.
func (s *Sink) tell(what, set string, missing, foreign int, err error) {
	if err == nil {
		s.repaired.Add(1)
	}
	w := &s.watch
	said := time.Now().Before(w.quiet)
	w.quiet = time.Now().Add(tellRest)
	if said {
		return
	}
	log := s.log.Warn()
	if err != nil {
		log = s.log.Error().Err(err)
	}
	log.Str("set", set).Int("missing", missing).Int("foreign", foreign).Uint64("repaired", s.repaired.Load()).Msg(what)
}
