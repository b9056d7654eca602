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

// near is how far apart the lines are that several processes write of one attempt. PAM waits 2 to 3 seconds in between.
const near = 30 * time.Second

// A Table knows the sessions of the last minutes. It is a stage of the judge.
type Table struct {
	seed  maphash.Seed
	open  generations[uint64, attempt]
	trail generations[uint64, trace] // by address
	paced generations[pace, time.Time]
}

// An attempt is what a session has counted so far.
type attempt struct {
	last    time.Time // event time of its newest line
	counted bool      // some failure
	credit  bool      // the failure counted stood for an attempt whose own line is still to come
	apart   bool      // and that line may come in another session

	by *event.Rule // the line of several processes that came last, unless a line of another rule has repeated it
}

// A trace is what joins the sessions of an address where several processes write of one attempt.
type trace struct {
	last    int64  // event time of the newest change, Unix milliseconds
	session uint64 // reports the address's attempts itself: what others say of them counts nothing
	owed    uint32 // failures counted in sessions that may not be the attempt's own: its own line takes one back
}

type pace struct {
	rule *event.Rule
	addr netip.Addr
}

// New returns an empty table.
func New() *Table {
	return &Table{seed: maphash.MakeSeed(), open: newGenerations[uint64, attempt](Capacity),
		trail: newGenerations[uint64, trace](Capacity), paced: newGenerations[pace, time.Time](Capacity)}
}

// Process drops the events that report again what their session has counted, and those that come too often.
func (t *Table) Process(b *event.Batch) {
	if len(b.Events) == 0 {
		return
	}
	t.open.turn(b.Now)
	t.trail.turn(b.Now)
	t.paced.turn(b.Now)
	b.Keep(func(e *event.Event) bool {
		if e.Rule.Every > 0 && !t.due(e) {
			return false
		}
		if len(e.Session) == 0 || e.Rule.Kind != event.Failure {
			return true
		}
		return t.count(t.key(b, e, netip.Addr{}), b, e)
	})
}

// count reports whether the event is a failure of its own, and takes from e.Count what was counted before.
func (t *Table) count(key uint64, b *event.Batch, e *event.Event) bool {
	s, _ := t.open.get(key)
	if gap := e.Time.Sub(s.last); gap > Lifetime || gap < -Lifetime {
		s = attempt{} // another process with the same id
	}
	s.last = e.Time
	keep := true
	switch {
	case e.Rule.Once:
		if keep = !s.counted; keep {
			keep = t.first(key, b, e, &s)
		}
		if !keep && !s.counted && !e.Rule.End {
			return false // the address's other session counts; this one's own lines are still to come
		}
	case e.Rule.Apart && s.by != nil && s.by != e.Rule:
		s.by = nil
		e.Count--
		keep = e.Count > 0
	default:
		e.Count -= t.known(key, b, e, &s)
		keep = e.Count > 0
		if s.by = nil; e.Rule.Apart {
			s.by = e.Rule
		}
	}
	s.counted = true
	if e.Rule.End {
		t.open.drop(key)
	} else {
		t.open.put(key, s)
	}
	return keep
}

// first reports whether a once line that is the first failure of its session counts.
func (t *Table) first(key uint64, b *event.Batch, e *event.Event, s *attempt) bool {
	at := t.key(b, e, e.Addr)
	tr := t.trace(at, e)
	switch {
	case e.Rule.End && tr.owed > 0:
		tr.owed--
	case e.Rule.End:
		return true
	case !e.Rule.Apart:
		s.credit, tr.session = true, key
	case tr.session != 0 && tr.session != key:
		return false
	default:
		s.credit, s.apart = true, true
		tr.owed++
	}
	t.trail.put(at, tr)
	return !e.Rule.End
}

// known is how many of the attempts that a line reports were counted before: 1 or none.
func (t *Table) known(key uint64, b *event.Batch, e *event.Event, s *attempt) uint16 {
	own, apart := s.credit, s.apart
	s.credit, s.apart = false, false
	if !apart && !e.Rule.Apart { // nearly all
		return one(own)
	}
	at := t.key(b, e, e.Addr)
	tr := t.trace(at, e)
	if apart || !own {
		if own = tr.owed > 0; own {
			tr.owed--
		}
	}
	if e.Rule.Apart {
		tr.session = key
	}
	t.trail.put(at, tr)
	return one(own)
}

func one(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

// trace returns what is known of the address, if it is not too old.
func (t *Table) trace(at uint64, e *event.Event) trace {
	tr, _ := t.trail.get(at)
	now := e.Time.UnixMilli()
	if gap := time.Duration(now-tr.last) * time.Millisecond; gap > near || gap < -near {
		tr = trace{}
	}
	tr.last = now
	return tr
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

// key says which session the event belongs to: within one sender, host and filter. With an address it says whose the
// event is, whatever the session. It is a hash under a seed that no attacker knows.
func (t *Table) key(b *event.Batch, e *event.Event, addr netip.Addr) uint64 {
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
	if addr.IsValid() {
		a := addr.As16()
		h.Write(a[:])
	} else {
		h.Write(e.Session)
	}
	return h.Sum64()
}

// Len is how many sessions are remembered.
func (t *Table) Len() int { return t.open.len() }
