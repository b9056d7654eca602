package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/pipeline"
	"github.com/rapsheet/rapsheet/pipeline/allow"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/filter"
	"github.com/rapsheet/rapsheet/pipeline/score"
	"github.com/rapsheet/rapsheet/pipeline/verdict"
	"github.com/rapsheet/rapsheet/receiver"
	"github.com/rapsheet/rapsheet/sinks"
	"github.com/rapsheet/rapsheet/sinks/ipset"
	"github.com/rapsheet/rapsheet/store"
)

// A daemon is the running whole: run.go makes it, settle.go is what its judge does after each batch, api.go what it
// answers, arm.go how it starts and stops enforcing.
type daemon struct {
	cfg     *configs.Config
	jails   []*event.Jail
	log     zerolog.Logger
	started time.Time
	marks   marks

	receiver *receiver.Receiver
	filters  *filter.Set
	allow    *allow.List
	scores   *score.Table   // the judge's
	bans     *verdict.Table // the judge's
	pipe     *pipeline.Pipeline
	fanout   *sinks.Fanout
	store    *store.Store

	group     *store.Group    // the judge's: what the next commit writes
	committed time.Time       // the judge's: when the last commit began
	warned    map[string]bool // the judge's: senders that were told they are not protected

	mu        sync.Mutex
	kernel    *ipset.Sink // nil while nothing is enforced
	endKernel context.CancelFunc
	off       string // why nothing is enforced; empty: enforcing

	evidenceDropped atomic.Uint64
}

// maxDirty is how many changed records may wait for the disk before the judge waits too: then TCP senders wait, and
// UDP's overflow is counted. 65,536 records are about 10 MB.
const maxDirty = 1 << 16

// maxEvidence bounds the lines of evidence in one commit; what a flood brings beyond is counted and not kept.
const maxEvidence = 2000

// settle hands over what a batch led to, lets ended bans go, and gives the store what changed.
func (d *daemon) settle(b *event.Batch, now time.Time) {
	if b != nil {
		for i := range b.Bans {
			d.publish(b.Bans[i], now, nil)
		}
	}
	d.bans.Expire(now, func(n *event.Ban) {
		d.store.Expire(n.Jail, n.Prefix, n.Seq)
		d.log.Info().Str("jail", n.Jail).Stringer("prefix", n.Prefix).Msg("ban ended")
	})
	d.commit(now)
}

// rhythm is the least time between two commits: what one offender does meanwhile is one write. The clock that brings
// us back after it is the pipeline's Tick, so an event is on its way to the disk after 2 rhythms at the most.
const rhythm = 40 * time.Millisecond

// commit hands the changed records to the store unless it is still writing the last ones.
func (d *daemon) commit(now time.Time) {
	if gap := now.Sub(d.committed); gap >= 0 && gap < rhythm && d.scores.Dirty() < maxDirty {
		return
	}
	for d.scores.Dirty() > 0 || d.group.Len() > 0 {
		d.committed = now
		next := d.store.Group()
		if next == nil {
			if d.scores.Dirty() < maxDirty {
				return
			}
			<-d.store.Committed()
			continue
		}
		d.scores.Flush(d.group, now)
		d.store.Commit(d.group)
		d.group = next
	}
}

// drain commits what is left after the last batch.
func (d *daemon) drain(now time.Time) {
	for {
		d.committed = time.Time{}
		if d.commit(now); d.scores.Dirty() == 0 && d.group.Len() == 0 {
			return
		}
		<-d.store.Committed()
	}
}

// publish starts kernel and disk together; what reports the ban waits for the disk.
func (d *daemon) publish(ban event.Ban, now time.Time, done func(error)) {
	if ban.Lifted || ban.Enforced(now) {
		d.fanout.Send([]event.Ban{ban})
	}
	if ban.Sender != "" && !d.warned[ban.Sender] && len(d.warned) < 1000 {
		d.warned[ban.Sender] = true
		d.log.Warn().Str("sender", ban.Sender).Msg("bans are set on this host and do not protect that sender: run rapsheet there too")
	}
	d.store.PutBan(ban, func(err error) {
		d.report(&ban, now, err)
		if done != nil {
			done(err)
		}
	})
}

// report writes the one line of a decision.
func (d *daemon) report(ban *event.Ban, now time.Time, err error) {
	e, msg := d.log.Info(), "banned"
	switch {
	case ban.Lifted:
		msg = "lifted"
	case !ban.Active(now):
		msg = "ban is over already: recorded only"
	case ban.Observed:
		msg = "would ban"
	}
	if err != nil {
		e = d.log.Error().Err(err)
	}
	e = e.Str("jail", ban.Jail).Stringer("prefix", ban.Prefix).Time("until", ban.Until).Str("reason", ban.Reason)
	if ban.Strike > 0 {
		e = e.Int("strike", ban.Strike)
	}
	if ban.By != "" {
		e = e.Str("by", ban.By)
	}
	if ban.Sender != "" {
		e = e.Str("sender", ban.Sender)
	}
	e.Msg(msg)
}

// exhibit keeps one line of evidence.
func (d *daemon) exhibit(x score.Exhibit) {
	if d.group.EvidenceLen() >= maxEvidence {
		d.evidenceDropped.Add(1)
		return
	}
	m, e := x.Msg, x.Event
	d.group.Evidence(store.Evidence{Jail: x.Jail.Name, Prefix: e.Offender, Slot: x.Slot, Time: e.Time, Addr: e.Addr, Kind: e.Rule.Kind,
		Sender: d.remote(m.From), Host: m.Host, Program: m.Program, Filter: e.Rule.Filter, Rule: e.Rule.Name, User: e.User, Line: m.Text})
}

// remote names a sender that bans set here do not protect, and is empty for this host.
func (d *daemon) remote(s *event.Sender) string {
	if s == nil || d.local(s) {
		return ""
	}
	if s.Name != "" {
		return s.Name
	}
	return s.Addr.String()
}

// local reports whether the sender is this host: by no address, loopback, or one of our own.
func (d *daemon) local(s *event.Sender) bool { return s.Local() || d.allow.Own(s.Addr) }

// elsewhere is the same for an address as statistics hold it.
func (d *daemon) elsewhere(addr string) bool {
	a, err := netip.ParseAddr(addr)
	return err == nil && !a.IsLoopback() && !d.allow.Own(a)
}

// gate is the last look at a ban before any sink: what is never banned does not pass.
func (d *daemon) gate(ban event.Ban) bool {
	_, never := d.allow.Never(ban.Prefix)
	return !never
}

// source yields the bans that sinks are to hold, for a refill. It asks the judge: a sink must not hold a lock that the
// judge may want while it draws on it.
func (d *daemon) source(yield func(event.Ban) bool) {
	var all []event.Ban
	if d.pipe.Do(context.Background(), func(now time.Time) { all = d.enforced(now) }) != nil {
		all = d.enforced(time.Now()) // the judge has ended: nobody else uses the bans, and none of them may be lost
	}
	for i := range all {
		if !yield(all[i]) {
			return
		}
	}
}

// sinksOf says which sinks each jail has.
func sinksOf(jails []*event.Jail) map[string][]string {
	m := make(map[string][]string, len(jails))
	for _, j := range jails {
		m[j.Name] = j.Sinks
	}
	return m
}

// liftAllowed lifts the bans of those who are never banned.
func (d *daemon) liftAllowed(now time.Time) {
	for _, b := range d.bans.Lift(func(b *event.Ban) bool { return !d.gate(*b) }, "allow list", "", now) {
		d.publish(b, now, nil)
	}
}

// forgive marks that whoever an operator means by a prefix was let in: what he did before scores no more, in any jail.
func (d *daemon) forgive(p netip.Prefix, at time.Time) {
	for _, j := range d.jails {
		d.scores.Lifted(j.Name, p, at, false)
		if o := d.allow.Offender(p.Addr()); p.IsSingleIP() && o.IsValid() && o != p {
			d.scores.Lifted(j.Name, o, at, false)
		}
	}
}

// allowChanged lifts bans and refills the kernel's allow set whenever the never-banned list changes.
func (d *daemon) allowChanged(now time.Time) {
	d.liftAllowed(now)
	if k := d.sink(); k != nil {
		if err := k.Allow(d.allow.Prefixes()); err != nil {
			d.log.Error().Err(err).Msg("allow set not filled")
		}
	}
}

// sink is the kernel sink, nil while nothing is enforced.
func (d *daemon) sink() *ipset.Sink {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kernel
}

// restore takes bans back from the store, and lifts those that were lifted while no daemon ran.
func (d *daemon) restore(now time.Time) error {
	if err := d.store.Bans(func(b event.Ban) bool { d.bans.Restore(b, now); return true }); err != nil {
		return err
	}
	d.adopt(now)
	d.liftAllowed(now)
	lifts, err := d.marks.lifts()
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	var failed error
	for _, l := range lifts {
		match := covers(l.prefix.Prefix)
		older := func(b *event.Ban) bool { return match(b) && !b.Issued.After(l.at) }
		for _, b := range d.bans.Lift(older, l.by, "", l.at) {
			wait.Add(1)
			d.publish(b, now, func(err error) { failed = errors.Join(failed, err); wait.Done() })
		}
		d.forgive(l.prefix.Prefix, l.at)
	}
	if len(lifts) == 0 {
		return nil
	}
	go func() { // the notes go when their lifts are on disk
		if wait.Wait(); failed == nil {
			failed = d.marks.clearLifts()
		}
		if failed != nil {
			d.log.Error().Err(failed).Msg("lifts given while no daemon ran are kept for the next start")
		}
	}()
	return nil
}

// covers matches the bans that an operator means by a prefix: those around an address, those inside a network.
func covers(p netip.Prefix) func(*event.Ban) bool {
	return func(b *event.Ban) bool {
		return b.Prefix.Overlaps(p) && (p.IsSingleIP() || p.Bits() <= b.Prefix.Bits())
	}
}

// coversAny is covers for many prefixes at once: what it costs for a ban does not grow with the addresses.
func coversAny(prefixes []netip.Prefix) func(*event.Ban) bool {
	around := make(map[netip.Prefix]struct{})
	var networks []netip.Prefix
	for _, p := range prefixes {
		if !p.IsSingleIP() {
			networks = append(networks, p)
		}
		for bits := p.Bits(); p.IsSingleIP() && bits > 0; bits-- {
			around[netip.PrefixFrom(p.Addr(), bits).Masked()] = struct{}{}
		}
	}
	return func(b *event.Ban) bool {
		if _, ok := around[b.Prefix]; ok {
			return true
		}
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return covers(p)(b) })
	}
}
