package main

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/sinks/ipset"
)

// adopt takes over the bans that the kernel holds and a damaged store has forgotten: protection does not stop because a
// file is broken. How much longer a ban would have run than the kernel can count (24 days) is forgotten with it.
func (d *daemon) adopt(now time.Time) {
	lost := slices.ContainsFunc(d.store.Stats().Damaged, func(dir string) bool { return strings.HasPrefix(filepath.Base(dir), "bans.") })
	if !lost {
		return
	}
	n := 0
	err := ipset.List(func(e ipset.Entry) bool {
		if _, _, runs := d.bans.Runs(e.Jail, e.Prefix); runs {
			return true
		}
		until := now.Add(e.Left)
		if e.Left == 0 {
			until = event.Forever
		}
		b, changed := d.bans.Merge(event.Ban{Prefix: e.Prefix, Jail: e.Jail, Issued: now, Until: until, Ports: e.Ports,
			Reason: "held by the kernel when the store was found damaged", Origin: "kernel"}, now)
		if changed {
			d.publish(b, now, nil)
			n++
		}
		return true
	})
	d.log.Warn().Int("bans", n).Err(err).Msg("the store's bans were damaged: took over those that the kernel holds")
}
