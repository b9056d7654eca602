package ipset

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// How long a swap waits for others to end their listings of the set. A refill can wait; bans wait for a set that grows,
// which will be tried again.
const (
	syncPatience = 10 * time.Second
	growPatience = time.Second
)

// Sync makes the kernel hold exactly these bans: it fills new sets and swaps them in, so that what was banned and still
// is, is so at every instant. Bans that are not enforced are left out. Apply waits meanwhile. After an error some sets
// may have the new state and others the old one.
func (s *Sink) Sync(ctx context.Context, bans iter.Seq[event.Ban]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return errClosed
	}
	// Once to count, for to grow a set is to fill it twice; once to fill.
	counts := map[*set]int{}
	strange := s.eachLocked(ctx, bans, func(b *event.Ban, hold *set) bool {
		counts[hold]++
		return true
	})
	now, book := s.now(), newBook(s.book.start)
	book.edits = s.book.edits + 1
	sets := s.banSetsLocked()
	err := s.rebuildLocked(ctx, sets, counts, true, book, func(w *writer) {
		s.eachLocked(ctx, bans, func(b *event.Ban, hold *set) bool {
			p := b.Prefix.Masked()
			timeout, long := s.timeout(b.Until, now)
			w.add(hold, p, timeout, long, 0)
			return !w.hopeless()
		})
	})
	for _, set := range sets {
		set.known = err == nil
	}
	if err != nil {
		return fmt.Errorf("ipset: sync: %w", err)
	}
	s.book = book
	if strange > 0 {
		s.log.Warn().Int("bans", strange).Msg("bans of jails that are not configured are not enforced")
	}
	return nil
}

// eachLocked calls f with every ban that is enforced and the set that is to hold it, until f reports false or ctx ends.
// It returns how many have no set.
func (s *Sink) eachLocked(ctx context.Context, bans iter.Seq[event.Ban], f func(b *event.Ban, hold *set) bool) (strange int) {
	now := s.now()
	for b := range bans {
		if ctx.Err() != nil {
			break
		}
		if !b.Enforced(now) {
			continue
		}
		if s.check(&b) != nil {
			strange++
			continue
		}
		if hold, _ := s.place(&b); !f(&b, hold) {
			break
		}
	}
	return strange
}

// Allow makes the kernel accept, before any ban, what comes from these prefixes, and from no others.
func (s *Sink) Allow(prefixes []netip.Prefix) error {
	var list []netip.Prefix
	for _, p := range prefixes {
		switch {
		case !p.IsValid() || p.Addr().Is4In6():
			return fmt.Errorf("ipset: allow %s: %w", p, errPrefix)
		case p.Bits() > 0:
			list = append(list, p.Masked())
		default: // the kernel takes no length of 0, but two halves
			low := netip.PrefixFrom(p.Addr(), 1).Masked()
			high := low.Addr().AsSlice()
			high[0] = 0x80
			a, _ := netip.AddrFromSlice(high)
			list = append(list, netip.PrefixFrom(low.Masked().Addr(), 1), netip.PrefixFrom(a, 1))
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	list = slices.Compact(list)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return errClosed
	}
	return s.allowLocked(list)
}

func (s *Sink) allowLocked(list []netip.Prefix) error {
	if s.allowed && slices.Equal(list, s.held) {
		return nil
	}
	err := s.rebuildLocked(context.Background(), s.allow[:], nil, false, nil, func(w *writer) {
		for _, p := range list {
			w.add(s.allow[familyOf(p).at()], p, never, 0, 0)
		}
	})
	if err != nil {
		return fmt.Errorf("ipset: allow: %w", err)
	}
	s.held, s.allowed = list, true
	return nil
}

// rebuildLocked gives the sets the contents that fill writes: into new ones, which then take the places of the old.
// counts says how many entries each will get, where that is known; book gets what they hold then, unless it is nil.
func (s *Sink) rebuildLocked(ctx context.Context, sets []*set, counts map[*set]int, timeouts bool, book *book, fill func(*writer)) error {
	stand, err := s.c.headers()
	if err != nil {
		return err
	}
	defer func() { // of a success the old contents, of a failure the new
		for _, set := range sets {
			if err := s.c.destroy(context.WithoutCancel(ctx), set.temp); err != nil {
				s.log.Warn().Str("set", set.temp).Err(err).Msg("temporary set stays in the kernel")
			}
		}
	}()
	for _, set := range sets {
		maxelem := s.maxelem
		for _, h := range stand {
			switch h.name {
			case set.name:
				maxelem = max(maxelem, h.maxelem)
			case set.temp: // left by a process that was killed
				if err := s.c.destroy(ctx, h.name); err != nil {
					return fmt.Errorf("destroy set %s: %w", h.name, err)
				}
			}
		}
		for int(maxelem/8*7) < counts[set] && maxelem < topElem {
			maxelem = min(2*maxelem, topElem)
		}
		if err := s.create(set.temp, set.family, maxelem, counts[set], timeouts); err != nil {
			return err
		}
		set.roomTemp = header{maxelem: maxelem}.room()
	}
	w := &writer{}
	w.reset(s.c, true, book, func(set *set) { s.makeRoomLocked(ctx, set, true) })
	fill(w)
	if w.hopeless() {
		return fmt.Errorf("set %s: %w", w.failed[0].set.temp, w.failed[0].err)
	}
	if failed := s.settleLocked(ctx, w); len(failed) > 0 {
		return fmt.Errorf("set %s: %d entries not taken: %w", failed[0].set.temp, len(failed), failed[0].err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, set := range sets {
		if err := s.swap(ctx, syncPatience, set.temp, set.name); err != nil {
			return err
		}
		set.room = set.roomTemp
	}
	return nil
}

// errTop says that a set has reached its last size.
var errTop = fmt.Errorf("set is full: it holds %d and may not grow further", topElem)

// growLocked doubles the room of a set: a larger one gets its entries and takes its place.
func (s *Sink) growLocked(ctx context.Context, h header) (maxelem uint32, err error) {
	if h.maxelem >= topElem {
		return 0, errTop
	}
	name, f := h.name, h.family
	larger := &set{name: name + growing, family: f}
	maxelem = min(2*max(h.maxelem, 1), topElem)
	if err := s.c.destroy(ctx, larger.name); err != nil {
		return 0, err
	}
	if err := s.create(larger.name, f, maxelem, int(h.elements), h.timeouts); err != nil {
		return 0, err
	}
	larger.room = math.MaxInt // it is twice what goes in
	w := &writer{}
	w.reset(s.c, false, nil, nil)
	s.readMu.Lock()
	err = s.reader.dump(name, func(p netip.Prefix, timeout uint32) {
		if timeout != never && timeout < uint32(kernelLimit/time.Second) {
			timeout++ // the kernel says whole seconds, rounded down
		}
		w.add(larger, p, timeout, 0, 0)
	})
	s.readMu.Unlock()
	w.flush()
	switch {
	case err == nil && len(w.failed) > 0:
		err = w.failed[0].err
	case err == nil:
		err = s.swap(ctx, growPatience, larger.name, name)
	}
	err = errors.Join(err, s.c.destroy(context.WithoutCancel(ctx), larger.name))
	if err != nil {
		return 0, fmt.Errorf("grow set %s: %w", name, err)
	}
	s.grown.Add(1)
	s.log.Info().Str("set", name).Uint32("maxelem", maxelem).Msg("set was getting full and has grown")
	return maxelem, nil
}

// swap exchanges two sets of one type and family. Rules go on with the contents that their set has now.
func (s *Sink) swap(ctx context.Context, patience time.Duration, from, to string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := patiently(ctx, func() error {
		var r request
		r.pair(nl.IPSET_CMD_SWAP, from, to)
		return s.c.one(&r)
	})
	if err != nil {
		return fmt.Errorf("swap set %s: %w", to, err)
	}
	return nil
}
