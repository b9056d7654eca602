package event

import (
	"net/netip"
	"slices"
	"time"
)

// Permanent is the bantime of a ban without end.
const Permanent time.Duration = 1<<63 - 1

// Forever is the end of a ban without end.
var Forever = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// End is when a ban of length d that was issued at t ends.
func End(t time.Time, d time.Duration) time.Time {
	if d == Permanent {
		return Forever
	}
	return t.Add(d)
}

// A Jail is a set of filters and the bans they lead to. Jails are made by configs and never changed afterwards.
type Jail struct {
	Name    string   // [a-z0-9-], at most 14 characters: kernel set names hold 31
	Filters []string // services; nil: all of them
	Count   []Kind   // the kinds that score
	Tiers   []Tier   // 1 to MaxTiers
	Observe bool     // decide and record, enforce nothing
	Sinks   []string // where its bans are made true

	// Untrusted is the longest ban that events from untrusted listeners may lead to: tiers beyond it don't count them.
	Untrusted time.Duration
}

// A Tier is one threshold of a jail: exactly one of MaxRetry, Users and Strikes is set.
type Tier struct {
	MaxRetry uint32          // fires at this sum of weights within FindTime
	Users    uint32          // fires at this number of distinct user names within FindTime
	Strikes  uint32          // fires together with another tier after this number of earlier bans within FindTime
	FindTime time.Duration   // how far back events count
	BanTime  []time.Duration // how long, by strike; the last one holds for all later strikes
	Jitter   float64         // lengthens a ban by up to this fraction, 0 to 1
	Ports    []uint16        // TCP and UDP ports that are closed to the offender; nil: all traffic
}

// Longest is the tier's longest ban.
func (t *Tier) Longest() time.Duration { return slices.Max(t.BanTime) }

// Counts reports whether events of kind k score in the jail.
func (j *Jail) Counts(k Kind) bool { return slices.Contains(j.Count, k) }

// Uses reports whether the jail listens to the filter.
func (j *Jail) Uses(filter string) bool {
	return j.Filters == nil || slices.Contains(j.Filters, filter)
}

// Ports are the ports that the jail's tiers name, sorted, each once.
func (j *Jail) Ports() []uint16 {
	var p []uint16
	for i := range j.Tiers {
		p = append(p, j.Tiers[i].Ports...)
	}
	slices.Sort(p)
	return slices.Compact(p)
}

// A Ban is a decision: the merged, whole state of one (Jail, Prefix), never a difference. It points into no batch.
type Ban struct {
	Prefix   netip.Prefix `json:"prefix"`
	Jail     string       `json:"jail"`               // a jail's name, or "manual"
	Seq      uint64       `json:"seq"`                // grows with every change of any ban
	At       time.Time    `json:"at"`                 // when it came to be as it is: decided, changed, lifted
	Issued   time.Time    `json:"issued"`             // when the running ban began
	Until    time.Time    `json:"until"`              // when it ends; Forever
	Lifted   bool         `json:"lifted,omitempty"`   // taken back: sinks remove it
	Observed bool         `json:"observed,omitempty"` // decided in observe mode: recorded, never enforced
	Ports    bool         `json:"ports,omitempty"`    // closes the jail's ports only; false: all traffic
	Strike   int          `json:"strike,omitempty"`   // the offender's how manyth ban in this jail within a year; 0: none
	Score    uint32       `json:"score,omitempty"`    // the sum that fired
	Reason   string       `json:"reason"`             // ssh: 7 failures within 10m, limit 7
	Origin   string       `json:"origin"`             // tier, manual, kernel: taken over from it
	By       string       `json:"by,omitempty"`       // who banned or lifted by hand
	Sender   string       `json:"sender,omitempty"`   // the sender of the message that tripped it, where that is not this host
}

// Active reports whether the ban holds at t.
func (b *Ban) Active(t time.Time) bool { return !b.Lifted && t.Before(b.Until) }

// Enforced reports whether sinks are to hold the ban at t.
func (b *Ban) Enforced(t time.Time) bool { return b.Active(t) && !b.Observed }
