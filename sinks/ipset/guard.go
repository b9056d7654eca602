package ipset

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// A Counter is what one of our rules has dropped since the rules were last written.
type Counter struct {
	Jail    string `json:"jail"`
	IPv6    bool   `json:"ipv6,omitempty"`
	Ports   bool   `json:"ports,omitempty"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Entries calls yield with what the kernel holds, until yield reports false. It reads a set whole before it yields any
// of it: 48 bytes an entry of the largest set, and a slow caller delays no ban.
func (s *Sink) Entries(yield func(Entry) bool) error {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.reader == nil {
		return errClosed
	}
	return s.reader.list(yield)
}

// Count returns how many entries each of our sets holds, by its name. It costs the kernel 27 ms a million.
func (s *Sink) Count() (map[string]int, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.reader == nil {
		return nil, errClosed
	}
	all, err := s.reader.headers()
	if err != nil {
		return nil, err
	}
	n := map[string]int{}
	for _, h := range all {
		if _, _, _, ok := parseName(h.name); ok {
			n[h.name] = int(h.elements)
		}
	}
	return n, nil
}

// Dropped returns what the rules have dropped.
func (s *Sink) Dropped() ([]Counter, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.reader == nil {
		return nil, errClosed
	}
	var all []Counter
	for _, f := range families {
		rules, err := s.reader.rules(f)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			if jail, _, ports, ok := parseName(r.name); ok && jail != allowJail {
				all = append(all, Counter{jail, f == v6, ports, r.packets, r.bytes})
			}
		}
	}
	return all, nil
}

// guard puts back what somebody took away: our rules, or sets.
func (s *Sink) guard() {
	s.mu.Lock()
	what, lost := s.wrongLocked()
	if what == "" {
		s.mu.Unlock()
		return
	}
	err := s.restoreLocked()
	s.mu.Unlock()
	log := s.log.Warn().Str("what", what).Bool("bans_lost", lost)
	if err != nil {
		s.log.Error().Str("what", what).Err(err).Msg("kernel sets or rules were changed, and could not be restored")
		return
	}
	s.repaired.Add(1)
	log.Msg("kernel sets or rules were changed by somebody else: restored")
	if lost && s.Lost != nil {
		s.Lost()
	}
}

// wrongLocked names what is not as it should be; lost says that bans went with it.
func (s *Sink) wrongLocked() (what string, lost bool) {
	if s.c == nil {
		return "", false
	}
	for _, set := range slices.Concat(s.banSetsLocked(), s.allow[:]) {
		if index, err := s.c.index(set.name); gone(err) || err == nil && index != set.index {
			return "set " + set.name, true
		}
	}
	for _, f := range families {
		have, err := s.c.rules(f)
		same := func(a listed, b rule) bool { return a.name == b.name }
		if err == nil && !slices.EqualFunc(have, s.rules[f], same) {
			return "rules of table " + map[family]string{v4: "ip", v6: "ip6"}[f] + " " + tableName, false
		}
	}
	return "", false
}

func (s *Sink) restoreLocked() error {
	s.allowed = false // so that the next Allow writes
	held := s.held
	if err := s.configureLocked(s.configured); err != nil {
		return err
	}
	return s.allowLocked(held)
}

// A listed is one of our rules as the kernel lists it.
type listed struct {
	name           string
	packets, bytes uint64
}

// rules lists our chains, that of bans first; what is not there has no rules.
func (c *conn) rules(f family) ([]listed, error) {
	var all []listed
	for _, chain := range []string{chainName, outputName} {
		var r request
		r.begin(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, f, 0)
		r.str(unix.NFTA_RULE_TABLE, tableName)
		r.str(unix.NFTA_RULE_CHAIN, chain)
		err := c.query(&r, func(body []byte) {
			if l, table := readRule(body); table == tableName {
				all = append(all, l)
			}
		})
		if err != nil && !gone(err) {
			return nil, err
		}
	}
	return all, nil
}

// readRule reads one message of a listing of rules: its comment, and its counter if it has one.
func readRule(body []byte) (l listed, table string) {
	attributes(body, func(typ uint16, v []byte) {
		switch typ {
		case unix.NFTA_RULE_TABLE:
			table = text(v)
		case unix.NFTA_RULE_USERDATA:
			if len(v) >= 2 && v[0] == 0 {
				l.name = text(v[2:])
			}
		case unix.NFTA_RULE_EXPRESSIONS:
			attributes(v, func(_ uint16, v []byte) { readCounter(v, &l) })
		}
	})
	return l, table
}

func readCounter(b []byte, l *listed) {
	name := ""
	attributes(b, func(typ uint16, v []byte) {
		switch {
		case typ == unix.NFTA_EXPR_NAME:
			name = text(v)
		case typ == unix.NFTA_EXPR_DATA && name == "counter":
			attributes(v, func(typ uint16, v []byte) {
				switch {
				case typ == unix.NFTA_COUNTER_BYTES && len(v) == 8:
					l.bytes = binary.BigEndian.Uint64(v)
				case typ == unix.NFTA_COUNTER_PACKETS && len(v) == 8:
					l.packets = binary.BigEndian.Uint64(v)
				}
			})
		}
	})
}
