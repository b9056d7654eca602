package ipset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Configure replaces the jails: new ones get sets and rules, those that are gone lose them, the rest keeps its bans.
func (s *Sink) Configure(jails []*event.Jail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return errClosed
	}
	if err := s.configureLocked(jails); err != nil {
		return fmt.Errorf("ipset: %w", err)
	}
	return nil
}

func (s *Sink) configureLocked(jails []*event.Jail) error {
	have, err := s.c.headers()
	if err != nil {
		return err
	}
	b := builder{s: s, have: map[string]header{}, want: map[string]bool{}}
	for _, h := range have {
		b.have[h.name] = h
	}
	allow := b.pair(allowJail, false)
	wanted := map[string]*jailSets{}
	order := []string{manual}
	ports := map[string][]uint16{}
	for _, j := range jails {
		if err := checkJail(j.Name); err != nil {
			return err
		}
		if j.Name == allowJail {
			return fmt.Errorf("jail %q: the name is taken by the list of who is never banned", j.Name)
		}
		if !slices.Contains(order, j.Name) {
			order = append(order, j.Name)
		}
		ports[j.Name] = j.Ports()
	}
	for _, name := range order {
		sets := &jailSets{all: b.pair(name, false), closed: ports[name]}
		if sets.closed != nil {
			sets.ports = b.pair(name, true)
		}
		wanted[name] = sets
	}
	if b.err != nil {
		return b.err
	}
	rules := rulesFor(allow, order, wanted)
	for _, f := range families {
		rules[f] = append(rules[f], vouchRules(s.vouches, f)...)
	}
	kept, err := s.c.install(rules)
	if err != nil {
		return err
	}
	s.kept.Store(kept)
	s.allow, s.jails, s.rules, s.configured = allow, wanted, rules, jails
	s.forgetLocked()
	s.sweepLocked(b)
	return nil
}

// rulesFor lists the rules of bans for both families, in order.
func rulesFor(allow [2]*set, order []string, jails map[string]*jailSets) map[family][]rule {
	rules := map[family][]rule{}
	for _, f := range families {
		var list []rule
		if f == v6 {
			list = append(list, rule{name: "neighbour discovery", icmp: true, accept: true})
		}
		a := allow[f.at()]
		list = append(list, rule{name: a.name, set: a.index, accept: true})
		for _, name := range order {
			j := jails[name]
			all := j.pick(f, false)
			list = append(list, rule{name: all.name, set: all.index})
			if some := j.pick(f, true); some != nil {
				list = append(list, rule{name: some.name, set: some.index, ports: j.closed})
			}
		}
		rules[f] = list
	}
	return rules
}

// A builder makes the sets that are wanted. After its first error it makes no more.
type builder struct {
	s    *Sink
	have map[string]header
	want map[string]bool
	err  error
}

// pair returns a jail's two sets, made or adopted.
func (b *builder) pair(jail string, ports bool) (pair [2]*set) {
	for i, f := range families {
		name := setName(jail, f, ports)
		b.want[name] = true
		pair[i] = b.set(name, f, jail != allowJail)
	}
	return pair
}

func (b *builder) set(name string, f family, timeouts bool) *set {
	if b.err != nil {
		return nil
	}
	s := &set{name: name, temp: name + filling, family: f}
	h, stands := b.have[name]
	switch {
	case stands && (h.typ != setType || h.family != f):
		b.err = fmt.Errorf("set %s: it is a %s: destroy it", name, h.typ)
	case !stands:
		b.err = b.s.create(name, f, b.s.maxelem, 0, timeouts)
	case h.timeouts != timeouts: // somebody else's making; one with the right options takes its place and its rules
		b.err = b.s.rebuildLocked(context.Background(), []*set{s}, nil, timeouts, nil, func(*writer) {})
	}
	if b.err != nil {
		return nil
	}
	if s.index, b.err = b.s.c.index(name); b.err != nil {
		b.err = fmt.Errorf("set %s: %w", name, b.err)
		return nil
	}
	if old := b.s.known(name); old != nil && old.index == s.index {
		s.id, s.known = old.id, old.known // what is noted of it holds on
	} else {
		b.s.lastID++
		s.id, s.known = b.s.lastID, !stands
	}
	if s.room = h.room(); !stands {
		s.room = header{maxelem: b.s.maxelem}.room()
	}
	return s
}

// known returns the set of that name as configured so far.
func (s *Sink) known(name string) *set {
	for _, set := range s.banSetsLocked() {
		if set.name == name {
			return set
		}
	}
	return nil
}

// sweepLocked destroys sets of ours that no jail wants. The kernel lets go of a rule's set some time after the rule is
// gone, so a set may be busy for a while.
func (s *Sink) sweepLocked(b builder) {
	for name := range b.have {
		if !strings.HasPrefix(name, prefix) || b.want[name] {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := s.c.destroy(ctx, name)
		cancel()
		if err != nil {
			s.log.Warn().Str("set", name).Err(err).Msg("set of a jail that is gone stays in the kernel")
		} else {
			s.log.Info().Str("set", name).Msg("removed set of a jail that is gone")
		}
	}
}

// create makes a set that will soon have count entries.
func (s *Sink) create(name string, f family, maxelem uint32, count int, timeouts bool) error {
	var r request
	r.create(name, f, s.revision, maxelem, uint32(count), timeouts)
	if err := s.c.one(&r); err != nil {
		return fmt.Errorf("create set %s: %w", name, err)
	}
	return nil
}

// probe finds out whether the kernel has what we need, and the newest revision of hash:net.
func (c *conn) probe() (revision byte, err error) {
	var r request
	r.begin(unix.NFNL_SUBSYS_IPSET<<8|nl.IPSET_CMD_TYPE, unix.NLM_F_ACK, v4, 0)
	r.u8(nl.IPSET_ATTR_PROTOCOL, nl.IPSET_PROTOCOL)
	r.str(nl.IPSET_ATTR_TYPENAME, setType)
	r.u8(nl.IPSET_ATTR_FAMILY, byte(v4))
	err = c.query(&r, func(body []byte) {
		attributes(body, func(typ uint16, v []byte) {
			if typ == nl.IPSET_ATTR_REVISION {
				revision = u8(v)
			}
		})
	})
	return revision, missing(err)
}

// IPSET_CMD_GET_BYNAME and IPSET_ATTR_INDEX, which came with protocol 7 (kernel 4.20), of linux/netfilter/ipset/ip_set.h.
const (
	cmdByName = 14
	attrIndex = 11
	protocol7 = 7
)

// index asks for the number that rules know a set by.
func (c *conn) index(name string) (index uint16, err error) {
	var r request
	r.begin(unix.NFNL_SUBSYS_IPSET<<8|cmdByName, unix.NLM_F_ACK, v4, 0)
	r.u8(nl.IPSET_ATTR_PROTOCOL, protocol7)
	r.str(nl.IPSET_ATTR_SETNAME, name)
	found := false
	err = c.query(&r, func(body []byte) {
		attributes(body, func(typ uint16, v []byte) {
			if typ == attrIndex && len(v) >= 2 {
				index, found = uint16(v[0])<<8|uint16(v[1]), true
			}
		})
	})
	if err == nil && !found {
		err = unix.ENOENT
	}
	return index, err
}

// destroy removes a set, waiting until nothing uses it; it is no error when there is none.
func (c *conn) destroy(ctx context.Context, name string) error {
	return patiently(ctx, func() error {
		var r request
		r.set(nl.IPSET_CMD_DESTROY, unix.NLM_F_ACK, v4, name)
		if err := c.one(&r); !gone(err) {
			return err
		}
		return nil
	})
}

// patiently repeats f while the kernel says that a set is in use: for a moment after its last rule has gone, and as long
// as anybody lists it.
func patiently(ctx context.Context, f func() error) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := f()
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, nl.IPSetError(nl.IPSET_ERR_BUSY)) && !errors.Is(err, nl.IPSetError(nl.IPSET_ERR_REFERENCED)) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
	}
}
