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
}

// A failure is an item that the kernel refused.
type failure struct {
	item
	err error
}

func (w *writer) reset(c *conn, filling bool) {
	w.c, w.filling, w.failed = c, filling, w.failed[:0]
	w.req.reset()
}

func (w *writer) add(set *set, p netip.Prefix, timeout uint32, ban int) {
	w.put(item{nl.IPSET_CMD_ADD, ban, set, p, timeout})
}

func (w *writer) del(set *set, p netip.Prefix, ban int) {
	w.put(item{nl.IPSET_CMD_DEL, ban, set, p, never})
}

func (w *writer) put(it item) {
	if w.req.n == chunk {
		w.flush()
	}
	w.sent[w.req.n] = it
	w.req.entry(it.cmd, 0, w.name(it.set), it.prefix, it.timeout)
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
	err := w.c.send(&w.req, func(i int, code syscall.Errno) {
		w.failed = append(w.failed, failure{w.sent[i], kernelError(code)})
	})
	if err != nil {
		w.failed = w.failed[:before]
		for _, it := range w.sent[:w.req.n] {
			w.failed = append(w.failed, failure{it, err})
		}
	}
	w.req.reset()
}

// settleLocked flushes, and sends what a full set refused once more after the set has grown. It returns what failed for
// good, valid until the writer's next use.
func (s *Sink) settleLocked(ctx context.Context, w *writer) []failure {
	w.flush()
	var failed []failure
	for {
		full := map[*set]error{}
		again := w.failed
		w.failed = nil
		for _, f := range again {
			if !errors.Is(f.err, errFull) {
				failed = append(failed, f)
				continue
			}
			err, tried := full[f.set]
			if !tried {
				err = s.growLocked(ctx, w.name(f.set), f.set.family)
				full[f.set] = err
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
