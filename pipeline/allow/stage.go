package allow

import (
	"net/netip"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// maxBehind is how many proxies are counted one by one: a CDN has a million addresses.
const maxBehind = 256

// proxyPause is the least time between two log lines about proxies.
const proxyPause = time.Hour

// proxyHint says how the visitor's own address gets into the log.
const proxyHint = "the service behind the proxy logs the proxy, not the visitor: set its real-IP option " +
	"(nginx set_real_ip_from, Apache RemoteIPTrustedProxy, WP_FAIL2BAN_PROXIES, Dovecot haproxy_trusted_networks)"

// behind counts the events that proxies are blamed for.
type behind struct {
	mu     sync.Mutex
	count  map[netip.Addr]uint64 // never more than maxBehind
	total  uint64
	said   uint64 // of total, at the last log line
	logged time.Time
}

// Process drops the events whose address is never banned or not known, and sets Offender on the rest.
func (l *List) Process(b *event.Batch) {
	if len(b.Events) == 0 {
		return
	}
	t := l.table.Load()
	b.Keep(func(e *event.Event) bool {
		if !e.Addr.IsValid() {
			l.noAddress.Add(1)
			return false
		}
		if e.Addr.Is4In6() || e.Addr.Zone() != "" {
			e.Addr = e.Addr.Unmap().WithZone("")
		}
		if r, ok := t.reasons.Lookup(e.Addr); ok {
			l.dropped[r.kind].Add(1)
			if r.kind == proxyKind {
				l.blame(e, b.Now)
			}
			return false
		}
		e.Offender = t.offender(e.Addr)
		return true
	})
}

// blame counts an event of a proxy, and says so once an hour.
func (l *List) blame(e *event.Event, now time.Time) {
	h := &l.behind
	h.mu.Lock()
	h.total++
	if _, ok := h.count[e.Addr]; ok || len(h.count) < maxBehind {
		h.count[e.Addr]++
	}
	fresh := uint64(0)
	if now.Sub(h.logged) >= proxyPause || now.Before(h.logged) {
		fresh = h.total - h.said
		h.said, h.logged = h.total, now
	}
	h.mu.Unlock()
	if fresh > 0 {
		l.log.Warn().Stringer("proxy", e.Addr).Str("filter", e.Rule.Filter).Uint64("events", fresh).
			Str("hint", proxyHint).Msg("events of a proxy: its visitors can't be banned")
	}
}
