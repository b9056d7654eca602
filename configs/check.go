package configs

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/receiver"
)

// check finds what is wrong or dangerous although it could be read. Jails that cannot start are taken out.
func (r *Result) check(services []string) {
	c := r.Config
	checkMode(c.Mode, &r.hard)
	oneOf("log", c.Log, []string{"debug", "info", "warn", "error"}, &r.hard)
	for _, p := range []struct {
		key string
		value.String
	}{{"state", c.Store.State}, {"socket", c.Web.Socket}} {
		if !filepath.IsAbs(p.S) {
			r.hard.Add(p.Pos, "begin it with /", "%s: %s is no absolute path", p.key, plain(p.S))
		}
	}
	c.Store.Validate(&r.hard)
	c.Allow.Validate(&r.hard)
	r.checkListeners()
	if n := c.Sinks.IPSet.MaxElem; n.Line > 0 && n.N < 1024 {
		r.Warnings.Add(n.Pos, "", "maxelem %d: sets are grown and swapped from the start", n.N)
	}
	r.checkJails(services)
}

func (r *Result) checkJails(services []string) {
	check := jailCheck{filters: services, sinks: sinkNames}
	for _, name := range keys(r.Config.Jails) {
		if !check.check(name, r.Config.Jails[name]) {
			delete(r.Config.Jails, name)
		}
	}
	r.soft = append(r.soft, check.errs...)
	r.Warnings = append(r.Warnings, check.warn...)
	if len(r.Config.Jails) == 0 && len(r.soft)+len(r.hard) == 0 {
		r.Warnings.Add(place(r.root.get("jails")), "", "no jails: nobody is banned but by hand")
	}
	names := map[string]bool{}
	for _, j := range r.Config.Jails {
		for _, f := range j.Filters {
			names[f.S] = true
		}
	}
	for i := range r.Filters {
		s := r.Filters[i].Service
		if !names[s.S] && !names["all"] && !strings.HasPrefix(s.File, "built-in/") {
			r.Warnings.Add(s.Pos, "name it in a jail's filters", "no jail uses filter %s", plain(s.S))
		}
	}
}

func (r *Result) checkListeners() {
	c := r.Config
	if len(c.Listen) == 0 {
		r.Warnings.Add(place(r.root.get("listen")), "", "nothing to listen on: no messages, no bans")
	}
	nodes := r.root.get("listen")
	for i := range c.Listen {
		l := &c.Listen[i]
		var errs value.Errors
		l.Validate(&errs)
		for _, e := range errs {
			if e.Line == 0 && nodes != nil {
				e.Pos = place(nodes.item(i))
			}
		}
		r.hard = append(r.hard, errs...)
		if l.Kind() == "" {
			continue
		}
		r.checkListener(l)
		for k := range i {
			if clash(l, &c.Listen[k]) {
				r.hard.Add(address(l).Pos, "", "%s is taken by another listener", l.ID())
				break
			}
		}
	}
}

// checkListener looks at who may send.
func (r *Result) checkListener(l *receiver.Config) {
	kind, addr := l.Kind(), address(l)
	if kind == "unix" {
		return
	}
	written := slices.ContainsFunc(l.Senders, func(p value.Prefix) bool { return p.Line > 0 })
	if a, ok := endpoint(addr.S); ok && !a.Addr().IsLoopback() && !written {
		const hint = "senders: [192.0.2.10]"
		if kind == "udp" {
			r.hard.Add(addr.Pos, hint, "%s needs a list of senders: any host can forge datagrams", l.ID())
		} else {
			r.Warnings.Add(addr.Pos, hint, "%s takes messages from this host only: it has no senders", l.ID())
		}
	}
	for _, s := range l.Senders {
		wide := s.Addr().Is4() && s.Bits() < 8 || s.Addr().Is6() && s.Bits() < 32
		if written && s.IsValid() && wide {
			r.Warnings.Add(s.Pos, "list the hosts that send", "nearly anybody may send, and so have others banned")
		}
	}
	if kind == "udp" && l.Trusted.B {
		r.Warnings.Add(l.Trusted.Pos, "use tcp", "%s is trusted: a forged datagram can have anybody banned for long", l.ID())
	}
	if d := l.MaxBantime; !l.Trusted.B && d.Duration > 30*24*time.Hour {
		r.Warnings.Add(d.Pos, "", "forged messages can ban anyone for %s", d)
	}
}

// address returns where a listener listens.
func address(l *receiver.Config) value.String {
	switch l.Kind() {
	case "tcp":
		return l.TCP
	case "udp":
		return l.UDP
	}
	return l.Unix
}

// endpoint reads address:port; no address stands for all of them.
func endpoint(s string) (netip.AddrPort, bool) {
	host, port, err := net.SplitHostPort(s)
	switch host {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	a, err2 := netip.ParseAddr(host)
	n, err3 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), err == nil && err2 == nil && err3 == nil
}

// clash reports whether two listeners want the same address. One on all IPv6 addresses takes IPv4's too.
func clash(a, b *receiver.Config) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	p, ok := endpoint(address(a).S)
	q, ok2 := endpoint(address(b).S)
	if a.Kind() == "unix" || !ok || !ok2 {
		return address(a).S == address(b).S
	}
	if p.Port() != q.Port() || p.Port() == 0 {
		return false
	}
	covers := func(a, b netip.Addr) bool { return a == b || a.IsUnspecified() && (a.Is6() || b.Is4()) }
	return covers(p.Addr(), q.Addr()) || covers(q.Addr(), p.Addr())
}

func checkMode(m value.String, errs *value.Errors) {
	if m.S != "" {
		oneOf("mode", m, []string{enforce, observe}, errs)
	}
}

func oneOf(key string, s value.String, choice []string, errs *value.Errors) {
	if !slices.Contains(choice, s.S) {
		errs.Add(s.Pos, orList(suggest(s.S, choice), "one of ", choice), "%s cannot be %s", key, plain(s.S))
	}
}

func place(n *node) value.Pos {
	if n == nil {
		return value.Pos{}
	}
	return n.place()
}
