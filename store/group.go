package store

import (
	"net/netip"

	"github.com/dgraph-io/badger/v4"
)

// A Group gathers what one commit writes to the history. Whatever it is given it copies. A Group belongs to whoever got
// it from Store.Group until Store.Commit, and is used by one goroutine.
type Group struct {
	arena   []byte // keys and values, one behind the other
	items   []item
	records int
	lines   int

	droppedRecords, droppedLines int // too large or too many

	entries []badger.Entry // the committer's
}

// An item is where in the arena a key begins, and where its value does. The value ends where the next key begins.
type item struct{ key, val uint32 }

const (
	// maxLines bounds what a flood can write in one commit: 4096 lines are at most 8 MiB.
	maxLines = 4096
	// maxRecord is far more than a record of 4096 stamps takes.
	maxRecord = 256 << 10
	// maxArena keeps the offsets of items in their 32 bits with room to spare.
	maxArena = 1 << 30
	// keepArena and keepItems are what an empty group holds on to.
	keepArena = 8 << 20
	keepItems = 1 << 16
)

// Record adds the offender's record in the jail. Of two records of one offender the later one counts.
func (g *Group) Record(jail string, p netip.Prefix, rec []byte) {
	if !keyable(jail, p) || len(rec) > maxRecord || len(g.arena) > maxArena {
		g.droppedRecords++
		return
	}
	at := len(g.arena)
	g.arena = appendKey(g.arena, tableRecord, jail, p)
	g.items = append(g.items, item{uint32(at), uint32(len(g.arena))})
	g.arena = append(g.arena, rec...)
	g.records++
}

// Evidence adds a line to the offender's rap sheet, in the place of an earlier one of the same slot.
func (g *Group) Evidence(e Evidence) {
	if !keyable(e.Jail, e.Prefix) || g.lines >= maxLines || len(g.arena) > maxArena {
		g.droppedLines++
		return
	}
	at := len(g.arena)
	g.arena = append(appendKey(g.arena, tableEvidence, e.Jail, e.Prefix), e.Slot%Slots)
	g.items = append(g.items, item{uint32(at), uint32(len(g.arena))})
	g.arena = appendEvidence(g.arena, &e)
	g.lines++
}

// Len is how many records and lines the group holds.
func (g *Group) Len() int { return len(g.items) }

// EvidenceLen is how many of them are lines of evidence.
func (g *Group) EvidenceLen() int { return g.lines }

// Reset empties the group and keeps its memory, unless a burst has made that large.
func (g *Group) Reset() {
	g.arena, g.items, g.entries = g.arena[:0], g.items[:0], g.entries[:0]
	if cap(g.arena) > keepArena {
		g.arena = nil
	}
	if cap(g.items) > keepItems {
		g.items = nil
	}
	if cap(g.entries) > keepItems {
		g.entries = nil
	}
	g.records, g.lines, g.droppedRecords, g.droppedLines = 0, 0, 0, 0
}

// each calls f with every key and value, in the order in which they were added.
func (g *Group) each(f func(i int, key, val []byte)) {
	for i, it := range g.items {
		end := uint32(len(g.arena))
		if i+1 < len(g.items) {
			end = g.items[i+1].key
		}
		f(i, g.arena[it.key:it.val:it.val], g.arena[it.val:end:end])
	}
}
