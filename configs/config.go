// Package configs gathers the configuration of every part. It reads the defaults inside the binary, lays the files of
// the host over them, and names every mistake at once, each with its place, the line, and what was perhaps meant.
package configs

import (
	"cmp"
	"slices"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/allow"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/receiver"
	"github.com/rapsheet/rapsheet/sinks/ipset"
	"github.com/rapsheet/rapsheet/store"
	"github.com/rapsheet/rapsheet/web"
)

// Config is the whole configuration. rapsheet.yaml, beside this file, says what each key means.
type Config struct {
	Mode    value.String      `yaml:"mode"` // enforce or observe
	Log     value.String      `yaml:"log"`  // debug, info, warn or error
	Allow   allow.Config      `yaml:",inline"`
	Listen  []receiver.Config `yaml:"listen"`
	Filters value.String      `yaml:"filters"` // folder of the host's own filters
	Jails   Jails             `yaml:"jails"`
	Sinks   Sinks             `yaml:"sinks"`
	Store   store.Config      `yaml:",inline"`
	Web     web.Config        `yaml:",inline"`
}

// Sinks are the places where bans are made true.
type Sinks struct {
	IPSet ipset.Config `yaml:"ipset"`
}

// The modes of the whole and of a jail.
const (
	enforce = "enforce"
	observe = "observe"
)

// untrusted is the longest ban that forged messages may lead to, where no listener says otherwise.
const untrusted = 24 * time.Hour

// Sinks that the documentation speaks of and this version has not: a configuration that names them starts all the same.
var later = []string{"blocklist", "exec", "mail", "nftables", "webhook"}

var sinkNames = []string{"ipset"}

func (s *Sinks) decodeNode(d *decoder, n *node, what string) {
	if !d.wants(n, mapping, what) {
		return
	}
	known := *n
	known.fields = nil
	for _, f := range n.fields {
		if slices.Contains(later, f.key) {
			d.warn.Add(f.pos, "", "this version has no sink %s: it is left out", f.key)
			continue
		}
		known.fields = append(known.fields, f)
	}
	d.fields(&known, valueOf(s), what)
}

// Observe reports whether the file says that nothing is enforced.
func (c *Config) Observe() bool { return c.Mode.S == observe }

// EventJails returns the jails as the pipeline wants them, sorted by name. Observe is set where the jail itself says
// so; the mode of the whole is the caller's matter, for arm and disarm override it.
func (c *Config) EventJails() []*event.Jail {
	longest := c.untrusted()
	jails := make([]*event.Jail, 0, len(c.Jails))
	for _, name := range keys(c.Jails) {
		jails = append(jails, c.Jails[name].event(name, longest))
	}
	return jails
}

// untrusted returns the longest ban that messages from untrusted listeners may lead to: the smallest word of any.
func (c *Config) untrusted() time.Duration {
	longest := time.Duration(0)
	for i := range c.Listen {
		if l := &c.Listen[i]; !l.Trusted.B && (longest == 0 || l.MaxBantime.Duration < longest) {
			longest = l.MaxBantime.Duration
		}
	}
	return cmp.Or(longest, untrusted)
}

// defaults fills in what no file said.
func (c *Config) defaults() {
	c.Store.Defaults()
	for i := range c.Listen {
		l := &c.Listen[i]
		l.Defaults()
		if l.Kind() != "unix" && l.Mode.Line == 0 {
			l.Mode = value.String{} // of no use there, and not to be shown
		}
	}
	for _, j := range c.Jails {
		j.defaults()
	}
}
