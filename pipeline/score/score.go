// Package score remembers what every offender did in every jail, and adds it up over each tier's window: exactly, over
// real time stamps, without decay.
package score

import (
	"net/netip"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A History holds the records that are not in memory.
type History interface {
	// Record appends the offender's record in the jail to buf. It returns nil where there is none, or none readable.
	Record(jail string, p netip.Prefix, buf []byte) ([]byte, error)
}

// A Journal takes what is to be kept on disk. It copies what it is given.
type Journal interface {
	Record(jail string, p netip.Prefix, rec []byte)
}

// An Exhibit is one event that a jail noted: the evidence for the rap sheet.
type Exhibit struct {
	Jail  *event.Jail
	Event *event.Event
	Msg   *event.Message
	Slot  uint8 // 0 to 9, in turn: the newest ten are kept
}

// Forgiveness is how far back a success takes failures of the same user, offender and sender back.
const Forgiveness = 10 * time.Minute

// year is how long a strike counts.
const year = 365 * 24 * time.Hour

// exhibits is how many lines of evidence are kept for an offender in a jail.
const exhibits = 10

// Config says what a table counts and where it remembers it.
type Config struct {
	Jails   []*event.Jail
	History History
	// Runs tells of the running ban of (jail, prefix): it holds even where the record of it was lost. May be nil.
	Runs    func(jail string, p netip.Prefix) (from, until time.Time, ok bool)
	Exhibit func(Exhibit) // called for each noted event; it copies what it keeps
	Hot     int           // records in memory; 65,536 unless set
}

// A Table holds the hot records over a History. Only the judge uses it.
type Table struct {
	cfg    Config
	jails  map[string][]*ward // by filter
	byName map[string]*ward
	all    []*ward // jails over every filter
	hot    map[key]*record
	dirty  []key
	cold   time.Time // until then, failures of the last minutes may be on disk only
	buf    []byte
}

// A ward is a jail as the table uses it.
type ward struct {
	*event.Jail
	retry  int // the largest maxretry
	users  int // the largest users
	counts [event.Success + 1]bool
}

type key struct {
	jail   *ward
	prefix netip.Prefix
}

// New returns a table whose records are still on disk.
func New(cfg Config, now time.Time) *Table {
	if cfg.Hot == 0 {
		cfg.Hot = 1 << 16
	}
	t := &Table{cfg: cfg, jails: make(map[string][]*ward), byName: make(map[string]*ward), hot: make(map[key]*record), cold: now.Add(Forgiveness)}
	for _, j := range cfg.Jails {
		w := &ward{Jail: j}
		for i := range j.Tiers {
			w.retry = min(max(w.retry, int(j.Tiers[i].MaxRetry)), maxStamps/4)
			w.users = min(max(w.users, int(j.Tiers[i].Users)), maxStamps/4)
		}
		for _, k := range j.Count {
			w.counts[k] = true
		}
		t.byName[j.Name] = w
		if j.Filters == nil {
			t.all = append(t.all, w)
		}
		for _, f := range j.Filters {
			t.jails[f] = append(t.jails[f], w)
		}
	}
	return t
}

// Score counts event i of the batch in every jail that listens to its filter, and appends a Score for each.
func (t *Table) Score(b *event.Batch, i int) {
	e := &b.Events[i]
	for _, w := range t.jails[e.Rule.Filter] {
		t.score(b, i, w, e)
	}
	for _, w := range t.all {
		t.score(b, i, w, e)
	}
}

func (t *Table) score(b *event.Batch, i int, w *ward, e *event.Event) {
	m := &b.Messages[e.Msg]
	if e.Rule.Kind == event.Success {
		t.forgive(w, e, m)
		return
	}
	if !w.counts[e.Rule.Kind] {
		return
	}
	k := key{w, e.Offender}
	r := t.record(k)
	slot := uint8(r.total % exhibits)
	r.total++
	if t.cfg.Exhibit != nil {
		t.cfg.Exhibit(Exhibit{w.Jail, e, m, slot})
	}
	at := e.Time.UnixMilli()
	b.Scores = append(b.Scores, event.Score{Event: int32(i), Jail: w.Jail})
	s := &b.Scores[len(b.Scores)-1]
	if at >= r.from && at < r.until {
		s.Ran = time.Duration(at-r.from) * time.Millisecond
		s.Running = true // changes nothing that must outlive us: a flood of the banned costs no write
		return
	}
	t.touch(k, r)
	if at <= r.mark {
		return
	}
	r.add(stamp{at, hash(e.User), senderOf(m.From, e.Trusted), uint16(min(e.Weight(), 1<<16-1))}, w.retry, w.users)
	fire(s, w, r, at)
}

// fire fills in the sums of an event at time at, and which tiers they reach.
func fire(s *event.Score, w *ward, r *record, at int64) {
	s.Strikes = r.struck(at-year.Milliseconds(), at)
	for i := range w.Tiers {
		tier := &w.Tiers[i]
		after := max(at-tier.FindTime.Milliseconds(), r.fired[i])
		limit := tier.MaxRetry
		switch {
		case tier.Users > 0:
			s.Sums[i], s.Trusted[i] = r.users(after, at)
			limit = tier.Users
		case tier.MaxRetry > 0:
			s.Sums[i], s.Trusted[i] = r.sums(after, at)
		default:
			continue
		}
		if counted(s, w, i) >= limit {
			s.Fired |= 1 << i
			r.fired[i] = at
		}
	}
	if s.Fired == 0 {
		return
	}
	for i := range w.Tiers {
		if tier := &w.Tiers[i]; tier.Strikes > 0 {
			n := uint32(r.struck(at-tier.FindTime.Milliseconds(), at))
			s.Sums[i], s.Trusted[i] = n, n // bans that untrusted events led to are no strikes
			if n >= tier.Strikes && s.Proven() {
				s.Fired |= 1 << i
			}
		}
	}
}

// counted is the sum that tier i goes by: of trusted events only where the ban would be longer than untrusted ones may
// lead to.
func counted(s *event.Score, w *ward, i int) uint32 {
	tier := &w.Tiers[i]
	ban := tier.BanTime[min(s.Strikes, len(tier.BanTime)-1)]
	if ban > w.Untrusted-time.Duration(tier.Jitter*float64(ban)) {
		return s.Trusted[i]
	}
	return s.Sums[i]
}

// forgive takes back what the user failed on the way to this success.
func (t *Table) forgive(w *ward, e *event.Event, m *event.Message) {
	if !e.Trusted {
		return
	}
	k := key{w, e.Offender}
	r, ok := t.hot[k]
	if !ok {
		if e.Time.After(t.cold) { // nearly all successes end here: nothing on disk can be that new
			return
		}
		r = t.record(k)
	}
	at := e.Time.UnixMilli()
	if r.forgive(hash(e.User), senderOf(m.From, true), at-Forgiveness.Milliseconds(), at) {
		t.touch(k, r)
	}
}

// Banned notes that a ban of the offender runs over [from, until): what happens in it scores nothing. A strike counts
// for a year.
func (t *Table) Banned(jail string, p netip.Prefix, from, until time.Time, strike bool) {
	t.change(jail, p, func(r *record) { r.banned(from, until, strike) })
}

// Lifted notes that the offender was let in at a time: what it did before scores no more. running says that a ban ran,
// which then is no strike.
func (t *Table) Lifted(jail string, p netip.Prefix, at time.Time, running bool) {
	t.change(jail, p, func(r *record) { r.lifted(at, running) })
}

func (t *Table) change(jail string, p netip.Prefix, f func(*record)) {
	if w, ok := t.byName[jail]; ok {
		k := key{w, p}
		r := t.record(k)
		f(r)
		t.touch(k, r)
	}
}

func hash(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// senderOf folds a sender into 15 bits and the trust into the 16th. It must not change over restarts.
func senderOf(s *event.Sender, trusted bool) uint16 {
	var h uint32
	if s != nil {
		a := s.Addr.As16()
		h = hash(a[:])
	}
	v := uint16(h^h>>16) &^ trustedBit
	if trusted {
		v |= trustedBit
	}
	return v
}
