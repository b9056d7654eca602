package ipset

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const (
	// compareAll is how often all sets are compared with what they are to hold, whatever their counts did.
	compareAll = 10 * time.Minute
	// compareRest keeps comparisons from taking more than a 20th of the time.
	compareRest = 20
	// settled is how old a ban is that must have reached its set.
	settled = 2 * time.Second
)

// A watch is what is remembered of the sets' counts. Sets tell nobody when entries are taken out of them by others
// (ipset flush, ipset del). But one that has become smaller can be told by its count; usually bans have ended.
type watch struct {
	mu     sync.Mutex
	seen   map[string]int // entries of each set at the last look
	due    time.Time      // when all sets are compared
	rest   time.Time      // no comparison before
	shrunk time.Time      // when a set was found smaller; zero: all bans of then are settled and compared
	short  string         // the set that held too little at the last one
}

// compare looks at the sets' counts, and has them filled again where some held too little twice in succession: once, and
// a ban may just have changed its set.
func (s *Sink) compare(ctx context.Context) {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	counts, err := s.Count()
	if err != nil {
		return
	}
	s.compareAllowed(counts)
	now := s.now()
	if now.After(w.due) {
		w.shrunk, w.due = now, now.Add(compareAll)
	}
	for name, n := range w.seen {
		if counts[name] < n {
			w.shrunk = now
		}
	}
	w.seen = counts
	if w.shrunk.IsZero() && w.short == "" || s.Held == nil || now.Before(w.rest) {
		return
	}
	began := time.Now()
	want, err := s.want(ctx, now.Add(-settled))
	w.rest = now.Add(compareRest * time.Since(began))
	if err != nil {
		return
	}
	before := w.short
	w.short = ""
	if now.Sub(w.shrunk) > settled {
		w.shrunk = time.Time{}
	}
	for name, n := range want {
		if counts[name] < n && (w.short == "" || name == before) {
			w.short = name
		}
	}
	if w.short == "" || w.short != before {
		return
	}
	s.log.Warn().Str("set", w.short).Int("held", counts[w.short]).Int("wanted", want[w.short]).Msg("somebody else took bans out of the kernel: filling the sets again")
	w.short, w.seen = "", nil
	if s.Lost != nil {
		s.Lost()
	}
}

// want counts the bans that each set is to hold, those issued after limit left out.
func (s *Sink) want(ctx context.Context, limit time.Time) (map[string]int, error) {
	s.mu.Lock()
	jails := maps.Clone(s.jails) // what it points to does not change
	s.mu.Unlock()
	count := map[*set]int{}
	err := s.Held(ctx, func(b *event.Ban) {
		j := jails[b.Jail]
		if j == nil || b.Issued.After(limit) || !b.Prefix.IsValid() {
			return
		}
		f := familyOf(b.Prefix)
		hold := j.pick(f, b.Ports)
		if hold == nil {
			hold = j.pick(f, false)
		}
		count[hold]++
	})
	want := make(map[string]int, len(count))
	for set, n := range count {
		want[set.name] = n
	}
	return want, err
}

// compareAllowed fills the allow sets again unless they hold as many prefixes as they are to. Nothing in them ends by itself.
func (s *Sink) compareAllowed(counts map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil || !s.allowed {
		return
	}
	var want [2]int
	for _, p := range s.held {
		want[familyOf(p).at()]++
	}
	for i, set := range s.allow {
		if counts[set.name] == want[i] {
			continue
		}
		h, ok, err := s.c.header(set.name) // the list may have changed since
		if err != nil || !ok || int(h.elements) == want[i] {
			continue
		}
		s.allowed = false
		err = s.allowLocked(s.held)
		s.log.Warn().Str("set", set.name).Uint32("held", h.elements).Int("wanted", want[i]).Err(err).Msg("somebody else changed who is never banned: filled the set again")
		return
	}
}
