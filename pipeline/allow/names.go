package allow

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// How names are looked up. Resolvers don't tell us the TTL: five minutes is what dynamic DNS providers use at most.
const (
	fresh       = 5 * time.Minute  // how long an answer holds
	retry       = 30 * time.Second // how soon a name without any answer is tried again
	lookupTime  = 5 * time.Second  // for one name
	lookups     = 8                // at the same time
	maxAnswer   = 64               // addresses of one name
	lookupCheck = 10 * time.Second // how often it is seen which are due
)

// A name is a DNS name and its last good answer.
type name struct {
	addrs  []netip.Addr
	tried  time.Time
	failed bool // the last look-up; said once
	busy   bool
}

// due reports whether the name is to be looked up.
func (n *name) due(now time.Time) bool {
	pause := fresh
	if len(n.addrs) == 0 {
		pause = retry
	}
	return !n.busy && (n.tried.IsZero() || now.Sub(n.tried) >= pause)
}

// resolve looks names up as they fall due, until ctx ends.
func (l *List) resolve(ctx context.Context) {
	if l.sys.Lookup == nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, lookups)
	tick := time.NewTicker(lookupCheck)
	defer tick.Stop()
	for {
		for _, host := range l.dueNames(time.Now()) {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots }()
				l.lookup(ctx, host)
			})
		}
		select {
		case <-tick.C:
		case <-l.wake:
		case <-ctx.Done():
			return
		}
	}
}

// dueNames takes the names that are to be looked up now.
func (l *List) dueNames(now time.Time) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []string
	for host, n := range l.names {
		if n.due(now) {
			n.busy = true
			due = append(due, host)
		}
	}
	slices.Sort(due)
	return due
}

// lookup looks one name up. An error, and an answer without addresses, leaves the last good answer.
func (l *List) lookup(ctx context.Context, host string) {
	limited, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := l.sys.Lookup(limited, strings.ToLower(host))
	if ctx.Err() != nil {
		return
	}
	addrs = tidy(addrs)
	good := err == nil && len(addrs) > 0

	l.mu.Lock()
	n := l.names[host]
	if n == nil { // taken out of the configuration meanwhile
		l.mu.Unlock()
		return
	}
	news := good == n.failed
	n.busy, n.tried, n.failed = false, time.Now(), !good
	moved := good && !slices.Equal(addrs, n.addrs)
	kept := len(n.addrs)
	l.mu.Unlock()

	switch {
	case news && !good:
		l.log.Warn().Err(err).Str("name", host).Int("kept", kept).Msg("allowed name has no address: its last answer is kept")
	case news:
		l.log.Info().Str("name", host).Msg("allowed name has an address again")
	}
	if moved {
		l.update(func() {
			if n := l.names[host]; n != nil {
				n.addrs = addrs
			}
		})
	}
}

// tidy returns the addresses unmapped, sorted, each once, and no more than anybody needs.
func tidy(addrs []netip.Addr) []netip.Addr {
	var list []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap().WithZone(""); a.IsValid() {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	return list[:min(len(list), maxAnswer)]
}
