package allow

import "slices"

// Stats are the figures of a list since it was made.
type Stats struct {
	Allowed int      `json:"allowed"`           // prefixes that allow: stands for now
	Proxies int      `json:"proxies"`           // prefixes that proxies: stands for now
	Own     int      `json:"own"`               // this host's addresses, loopback and link-local ones not counted
	Failing []string `json:"failing,omitempty"` // names without an answer, files that can't be read

	NoAddress   uint64            `json:"no_address"`   // events dropped because the message has no address
	Dropped     map[string]uint64 `json:"dropped"`      // events dropped, by why their address is never banned
	BehindProxy uint64            `json:"behind_proxy"` // events whose address is a proxy's; also in dropped
	ByProxy     map[string]uint64 `json:"by_proxy"`     // the same by proxy, for the first 256 proxies
}

// Stats returns the figures as they are.
func (l *List) Stats() Stats {
	t := l.table.Load()
	s := Stats{
		Allowed: t.count[allowKind], Proxies: t.count[proxyKind], Own: t.count[ownKind],
		NoAddress: l.noAddress.Load(), Dropped: map[string]uint64{}, ByProxy: map[string]uint64{},
	}
	for k := range l.dropped {
		if n := l.dropped[k].Load(); n > 0 {
			s.Dropped[kindNames[k]] = n
		}
	}
	l.behind.mu.Lock()
	s.BehindProxy = l.behind.total
	for a, n := range l.behind.count {
		s.ByProxy[a.String()] = n
	}
	l.behind.mu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()
	for host, n := range l.names {
		if n.failed {
			s.Failing = append(s.Failing, host)
		}
	}
	for key, f := range l.files {
		if f.failed {
			s.Failing = append(s.Failing, filePrefix+key.path)
		}
	}
	slices.Sort(s.Failing)
	s.Failing = slices.Compact(s.Failing)
	return s
}
