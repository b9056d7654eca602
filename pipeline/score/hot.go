package score

import (
	"net/netip"
	"time"
)

// record returns the offender's record, from memory or from disk, or a new one. A damaged one counts as none.
func (t *Table) record(k key) *record {
	r, ok := t.hot[k]
	if ok {
		r.used = true
		return r
	}
	r = &record{used: true}
	if t.cfg.History != nil {
		b, err := t.cfg.History.Record(k.jail.Name, k.prefix, t.buf[:0])
		if b != nil {
			t.buf = b
		}
		if err != nil || len(b) > 0 && r.read(b) != nil {
			*r = record{used: true}
		}
	}
	if t.cfg.Runs != nil {
		if from, until, ok := t.cfg.Runs(k.jail.Name, k.prefix); ok && until.UnixMilli() > r.until {
			r.banned(from, until, false)
		}
	}
	t.hot[k] = r
	return r
}

func (t *Table) touch(k key, r *record) {
	if !r.dirty {
		r.dirty = true
		t.dirty = append(t.dirty, k)
	}
}

// Dirty is how many records wait for a Flush.
func (t *Table) Dirty() int { return len(t.dirty) }

// Flush hands every changed record to the journal. The caller sees to it that what an earlier Flush handed over is
// readable in History by now: records that have not changed since may be forgotten here, when there are more than fit.
func (t *Table) Flush(j Journal, now time.Time) {
	if len(t.hot) > t.cfg.Hot {
		t.sweep(now)
	}
	for _, k := range t.dirty {
		r := t.hot[k]
		t.buf = r.appendTo(t.buf[:0])
		j.Record(k.jail.Name, k.prefix, t.buf)
		r.dirty = false
	}
	t.dirty = t.dirty[:0]
}

// sweep drops the clean records that nobody used since the last sweep, and as many more as it takes to get down to
// three quarters of the limit.
func (t *Table) sweep(now time.Time) {
	t.cold = now.Add(Forgiveness)
	room := t.cfg.Hot - t.cfg.Hot/4
	for _, all := range []bool{false, true} {
		for k, r := range t.hot {
			if len(t.hot) <= room {
				return
			}
			if !r.dirty && (all || !r.used) {
				delete(t.hot, k)
			}
			r.used = false
		}
	}
}

// Sums answers what the offender's tiers stand at, as of now, without changing anything: for show.
func (t *Table) Sums(jail string, p netip.Prefix, now time.Time) []uint32 {
	w, ok := t.byName[jail]
	if !ok {
		return nil
	}
	r := t.record(key{w, p})
	sums := make([]uint32, len(w.Tiers))
	at := now.UnixMilli()
	for i := range w.Tiers {
		tier := &w.Tiers[i]
		after := max(at-tier.FindTime.Milliseconds(), r.fired[i])
		switch {
		case tier.Users > 0:
			sums[i], _ = r.users(after, at)
		case tier.Strikes > 0:
			sums[i] = uint32(r.struck(at-tier.FindTime.Milliseconds(), at))
		default:
			sums[i], _ = r.sums(after, at)
		}
	}
	return sums
}
