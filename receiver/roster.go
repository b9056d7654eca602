package receiver

import (
	"net/netip"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// The number of senders that a listener tells apart. All further ones share one: whoever forges addresses fills no memory.
const maxSenders = 4096

// A peer is what a listener tells its senders apart by.
type peer struct {
	addr netip.Addr // invalid on a unix socket
	uid  int        // -1: not known
}

// A roster holds the senders of one listener. A sender that connects again is the same sender again.
type roster struct {
	listener string
	trusted  bool

	mu    sync.RWMutex
	index map[peer]uint16
	list  []*event.Sender
}

func newRoster(listener string, trusted bool) *roster {
	return &roster{listener: listener, trusted: trusted, index: map[peer]uint16{}}
}

// number returns the peer's number, a new one where it is new. Numbers count from 0 to maxSenders, the last one being all
// peers that came when the roster was full.
func (r *roster) number(p peer) uint16 {
	r.mu.RLock()
	n, ok := r.index[p]
	r.mu.RUnlock()
	if ok {
		return n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok = r.index[p]; ok {
		return n
	}
	s := &event.Sender{Addr: p.addr, UID: p.uid, Listener: r.listener, Trusted: r.trusted}
	switch {
	case len(r.list) < maxSenders:
		r.index[p] = uint16(len(r.list))
	case len(r.list) > maxSenders:
		return maxSenders
	default: // an address that is nobody's: this sender is not on this host
		s.Addr, s.UID, s.Name = netip.IPv6Unspecified(), -1, "others"
	}
	r.list = append(r.list, s)
	return uint16(len(r.list) - 1)
}

// sender returns the sender of a number, and nil where the number was never given.
func (r *roster) sender(n uint16) *event.Sender {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if int(n) >= len(r.list) {
		return nil
	}
	return r.list[n]
}

// all returns the senders in order of appearance. The slice is the roster's: it grows, but what it holds stays.
func (r *roster) all() []*event.Sender {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.list
}

// A tally sums up what one sender's messages in a block come to, so that its counters are touched once.
type tally struct {
	received, bytes, cut, malformed, dropped uint64
}

// add counts one message of size bytes.
func (t *tally) add(size int, why flaw, kept bool) {
	t.received++
	t.bytes += uint64(size)
	switch why {
	case cut:
		t.cut++
	case lied:
		t.malformed++
	}
	if !kept {
		t.dropped++
	}
}

// book moves the sums to the sender.
func (t *tally) book(s *event.Sender, now time.Time) {
	s.Received.Add(t.received)
	s.Bytes.Add(t.bytes)
	s.Last.Store(now.UnixNano())
	if t.cut > 0 {
		s.Cut.Add(t.cut)
	}
	if t.malformed > 0 {
		s.Malformed.Add(t.malformed)
	}
	if t.dropped > 0 {
		s.Dropped.Add(t.dropped)
	}
	*t = tally{}
}
