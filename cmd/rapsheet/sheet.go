package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/store"
	"github.com/rapsheet/rapsheet/web"
)

// A sheet is the rap sheet of one query: everything known of the offenders that an address or network touches.
type sheet struct {
	Query        string     `json:"query"`
	Banned       bool       `json:"banned"`        // some enforced ban covers the query
	Never        string     `json:"never"`         // why it is never banned; empty: it may be
	Off          string     `json:"off"`           // why nothing is enforced; empty: enforcing
	NotProtected []string   `json:"not_protected"` // senders where bans set here are not enforced
	Offenders    []*offence `json:"offenders"`
}

// An offence is what one offender did.
type offence struct {
	Prefix  netip.Prefix `json:"prefix"`
	Running []event.Ban  `json:"running"` // bans that hold now
	Log     []event.Ban  `json:"log"`     // every ban and lift, oldest first
	Tiers   []tierSum    `json:"tiers"`
	Lines   []exhibit    `json:"lines"` // the newest ten of each jail, oldest first
}

// A tierSum is how near the offender is to a tier.
type tierSum struct {
	Jail     string `json:"jail"`
	What     string `json:"what"` // failures, users, strikes
	Sum      uint32 `json:"sum"`
	Limit    uint32 `json:"limit"`
	FindTime string `json:"findtime"`
	BanTime  string `json:"bantime"`
}

// An exhibit is one line of evidence. Host, Program, User and Line are the attacker's and the sender's free choice.
type exhibit struct {
	Time    time.Time `json:"time"`
	Jail    string    `json:"jail"`
	Kind    string    `json:"kind"`
	Addr    string    `json:"addr"`
	Sender  string    `json:"sender"` // empty: this host
	Host    string    `json:"host"`
	Program string    `json:"program"`
	Rule    string    `json:"rule"`
	User    string    `json:"user"`
	Line    string    `json:"line"`
}

// show puts the sheet together: sums and running bans from the judge, the rest from the disk.
func (d *daemon) show(ctx context.Context, p netip.Prefix) (*sheet, error) {
	out := &sheet{Query: offender(p), Off: d.why(), NotProtected: []string{}, Offenders: []*offence{}}
	if why, never := d.allow.Never(p); never {
		out.Never = why
	}
	found, err := d.store.Sheets(p)
	if err != nil {
		return nil, err
	}
	for i := range found {
		out.Offenders = append(out.Offenders, newOffence(&found[i]))
	}
	err = d.pipe.Do(ctx, func(now time.Time) { d.fill(out, p, now) })
	if err == nil && len(out.Offenders) == 0 && out.Never == "" {
		err = fmt.Errorf("%w: nothing is known of %s", web.ErrNotFound, out.Query)
	}
	return out, err
}

func newOffence(s *store.Sheet) *offence {
	o := &offence{Prefix: s.Prefix, Running: []event.Ban{}, Log: s.Bans, Tiers: []tierSum{}, Lines: []exhibit{}}
	for i := range s.Evidence {
		e := &s.Evidence[i]
		x := exhibit{Time: e.Time, Jail: e.Jail, Kind: e.Kind.String(), Sender: e.Sender, Host: string(e.Host), Program: string(e.Program),
			Rule: e.Filter + ": " + e.Rule, User: string(e.User), Line: string(e.Line)}
		if e.Addr.IsValid() {
			x.Addr = e.Addr.String()
		}
		o.Lines = append(o.Lines, x)
	}
	return o
}

// fill adds what the judge knows.
func (d *daemon) fill(out *sheet, p netip.Prefix, now time.Time) {
	match := covers(p)
	for b := range d.bans.Running {
		if !match(b) {
			continue
		}
		i := slices.IndexFunc(out.Offenders, func(o *offence) bool { return o.Prefix == b.Prefix })
		if i < 0 {
			i = len(out.Offenders)
			out.Offenders = append(out.Offenders, &offence{Prefix: b.Prefix, Running: []event.Ban{}, Log: []event.Ban{}, Tiers: []tierSum{}, Lines: []exhibit{}})
		}
		out.Offenders[i].Running = append(out.Offenders[i].Running, *b)
		out.Banned = out.Banned || b.Enforced(now) && out.Off == ""
	}
	senders := map[string]bool{}
	for _, o := range out.Offenders {
		o.Tiers = append(o.Tiers, d.tiers(o.Prefix, now)...)
		for _, b := range o.Running {
			senders[b.Sender] = true
		}
		for _, x := range o.Lines {
			senders[x.Sender] = true
		}
	}
	delete(senders, "")
	for s := range senders {
		out.NotProtected = append(out.NotProtected, s)
	}
	slices.Sort(out.NotProtected)
}

// tiers are the sums of the jails where the offender has any.
func (d *daemon) tiers(p netip.Prefix, now time.Time) []tierSum {
	var sums []tierSum
	for _, j := range d.jails {
		for i, sum := range d.scores.Sums(j.Name, p, now) {
			if sum > 0 {
				t := &j.Tiers[i]
				sums = append(sums, tierSum{j.Name, what(t), sum, max(t.MaxRetry, t.Users, t.Strikes), format(t.FindTime), format(t.BanTime[0])})
			}
		}
	}
	return sums
}

func what(t *event.Tier) string {
	switch {
	case t.Users > 0:
		return "user names"
	case t.Strikes > 0:
		return "strikes"
	}
	return "failures"
}

// offender writes a prefix as people do: an address without its length.
func offender(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
