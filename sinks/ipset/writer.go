package ipset

import (
	"context"
	"errors"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
)

// A writer gathers adds and deletes and sends them by chunks.
type writer struct {
	c       *conn
	req     request
	filling bool        // write to the sets' temporary names
	full    func(*set)  // called when a set's room is used up: gives it new room
	book    *book       // notes what the kernel has taken; nil: it is noted nowhere
	sent    [chunk]item // what each message of req is
	failed  []failure
}

// An item is one message: p goes into set or out of it, for the ban of the caller's number.
type item struct {
	cmd     uint16
	ban     int
	set     *set
	prefix  netip.Prefix
	timeout uint32
	long    uint32 // see hold
}

// A failure is an item that the kernel refused.
type failure struct {
	item
	err error
}

func (w *writer) reset(c *conn, filling bool, book *book, full func(*set)) {
	w.c, w.filling, w.book, w.full, w.failed = c, filling, book, full, nil
	w.req.reset()
}

func (w *writer) add(set *set, p netip.Prefix, timeout, long uint32, ban int) {
	room := w.room(set)
	if *room <= 0 {
		w.flush()
		w.full(set)
	}
	*room--
	w.put(item{nl.IPSET_CMD_ADD, ban, set, p, timeout, long})
}

func (w *writer) del(set *set, p netip.Prefix, ban int) {
	w.put(item{nl.IPSET_CMD_DEL, ban, set, p, never, 0})
}

func (w *writer) put(it item) {
	if w.req.n == chunk {
		w.flush()
	}
	w.sent[w.req.n] = it
	w.req.entry(it.cmd, 0, w.name(it.set), it.prefix, it.timeout)
}

// hopeless reports whether more has failed than others' adds could explain: to send more is of no use.
func (w *writer) hopeless() bool { return len(w.failed) > 10*chunk }

func (w *writer) room(set *set) *int {
	if w.filling {
		return &set.roomTemp
	}
	return &set.room
}

func (w *writer) name(set *set) string {
	if w.filling {
		return set.temp
	}
	return set.name
}

// flush sends what is gathered. Where no answer comes all of it counts as failed: it can be sent again.
func (w *writer) flush() {
	if w.req.n == 0 {
		return
	}
	w.req.ack()
	before := len(w.failed)
	var now uint32
	if w.book != nil {
		w.book.edits++
		now = w.book.clock() // timeouts begin later
	}
	var refused [chunk]bool
	err := w.c.send(&w.req, func(i int, code syscall.Errno) {
		w.failed = append(w.failed, failure{w.sent[i], kernelError(code)})
		refused[i] = true
	})
	if err != nil {
		w.failed = w.failed[:before]
		for _, it := range w.sent[:w.req.n] {
			w.failed = append(w.failed, failure{it, err})
		}
	} else if w.book != nil {
		for i := range w.sent[:w.req.n] {
			if !refused[i] {
				w.note(&w.sent[i], now)
			}
		}
	}
	w.req.reset()
}

func (w *writer) note(it *item, now uint32) {
	k := keyOf(it.set, it.prefix)
	if it.cmd == nl.IPSET_CMD_DEL {
		w.book.drop(k)
		return
	}
	w.book.put(k, hold{out: now + it.timeout, long: it.long})
}

// makeRoomLocked asks the kernel how full a set is, and doubles it at three quarters. To wait for the kernel's error
// would cost much more: an add to a full set makes it look through all entries for one that has ended.
func (s *Sink) makeRoomLocked(ctx context.Context, set *set, filling bool) {
	name, room := set.name, &set.room
	if filling {
		name, room = set.temp, &set.roomTemp
	}
	h, ok, err := s.c.header(name)
	switch {
	case err != nil || !ok:
		*room = chunk // whatever is wrong, the next add will tell
		return
	case h.elements >= h.maxelem/4*3:
		larger, err := s.growLocked(ctx, h)
		if err != nil {
			s.log.Error().Str("set", name).Uint32("entries", h.elements).Err(err).Msg("set does not grow")
		} else {
			h.maxelem = larger
		}
	}
	*room = h.room()
}

// room is how many adds may follow before it is time to look again.
func (h header) room() int {
	return max(int(h.maxelem/8*7)-int(h.elements), int(h.maxelem/16), 1)
}

// settleLocked flushes, and sends what a full set refused once more after the set has grown: others may add to it too.
// It returns what failed for good.
func (s *Sink) settleLocked(ctx context.Context, w *writer) []failure {
	w.flush()
	var failed []failure
	for {
		grown := map[*set]error{}
		again := w.failed
		w.failed = nil
		for _, f := range again {
			if !errors.Is(f.err, errFull) {
				failed = append(failed, f)
				continue
			}
			err, tried := grown[f.set]
			if !tried {
				h, _, e := s.c.header(w.name(f.set))
				if err = e; err == nil {
					_, err = s.growLocked(ctx, h)
				}
				grown[f.set] = err
			}
			if err != nil {
				failed = append(failed, failure{f.item, err})
				continue
			}
			w.put(f.item)
		}
		if w.req.n == 0 && len(w.failed) == 0 {
			return failed
		}
		w.flush()
	}
}
