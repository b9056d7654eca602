// Package event holds the words that every part of rapsheet shares: messages, events, scores, bans, and the batches
// that carry them. It imports nothing but the standard library and knows nothing of sockets, disks or kernels.
package event

import (
	"net/netip"
	"time"
)

// Kind says what an event is. A jail chooses which kinds it counts.
type Kind uint8

// The kinds of events. The zero Kind is no event.
const (
	Failure Kind = iota + 1 // a login that failed
	Probe                   // scanning: no login was tried
	Abuse                   // relaying, spam and the like
	Success                 // a login that succeeded: takes failures back
)

var kindNames = [...]string{"none", "failure", "probe", "abuse", "success"}

// String returns the kind as filters and jails spell it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "none"
}

// ParseKind returns the kind that s spells, and false where it spells none.
func ParseKind(s string) (Kind, bool) {
	for k := Failure; k <= Success; k++ {
		if kindNames[k] == s {
			return k, true
		}
	}
	return 0, false
}

// A Rule is one rule of a filter as later stages need it. Rules live as long as the configuration; events point at them.
type Rule struct {
	Filter string        // the filter's service: ssh
	Name   string        // the rule's name, or its template
	Kind   Kind          // what a match is
	Weight uint16        // what one match scores; 1 unless set
	Once   bool          // counts only in a session that has counted nothing; the next failure there is the same attempt
	Apart  bool          // one of the lines that several processes write of one attempt: joined by address, too
	End    bool          // the session's last line
	Every  time.Duration // at most one event of this rule and address in that time; 0: no limit
}

// An Event is what a filter found in one message. Name, User and Session are slices of the message's Raw and share
// its lifetime: who keeps an event beyond its batch copies them.
type Event struct {
	Rule    *Rule
	Msg     int32      // index into Batch.Messages
	Count   uint16     // attempts that this message reports, at least 1
	Addr    netip.Addr // unmapped, without zone; invalid when the daemon logged a host name or the address is ambiguous
	Name    []byte     // the host name that stood in the address's place, else empty
	User    []byte     // who tried to log in, as the attacker spelled it
	Session []byte     // joins the lines of one attempt; empty: this line stands alone

	Time     time.Time    // when it happened; never after Batch.Now
	Offender netip.Prefix // what it counts on, and what a ban would cover
	Trusted  bool         // from a listener whose senders can't be forged
}

// Weight is what the event scores in all: the rule's weight for each attempt.
func (e *Event) Weight() uint32 { return uint32(e.Rule.Weight) * uint32(e.Count) }

// MaxTiers is how many tiers a jail may have.
const MaxTiers = 4

// A Score is what one event brought an offender to in one jail, a sum for each tier.
type Score struct {
	Event   int32 // index into Batch.Events
	Jail    *Jail
	Sums    [MaxTiers]uint32 // all events in the tier's window; for a tier by users, distinct names; by strikes, strikes
	Trusted [MaxTiers]uint32 // of these, from trusted listeners
	Fired   uint8            // bit i: tier i is reached
	Strikes int              // strikes of the last year, this one not counted
	Running bool             // a ban of the jail runs: the event is recorded and scores nothing
	Ran     time.Duration    // how long it had run at the event
}

// Proven reports whether trusted events alone reach one of the tiers that fired: only such a ban is a strike.
func (s *Score) Proven() bool {
	for i := range s.Jail.Tiers {
		t := &s.Jail.Tiers[i]
		if limit := max(t.MaxRetry, t.Users); limit > 0 && s.Fired&(1<<i) != 0 && s.Trusted[i] >= limit {
			return true
		}
	}
	return false
}
