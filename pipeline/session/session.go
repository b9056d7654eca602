// Package session joins the lines of one attempt, so that one wrong password is one failure however many lines a
// daemon writes about it: PAM's, Invalid user, Failed password, Connection closed.
package session

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// How long after its last line a session is remembered, and how many sessions are, oldest out. An attacker who opens
// more than that gains nothing: a forgotten session's next line starts a new one, which counts more, not less.
const (
	Lifetime = 5 * time.Minute
	Capacity = 100_000
)

// A Table knows the sessions of the last minutes. It is a stage of the judge.
type Table struct {
	seed  maphash.Seed
	open  generations[uint64, attempt]
	paced generations[pace, time.Time]
}

// An attempt is what a session has counted so far.
type attempt struct {
	last    time.Time // event time of its newest line
	counted bool      // some failure
	credit  bool      // the failure counted stood for an attempt whose own line is still to come
}

type pace struct {
	rule *event.Rule
	addr netip.Addr
}

// New returns an empty table.
func New() *Table {
	return &Table{seed: maphash.MakeSeed(), open: newGenerations[uint64, attempt](Capacity), paced: newGenerations[pace, time.Time](Capacity)}
}

// Process drops the events that report again what their session has counted, and those that come too often.
func (t *Table) Process(b *event.Batch) {
	if len(b.Events) == 0 {
		return
	}
	t.open.turn(b.Now)
	t.paced.turn(b.Now)
	b.Keep(func(e *event.Event) bool {
		if e.Rule.Every > 0 && !t.due(e) {
			return false
		}
		if len(e.Session) == 0 || e.Rule.Kind != event.Failure {
			return true
		}
		return t.count(t.key(b, e), e)
	})
}

// count reports whether the event is a failure of its own, and takes from e.Count what was counted before.
func (t *Table) count(key uint64, e *event.Event) bool {
	s, _ := t.open.get(key)
	if gap := e.Time.Sub(s.last); gap > Lifetime || gap < -Lifetime {
		s = attempt{} // another process with the same id
	}
	s.last = e.Time
	keep := true
	switch {
	case e.Rule.Once:
		keep = !s.counted
		s.credit = s.credit || keep
	case s.credit:
		s.credit = false
		e.Count--
		keep = e.Count > 0
	}
	s.counted = true
	if e.Rule.End {
		t.open.drop(key)
	} else {
		t.open.put(key, s)
	}
	return keep
}

// due reports whether the rule's pause for this address is over. Without an address there is nothing to count.
func (t *Table) due(e *event.Event) bool {
	key := pace{e.Rule, e.Addr}
	last, ok := t.paced.get(key)
	if gap := e.Time.Sub(last); ok && gap < e.Rule.Every && gap > -e.Rule.Every {
		return false
	}
	t.paced.put(key, e.Time)
	return true
}

// key says which session the event belongs to: within one sender, host and filter. It is a hash under a seed that no
// attacker knows.
func (t *Table) key(b *event.Batch, e *event.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	m := &b.Messages[e.Msg]
	if m.From != nil {
		a := m.From.Addr.As16()
		h.Write(a[:])
		h.WriteString(m.From.Listener)
	}
	h.WriteByte(0)
	h.Write(m.Host)
	h.WriteByte(0)
	h.WriteString(e.Rule.Filter)
	h.WriteByte(0)
	h.Write(e.Session)
	return h.Sum64()
}

// Len is how many sessions are remembered.
func (t *Table) Len() int { return t.open.len() }
