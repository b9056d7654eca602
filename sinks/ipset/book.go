package ipset

import (
	"math"
	"net/netip"
	"time"
)

// A key is an entry of one of our ban sets. No pointers: there may be a million.
type key struct {
	addr [16]byte
	bits uint8
	set  uint16 // set.id
}

func keyOf(s *set, p netip.Prefix) key {
	return key{addr: p.Addr().As16(), bits: uint8(p.Bits()), set: s.id}
}

// prefix is the reverse of keyOf.
func (k key) prefix(f family) netip.Prefix {
	a := netip.AddrFrom16(k.addr)
	if f == v4 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, int(k.bits))
}

// A hold is what the kernel was told of an entry.
type hold struct {
	out  uint32 // the book's second in which the kernel forgets it; compare marks it with seen
	long uint32 // Unix seconds of the end of a ban that outlasts the kernel's limit; 0: it does not
}

// seen marks what a dump has shown.
const seen = 1 << 31

// late is for how many seconds an entry may outlive its hold: a set that grows gives its entries up to one more.
const late = 10

// A book is what the ban sets are believed to hold: whatever the kernel has acknowledged, and when it forgets that by
// itself. It takes 50 to 70 bytes an entry. Without it nobody could tell entries that have ended from those that
// somebody else took out, or know which to put back.
type book struct {
	start time.Time // the book's clock is monotonic, as the kernel's is: nobody sets it
	held  map[key]hold
	sets  map[uint16]*tally // by set.id
	at    uint32            // what ended before is counted no more
	live  int               // of all tallies
	edits uint64            // what was sent; changes tell that a listing is of another moment
}

// A tally counts what one set holds.
type tally struct {
	live int
	due  map[uint32]int // how many of them end in a second
}

func newBook(start time.Time) *book {
	b := &book{start: start, held: map[key]hold{}, sets: map[uint16]*tally{}}
	b.settle(b.clock())
	return b
}

// clock counts seconds; not from 0, so that there is a time before the start.
func (b *book) clock() uint32 { return uint32(time.Since(b.start)/time.Second) + 2*late }

func (b *book) tally(set uint16) *tally {
	t := b.sets[set]
	if t == nil {
		t = &tally{due: map[uint32]int{}}
		b.sets[set] = t
	}
	return t
}

// put does not move what is there: callers range over held.
func (b *book) put(k key, h hold) {
	b.uncount(k)
	b.held[k] = h
	if h.out >= b.at {
		t := b.tally(k.set)
		t.live++
		t.due[h.out]++
		b.live++
	}
}

func (b *book) drop(k key) {
	b.uncount(k)
	delete(b.held, k)
}

// uncount takes an entry out of its tally, if it is there and not settled.
func (b *book) uncount(k key) {
	h, ok := b.held[k]
	h.out &^= seen
	if !ok || h.out < b.at {
		return
	}
	t := b.sets[k.set]
	t.live--
	b.live--
	if t.due[h.out]--; t.due[h.out] == 0 {
		delete(t.due, h.out)
	}
}

// settle takes out of the tallies what has ended, so long before now that the kernel holds it no more.
func (b *book) settle(now uint32) {
	for ; b.at+late < now; b.at++ {
		for _, t := range b.sets {
			if n := t.due[b.at]; n > 0 {
				delete(t.due, b.at)
				t.live -= n
				b.live -= n
			}
		}
	}
	if len(b.held) > 2*b.live+1024 {
		held := make(map[key]hold, b.live) // a map keeps the room that a flood took
		for k, h := range b.held {
			if h.out >= b.at {
				held[k] = h
			}
		}
		b.held = held
	}
}

// sure is the first second whose entries have certainly not ended by now: timeouts are whole seconds from somewhere
// within one.
func sure(now uint32) uint32 { return now + 2 }

// between returns how many entries a set must and may hold now, after settle.
func (b *book) between(set uint16, now uint32) (least, most int) {
	t := b.sets[set]
	if t == nil {
		return 0, 0
	}
	least = t.live
	for s := b.at; s < sure(now); s++ {
		least -= t.due[s]
	}
	return least, t.live
}

// keep forgets the sets that f reports false for.
func (b *book) keep(f func(set uint16) bool) {
	for id, t := range b.sets {
		if !f(id) {
			b.live -= t.live
			delete(b.sets, id)
		}
	}
	for k := range b.held {
		if b.sets[k.set] == nil {
			delete(b.held, k)
		}
	}
}

// unix32 is t in Unix seconds, as far as 32 bits go: until 2106.
func unix32(t time.Time) uint32 { return uint32(min(t.Unix(), math.MaxUint32)) }
