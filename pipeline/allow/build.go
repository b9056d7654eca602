package allow

import "net/netip"

// referLocked forgets files and names that no entry speaks of any more, and takes up new ones.
func (l *List) referLocked() {
	files, names := map[fileKey]*file{}, map[string]*name{}
	over := 0
	refer := func(e entry) {
		if e.source != named || names[e.text] != nil {
			return
		}
		n := l.names[e.text]
		switch {
		case len(names) == maxNames:
			over++
			return
		case n == nil:
			n = &name{}
			select {
			case l.wake <- struct{}{}:
			default:
			}
		}
		names[e.text] = n
	}
	for _, g := range l.lists {
		for _, e := range g.entries {
			if e.source != filed {
				refer(e)
				continue
			}
			key := fileKey{e.text, g.kind == proxyKind}
			if files[key] != nil {
				continue
			}
			f := l.files[key]
			if f == nil {
				f = &file{}
			}
			files[key] = f
			for _, e := range f.entries {
				refer(e)
			}
		}
	}
	if over > 0 && !l.tooMany {
		l.log.Warn().Int("limit", maxNames).Int("over", over).Msg("too many DNS names in allow and proxies: the rest is left out")
	}
	l.tooMany = over > 0
	l.files, l.names = files, names
}

// buildLocked makes a table of all that is known.
func (l *List) buildLocked() *table {
	t := new(table)
	for _, s := range always {
		t.add(netip.MustParsePrefix(s.prefix), reservedKind, s.what)
	}
	if !l.cfg.BanPrivate.B {
		for _, s := range private {
			t.add(netip.MustParsePrefix(s.prefix), privateKind, s.what+" "+s.prefix)
		}
	}
	for _, g := range l.lists {
		for _, e := range g.entries {
			l.putLocked(t, g.kind, e, "")
		}
	}
	for _, s := range []struct {
		addrs []netip.Addr
		kind  kind
		text  string
	}{
		{l.facts.Own, ownKind, "own address"},
		{l.facts.Gateways, gatewayKind, "gateway"},
		{l.facts.Resolvers, resolverKind, "DNS server of this host"},
		{l.facts.Sessions, sessionKind, "SSH session that rapsheet was started from"},
	} {
		for _, a := range s.addrs {
			t.addAddr(a, s.kind, s.text)
		}
	}
	for _, p := range l.senders {
		t.add(p, senderKind, "sender of messages")
	}
	for _, p := range l.facts.Links {
		// 6to4's own interface has a /16: half of everybody who has it would count alone.
		if p, ok := plain(p); ok && !Wide(p) {
			t.single(p)
		}
	}
	for _, p := range translated {
		t.single(p)
	}
	for _, p := range l.cfg.NAT64 {
		if translates(p.Prefix) {
			t.single(p.Masked())
		}
	}
	t.finish()
	return t
}

// putLocked puts what an entry stands for on the table. In says which file it is from.
func (l *List) putLocked(t *table, k kind, e entry, in string) {
	text := "allow: " + e.text
	if k == proxyKind {
		text = "proxies: " + e.text
	}
	if in != "" {
		text += " in " + in
	}
	switch e.source {
	case fixed:
		t.add(e.prefix, k, text)
	case named:
		if n := l.names[e.text]; n != nil {
			for _, a := range n.addrs {
				t.addAddr(a, k, text)
			}
		}
	case known:
		for _, p := range edge {
			t.add(p, k, text)
		}
	case filed:
		if f := l.files[fileKey{e.text, k == proxyKind}]; f != nil {
			for _, e := range f.entries {
				l.putLocked(t, k, e, f.path)
			}
		}
	}
}
