package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Jails are the jails of the configuration by name. One whose value is off is not there.
type Jails map[string]*Jail

// A Jail is a set of filters and the bans they lead to, as it is written.
type Jail struct {
	Filters []value.String `yaml:"filters"` // services; the one word all: every service
	Count   []value.String `yaml:"count"`   // kinds of events that score: failure, probe, abuse. Default failure
	Tiers   []Tier         `yaml:"tiers"`   // 1 to event.MaxTiers
	Sinks   []value.String `yaml:"sinks"`   // where bans are made true. Default ipset; an empty list: nowhere
	Mode    value.String   `yaml:"mode"`    // enforce or observe; empty: as the whole

	Pos value.Pos `yaml:"-"` // of the name
	bad bool      // a mistake was found: it does not start
}

// A Tier is one threshold of a jail. Exactly one of MaxRetry, Users and Strikes is set.
type Tier struct {
	MaxRetry value.Int        `yaml:"maxretry"` // fires at this sum of events
	Users    value.Int        `yaml:"users"`    // fires at this number of user names that failed
	Strikes  value.Int        `yaml:"strikes"`  // fires with another tier after this number of earlier bans
	FindTime value.Duration   `yaml:"findtime"` // how far back events count
	BanTime  []value.Duration `yaml:"bantime"`  // how long, by strike; the last holds for all later ones
	Jitter   Fraction         `yaml:"jitter"`   // lengthens a ban by up to this part
	Ports    []value.Ports    `yaml:"ports"`    // what is closed; none: all traffic

	Pos value.Pos `yaml:"-"`
}

// SetPos records where the tier was read.
func (t *Tier) SetPos(p value.Pos) { t.Pos = p }

// A Fraction is a part of a whole: 0.05 or 5%.
type Fraction struct {
	F float64 // 0 to 1
	value.Pos
}

// UnmarshalText reads a fraction.
func (f *Fraction) UnmarshalText(b []byte) error {
	s, percent := strings.CutSuffix(string(b), "%")
	x, err := strconv.ParseFloat(s, 64)
	if percent {
		x /= 100
	}
	if err != nil || math.IsNaN(x) || x < 0 || x > 1 {
		return fmt.Errorf("%q is no part of a whole: write 5%% or 0.05, at most 100%%", b)
	}
	f.F = x
	return nil
}

// String returns the fraction as a decimal number.
func (f Fraction) String() string { return strconv.FormatFloat(f.F, 'g', -1, 64) }

// decodeNode decodes each jail for itself, so that a mistake costs that jail only.
func (j *Jails) decodeNode(d *decoder, n *node, what string) {
	if !d.wants(n, mapping, what) {
		return
	}
	*j = make(Jails, len(n.fields))
	for i := range n.fields {
		f := &n.fields[i]
		if f.node.off() {
			continue
		}
		one := decoder{}
		jail := &Jail{Pos: f.pos}
		if f.node.builtin {
			jail.Pos = value.Pos{}
		}
		one.decode(f.node, valueOf(jail), "jail "+plain(f.key))
		jail.bad = len(one.errs) > 0
		d.soft = append(d.soft, one.errs...)
		d.warn = append(d.warn, one.warn...)
		(*j)[f.key] = jail
	}
}

// event returns the jail as the pipeline wants it.
func (j *Jail) event(name string, untrusted time.Duration) *event.Jail {
	e := &event.Jail{Name: name, Observe: j.Mode.S == observe, Untrusted: untrusted}
	if !j.all() {
		e.Filters = texts(j.Filters)
	}
	for _, k := range j.Count {
		kind, _ := event.ParseKind(k.S)
		e.Count = append(e.Count, kind)
	}
	e.Sinks = texts(j.Sinks)
	for i := range j.Tiers {
		e.Tiers = append(e.Tiers, j.Tiers[i].event())
	}
	return e
}

func (t *Tier) event() event.Tier {
	e := event.Tier{
		MaxRetry: t.MaxRetry.N, Users: t.Users.N, Strikes: t.Strikes.N,
		FindTime: t.FindTime.Duration, Jitter: t.Jitter.F,
	}
	for _, b := range t.BanTime {
		e.BanTime = append(e.BanTime, b.Duration)
	}
	for _, p := range t.Ports {
		e.Ports = append(e.Ports, p.List...)
	}
	return e
}

// all reports whether the jail stands over every service.
func (j *Jail) all() bool { return len(j.Filters) == 1 && j.Filters[0].S == "all" }

// defaults fills in what was not written.
func (j *Jail) defaults() {
	if j.Count == nil {
		j.Count = []value.String{{S: event.Failure.String()}}
	}
	if j.Sinks == nil {
		j.Sinks = []value.String{{S: "ipset"}}
	}
}

func texts(list []value.String) []string {
	s := make([]string, len(list))
	for i := range list {
		s[i] = list[i].S
	}
	return s
}
