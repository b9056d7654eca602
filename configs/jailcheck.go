package configs

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

const (
	// maxName is what the kernel leaves: a set's name holds 31 bytes (IPSET_MAXNAMELEN, 32 with the NUL), and ours put
	// rapsheet- before the jail's and a suffix behind it.
	maxName = 14

	// maxScore bounds what is remembered of one offender: a record holds as many events as the largest threshold.
	maxScore = 1000

	// maxUsers is less: names are compared with each other at every event.
	maxUsers = 100

	// retention is how long the store keeps history.
	retention = 400 * 24 * time.Hour

	maxLadder = 32
)

// Names that commands and kernel sets use for other things.
var reserved = []string{"allow", "manual"}

// A jailCheck checks one jail after another.
type jailCheck struct {
	filters []string // services that there are
	sinks   []string
	bad     bool // the jail under check was not read whole: what seems to be missing may only be unreadable
	errs    value.Errors
	warn    value.Errors
}

// missing reports that something is not there.
func (c *jailCheck) missing(at value.Pos, hint, format string, args ...any) {
	if !c.bad {
		c.errs.Add(at, hint, format, args...)
	}
}

// check reports whether the jail can start.
func (c *jailCheck) check(name string, j *Jail) bool {
	before := len(c.errs)
	c.bad = j.bad
	c.name(name, j.Pos)
	c.words(j)
	c.tiers(name, j)
	return !j.bad && len(c.errs) == before
}

func (c *jailCheck) name(name string, at value.Pos) {
	switch {
	case slices.Contains(reserved, name):
		c.errs.Add(at, "choose another", "no jail can be called %s: the word means something else", name)
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		c.errs.Add(at, "lower-case letters, digits and hyphens", "%s is no name for a jail", plain(name))
	case len(name) > maxName:
		c.errs.Add(at, "kernel set names hold no more", "jail name %s is longer than %d characters", name, maxName)
	}
}

func (c *jailCheck) words(j *Jail) {
	if len(j.Filters) == 0 {
		c.missing(j.Pos, "filters: [ssh], or filters: all", "jail has no filters")
	}
	for _, f := range j.Filters {
		switch {
		case f.S == "all" && len(j.Filters) > 1:
			c.errs.Add(f.Pos, "", "all stands alone: it is every filter there is")
		case f.S != "all" && !slices.Contains(c.filters, f.S):
			c.errs.Add(f.Pos, orList(suggest(f.S, c.filters), "there are ", c.filters), "no filter %s", plain(f.S))
		}
	}
	kinds := []string{event.Failure.String(), event.Probe.String(), event.Abuse.String()}
	if len(j.Count) == 0 {
		c.missing(j.Pos, "leave it away to count failures", "count is empty: no event would score")
	}
	for _, k := range j.Count {
		if !slices.Contains(kinds, k.S) {
			c.errs.Add(k.Pos, orList(suggest(k.S, kinds), "one of ", kinds), "%s cannot be counted", plain(k.S))
		}
	}
	if len(j.Sinks) == 0 {
		c.warn.Add(j.Pos, "mode: observe says so more clearly", "jail has no sinks: its bans have no effect")
	}
	for _, s := range j.Sinks {
		if !slices.Contains(c.sinks, s.S) {
			c.errs.Add(s.Pos, orList(suggest(s.S, c.sinks), "there are ", c.sinks), "no sink %s", plain(s.S))
		}
	}
	checkMode(j.Mode, &c.errs)
}

func (c *jailCheck) tiers(name string, j *Jail) {
	switch {
	case len(j.Tiers) == 0:
		c.missing(j.Pos, "tiers: [{maxretry: 5, findtime: 10m, bantime: 10m}]", "jail %s has no tiers", plain(name))
	case len(j.Tiers) > event.MaxTiers:
		at := j.Tiers[event.MaxTiers].Pos
		c.errs.Add(at, "", "jail %s has %d tiers: at most %d", plain(name), len(j.Tiers), event.MaxTiers)
	case !slices.ContainsFunc(j.Tiers, func(t Tier) bool { return t.Strikes.N == 0 }):
		c.missing(j.Tiers[0].Pos, "add one with maxretry or users",
			"tiers by strikes alone never ban: the first strike needs another tier")
	}
	for i := range j.Tiers {
		c.tier(&j.Tiers[i], orElse(j.Tiers[i].Pos, j.Pos))
	}
}

func (c *jailCheck) tier(t *Tier, at value.Pos) {
	// A number that could not be read has its place all the same, and was reported: it is not missing.
	var set []string
	for _, n := range []struct {
		key string
		value.Int
	}{{"maxretry", t.MaxRetry}, {"users", t.Users}, {"strikes", t.Strikes}} {
		if n.N == 0 && n.Line == 0 {
			continue
		}
		set = append(set, n.key)
		most := uint32(maxScore)
		if n.key == "users" {
			most = maxUsers
		}
		if n.N == 0 || n.N > most {
			c.errs.Add(n.Pos, "", "%s is from 1 to %d", n.key, most)
		}
	}
	switch len(set) {
	case 0:
		c.missing(at, "maxretry, users or strikes", "tier has no threshold")
	case 1:
	default:
		c.errs.Add(at, "make two tiers of it", "tier has %s: only one of them", strings.Join(set, " and "))
	}
	switch f := t.FindTime; {
	case f.Duration <= 0:
		c.missing(orElse(f.Pos, at), "", "tier needs a findtime above zero")
	case f.Duration > retention && f.Duration != math.MaxInt64:
		c.warn.Add(f.Pos, "", "findtime %s is longer than history is kept: %s", f, value.FormatDuration(retention))
	case f.Duration == math.MaxInt64:
		c.errs.Add(f.Pos, "", "findtime cannot be permanent: history is kept for %s", value.FormatDuration(retention))
	}
	c.bans(t, at)
}

func (c *jailCheck) bans(t *Tier, at value.Pos) {
	if len(t.BanTime) == 0 {
		c.missing(at, "bantime: 10m, or by strike [10m, 1d, 1y]", "tier has no bantime")
	}
	if len(t.BanTime) > maxLadder {
		c.errs.Add(t.BanTime[maxLadder].Pos, "", "bantime has more than %d steps", maxLadder)
	}
	for i, b := range t.BanTime {
		switch {
		case b.Duration < time.Second:
			c.errs.Add(orElse(b.Pos, at), "", "bantime must be at least 1s")
		case i > 0 && b.Duration < t.BanTime[i-1].Duration:
			c.errs.Add(b.Pos, "each step at least as long as the one before", "bantime %s comes after %s", b, t.BanTime[i-1])
		}
	}
	if n := len(t.BanTime); n > 0 && t.MaxRetry.N == 1 && t.BanTime[0].Duration > 30*24*time.Hour {
		c.warn.Add(t.MaxRetry.Pos, "", "one mistyped password bans for %s", t.BanTime[0])
	}
}

// orElse is the first place that is one.
func orElse(a, b value.Pos) value.Pos {
	if a.Line == 0 {
		return b
	}
	return a
}

// orList is the hint, or else the whole choice.
func orList(hint, word string, choice []string) string {
	if hint == "" && len(choice) > 0 && len(choice) <= 8 {
		return word + strings.Join(choice, ", ")
	}
	return hint
}
