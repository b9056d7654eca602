// Package allow knows who is never banned: the host itself and what it depends on, what the configuration allows,
// proxies that carry other people's visitors, and whoever is at the keyboard. As a stage it drops their events, and says
// of all others which prefix they count on.
package allow

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// A List is the list of what is never banned. Process belongs to one goroutine, all other methods to any.
type List struct {
	sys     System
	log     zerolog.Logger
	table   atomic.Pointer[table] // never nil, never changed: replaced
	changed chan struct{}
	wake    chan struct{} // there are names that nobody looked up yet

	noAddress atomic.Uint64
	dropped   [kinds]atomic.Uint64
	behind    behind

	mu      sync.Mutex // guards what the table is made of
	cfg     Config
	lists   [2]given // allow, proxies
	files   map[fileKey]*file
	names   map[string]*name
	tooMany bool // names that are not looked up, said once
	facts   Facts
	partial bool // facts are incomplete, said once
	senders []netip.Prefix
	seen    bool // New has returned: changes are news
}

// given is what a configured list says.
type given struct {
	kind    kind
	entries []entry
}

// New returns the list as the configuration, its files and the host make it. DNS names follow when Run has looked them
// up. What can't be read is logged, and left out.
func New(cfg Config, sys System, log zerolog.Logger) *List {
	l := &List{
		sys: sys, log: log, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		files: map[fileKey]*file{}, names: map[string]*name{},
	}
	l.behind.count = make(map[netip.Addr]uint64, maxBehind)
	l.table.Store(new(table))
	l.askFacts()
	l.Load(cfg)
	l.mu.Lock()
	l.seen = true
	l.mu.Unlock()
	return l
}

// Load replaces the configuration. Entries that Validate would refuse are left out; answers for names that stay are kept.
func (l *List) Load(cfg Config) {
	l.update(func() {
		l.cfg = cfg
		l.lists = [2]given{{kind: allowKind}, {kind: proxyKind}}
		for _, s := range cfg.Allow {
			if e, _, err := parse(s.S, false); err == nil {
				l.lists[0].entries = append(l.lists[0].entries, e)
			}
		}
		for _, s := range cfg.Proxies {
			if e, _, err := parse(s.S, true); err == nil {
				l.lists[1].entries = append(l.lists[1].entries, e)
			}
		}
	})
	l.readFiles()
}

// AllowSenders replaces the senders that are never banned: those configured as single addresses. Networks among them
// are passed over, for lying inside one exempts nobody.
func (l *List) AllowSenders(senders []netip.Prefix) {
	l.update(func() {
		l.senders = slices.DeleteFunc(slices.Clone(senders), func(p netip.Prefix) bool { return !p.IsSingleIP() })
	})
}

// Changed gets a value after the list has changed: fill the kernel's set again, lift bans that Never now forbids.
// It holds one value; changes that nobody waited for are one.
func (l *List) Changed() <-chan struct{} { return l.changed }

// Never reports whether p must not be banned, and why: because all of it is on the list. A network that only contains
// allowed addresses may be, for the kernel's allow set is asked first. Also never: /0, and what is no prefix.
func (l *List) Never(p netip.Prefix) (reason string, yes bool) { return l.table.Load().never(p) }

// Why says why an address is never banned, and "" where it can be.
func (l *List) Why(a netip.Addr) string {
	r, _ := l.table.Load().reasons.Lookup(a.Unmap().WithZone(""))
	return r.text
}

// Own reports whether a is an address of this host: bans that are set here protect what it sends about.
func (l *List) Own(a netip.Addr) bool {
	r, _ := l.table.Load().reasons.Lookup(a.Unmap().WithZone(""))
	return r.kind == ownKind
}

// Offender returns the prefix that events of an address count on, and that a ban for them covers: the address for
// IPv4, its /64 for IPv6, or less where a /64 is many. It is invalid where the address is.
func (l *List) Offender(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return l.table.Load().offender(a.Unmap().WithZone(""))
}

// Prefixes returns all that is on the list, for the kernel's sets: sorted, none inside another, none of them /0.
// The slice is shared: it must not be changed.
func (l *List) Prefixes() []netip.Prefix { return l.table.Load().prefixes }

// update changes what the table is made of, and replaces the table.
func (l *List) update(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.referLocked()
	next, last := l.buildLocked(), l.table.Load()
	l.table.Store(next)
	if next.equal(last) || !l.seen {
		return
	}
	l.log.Info().Int("prefixes", len(next.prefixes)).Int("before", len(last.prefixes)).Msg("never-banned list changed")
	select {
	case l.changed <- struct{}{}:
	default:
	}
}
