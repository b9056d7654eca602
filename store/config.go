// Package store keeps what must outlive the daemon: the history of every offender, the bans that run, and the rap
// sheets. It is two Badger databases under one folder, bans/ and history/, so that compaction of the history does not
// delay a ban, and damage to one spares the other.
package store

import (
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
)

// Config says where the state lies.
type Config struct {
	State   value.String `yaml:"state"`    // folder; made with mode 0700. Default /var/lib/rapsheet
	MinFree value.Size   `yaml:"min_free"` // below this much free space nothing is written. Default 64MiB, at least 32MiB

	// Retention is how long history, evidence and the ban log are kept. It is only a backstop: windows and bans end by
	// their own clocks. Zero: 400 days.
	Retention time.Duration `yaml:"-"`
}

const (
	defaultState     = "/var/lib/rapsheet"
	defaultMinFree   = 64 << 20
	defaultRetention = 400 * 24 * time.Hour

	// What Badger may still write after the last batch we gave it: memory tables on their way to disk, and the tables of a
	// compaction under way.
	leastMinFree = 32 << 20
)

// Defaults fills what is not set.
func (c *Config) Defaults() {
	if c.State.S == "" {
		c.State.S = defaultState
	}
	if c.MinFree.Bytes == 0 {
		c.MinFree.Bytes = defaultMinFree
	}
	if c.Retention == 0 {
		c.Retention = defaultRetention
	}
}

// Validate adds what is wrong to errs.
func (c *Config) Validate(errs *value.Errors) {
	if n := c.MinFree.Bytes; n != 0 && n < leastMinFree {
		errs.Add(c.MinFree.At(), "64MiB", "min_free is %s: it must be at least 32MiB, or a full disk kills the daemon", c.MinFree)
	}
}
