// Package verdict turns scores into bans, and keeps the one merged ban of each (jail, prefix). Whoever bans or lifts,
// messages or people, does it here.
package verdict

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Manual is the jail of bans made by hand.
const Manual = "manual"

// Grace is how long events may go on after a ban before they say that it has no effect: what was under way when the
// ban came, in queues and connections, takes its time.
const Grace = 60 * time.Second

// A Ledger is told of bans and lifts, so that it knows which events score.
type Ledger interface {
	Banned(jail string, p netip.Prefix, from, until time.Time, strike bool)
	Lifted(jail string, p netip.Prefix, at time.Time, running bool)
}

// A Table holds the bans that run. Only the judge uses it.
type Table struct {
	Ledger  Ledger
	Observe bool                     // everything is decided and recorded, nothing enforced
	Local   func(*event.Sender) bool // is the sender protected by bans that are set here?

	bans map[key]*entry
	ends ends
	seq  uint64
}

type key struct {
	jail   string
	prefix netip.Prefix
}

type entry struct {
	event.Ban
	since time.Time // when it was enforced here, by the wall clock
	slot  int       // in ends
}

// New returns an empty table that numbers its decisions from seq+1.
func New(ledger Ledger, seq uint64) *Table {
	return &Table{Ledger: ledger, Local: (*event.Sender).Local, bans: make(map[key]*entry), seq: seq}
}

// Decide appends to b.Bans the bans that b.Scores[from:] lead to.
func (t *Table) Decide(b *event.Batch, from int) {
	for i := from; i < len(b.Scores); i++ {
		s := &b.Scores[i]
		if s.Fired == 0 {
			if s.Running && s.Ran > Grace {
				t.ineffective(b, s)
			}
			continue
		}
		e := &b.Events[s.Event]
		ban := t.sentence(b, s, e)
		if ban, changed := t.Merge(ban, b.Now); changed {
			b.Bans = append(b.Bans, ban)
		}
	}
}

// sentence makes the ban that the fired tiers ask for.
func (t *Table) sentence(b *event.Batch, s *event.Score, e *event.Event) event.Ban {
	ban := event.Ban{Prefix: e.Offender, Jail: s.Jail.Name, Issued: e.Time, Until: e.Time, Ports: true, Origin: "tier", Observed: t.Observe || s.Jail.Observe}
	if s.Proven() {
		ban.Strike = s.Strikes + 1
	}
	for i := range s.Jail.Tiers {
		if s.Fired&(1<<i) == 0 {
			continue
		}
		tier := &s.Jail.Tiers[i]
		if until := event.End(e.Time, length(tier, s.Strikes)); until.After(ban.Until) {
			ban.Until, ban.Score, ban.Reason = until, s.Sums[i], reason(s, tier, s.Sums[i])
		}
		ban.Ports = ban.Ports && tier.Ports != nil
	}
	if from := b.Messages[e.Msg].From; from != nil && !t.Local(from) {
		ban.Sender = cmp.Or(from.Name, from.Addr.String())
	}
	return ban
}

// length is the tier's bantime at this strike, with its jitter.
func length(t *event.Tier, strikes int) time.Duration {
	d := t.BanTime[min(strikes, len(t.BanTime)-1)]
	if t.Jitter > 0 && d != event.Permanent {
		d += time.Duration(rand.Float64() * t.Jitter * float64(d))
	}
	return d
}

func reason(s *event.Score, t *event.Tier, sum uint32) string {
	what, limit := "failures", t.MaxRetry
	switch {
	case t.Users > 0:
		what, limit = "user names", t.Users
	case t.Strikes > 0:
		what, limit = "earlier bans", t.Strikes
	case !slices.Equal(s.Jail.Count, []event.Kind{event.Failure}):
		what = "events"
	}
	return fmt.Sprintf("%s: %d %s within %s, limit %d", s.Jail.Name, sum, what, value.FormatDuration(t.FindTime), limit)
}

// ineffective counts an event that its offender's ban should have made impossible.
func (t *Table) ineffective(b *event.Batch, s *event.Score) {
	e := &b.Events[s.Event]
	from := b.Messages[e.Msg].From
	n := t.bans[key{s.Jail.Name, e.Offender}]
	if t.Observe || n == nil || from == nil || !n.Enforced(b.Now) || b.Now.Sub(n.since) <= Grace || e.Time.Sub(n.since) <= Grace {
		return
	}
	from.Ineffective.Add(1)
}

// Merge puts the ban into the one of its (jail, prefix), gives the result the next Seq, and returns it. It reports
// false where nothing changed: a running ban is never shortened, narrowed or made to observe. A ban that is over by
// now is numbered, to be recorded, and not kept.
func (t *Table) Merge(ban event.Ban, now time.Time) (event.Ban, bool) {
	k := key{ban.Jail, ban.Prefix}
	old := t.bans[k]
	begins := old == nil || !old.Active(ban.Issued)
	if !begins {
		was := old.Ban
		ban.Issued, ban.Strike = was.Issued, was.Strike
		if !ban.Until.After(was.Until) {
			ban.Until, ban.Reason, ban.Score = was.Until, was.Reason, was.Score
		}
		ban.Ports = ban.Ports && was.Ports
		ban.Observed = ban.Observed && was.Observed
		if ban.Until.Equal(was.Until) && ban.Ports == was.Ports && ban.Observed == was.Observed {
			return was, false
		}
	}
	if ban.Observed {
		ban.Strike = 0
	}
	t.seq++
	ban.Seq, ban.At = t.seq, now
	t.Ledger.Banned(ban.Jail, ban.Prefix, ban.Issued, ban.Until, begins && ban.Strike > 0)
	if ban.Active(now) {
		t.keep(k, ban, now)
	}
	return ban, true
}

// keep makes the ban the running one.
func (t *Table) keep(k key, ban event.Ban, now time.Time) {
	n := t.bans[k]
	if n == nil {
		n = &entry{Ban: ban, since: now}
		t.bans[k] = n
		heap.Push(&t.ends, n)
		return
	}
	if n.Observed && !ban.Observed {
		n.since = now
	}
	n.Ban = ban
	heap.Fix(&t.ends, n.slot)
}

// Restore takes a ban back from the store: it keeps its number.
func (t *Table) Restore(ban event.Ban, now time.Time) {
	t.seq = max(t.seq, ban.Seq)
	if ban.Active(now) {
		t.keep(key{ban.Jail, ban.Prefix}, ban, now)
	}
}

// Lift takes back the running bans that match, and marks that their offenders were let in. It returns the lifted bans.
func (t *Table) Lift(match func(*event.Ban) bool, by, why string, now time.Time) []event.Ban {
	var lifted []event.Ban
	for k, n := range t.bans {
		if !match(&n.Ban) {
			continue
		}
		ban := n.Ban
		t.drop(k, n)
		t.seq++
		ban.Seq, ban.At, ban.Lifted, ban.By, ban.Reason = t.seq, now, true, by, why
		t.Ledger.Lifted(k.jail, k.prefix, now, true)
		lifted = append(lifted, ban)
	}
	slices.SortFunc(lifted, func(a, b event.Ban) int { return cmp.Compare(a.Seq, b.Seq) })
	return lifted
}

// Runs returns the span of the running ban of (jail, prefix), and false where none runs.
func (t *Table) Runs(jail string, p netip.Prefix) (from, until time.Time, ok bool) {
	n := t.bans[key{jail, p}]
	if n == nil {
		return from, until, false
	}
	return n.Issued, n.Until, true
}

// Expire forgets the bans that have ended by now and calls f for each.
func (t *Table) Expire(now time.Time, f func(*event.Ban)) {
	for len(t.ends) > 0 && !now.Before(t.ends[0].Until) {
		n := t.ends[0]
		t.drop(key{n.Jail, n.Prefix}, n)
		f(&n.Ban)
	}
}

// Arm turns the observed bans of jails that do not themselves observe into enforced ones, and returns them.
func (t *Table) Arm(observes func(jail string) bool, now time.Time) []event.Ban {
	t.Observe = false
	var armed []event.Ban
	for k, n := range t.bans {
		if n.Observed && !observes(k.jail) {
			ban := n.Ban
			ban.Observed = false
			t.seq++
			ban.Seq, ban.At = t.seq, now
			t.keep(k, ban, now)
			armed = append(armed, ban)
		}
	}
	return armed
}

// Running yields the bans that run, in no order.
func (t *Table) Running(yield func(*event.Ban) bool) {
	for _, n := range t.bans {
		if !yield(&n.Ban) {
			return
		}
	}
}

// Len is how many bans run.
func (t *Table) Len() int { return len(t.bans) }

func (t *Table) drop(k key, n *entry) {
	heap.Remove(&t.ends, n.slot)
	delete(t.bans, k)
}
