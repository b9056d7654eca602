package filter

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A filter is one Config, compiled.
type filter struct {
	byFirst [256][]*candidate // what may match a text that begins with this byte, in the order of the file
	pid, id bool              // the session's name
}

// A rule is an event.Rule and how it is recognised. One of Kind 0 ends the search without an event.
type rule struct {
	event.Rule
	ignore  bool
	several bool // plain templates that may find several addresses in a line
}

// A candidate is one plain template or one regex of a rule.
type candidate struct {
	*rule
	plain *plain
	regex *expression
	must  []byte // the text holds it; nil: plain finds out as fast
}

// match returns the first rule that describes t, and nil if none does or that rule says to ignore it. Spaces at the end
// of a message belong to a free field there, else they are dropped.
func (f *filter) match(t []byte, b *found) *rule {
	trimmed := trim(t)
	var last *rule // whose must was looked for
	var held bool
	all := f.byFirst[t[0]]
	for i, c := range all {
		if c.must != nil {
			if c.rule != last {
				last, held = c.rule, bytes.Contains(t, c.must)
			}
			if !held {
				continue
			}
		}
		if !c.match(t, trimmed, b) {
			continue
		}
		if c.ignore {
			return nil
		}
		if c.several && !b.ambiguous {
			b.ambiguous = c.doubted(all[i+1:], t, trimmed, b)
		}
		return c.rule
	}
	return nil
}

func (c *candidate) match(t, trimmed []byte, b *found) bool {
	*b = found{tries: b.tries}
	switch {
	case c.regex != nil:
		return c.regex.match(trimmed, b)
	case c.plain.open:
		return c.plain.match(t, b)
	}
	return c.plain.match(trimmed, b)
}

// doubted reports whether another plain template of the same rule finds another address in t: a name may imitate the
// form that this line does not have.
func (c *candidate) doubted(others []*candidate, t, trimmed []byte, b *found) bool {
	for _, o := range others {
		if o.rule != c.rule {
			break
		}
		other := found{tries: b.tries}
		ok := o.match(t, trimmed, &other)
		if b.tries = other.tries; ok && (other.ambiguous || other.addr != b.addr) {
			return true
		}
	}
	return false
}

func compile(c *Config) (*filter, value.Errors) {
	var errs value.Errors
	f := &filter{}
	if !validName(c.Service.S) {
		errs.Add(c.Service.Pos, "[a-z0-9-]", "service %q is no name", c.Service.S)
	}
	switch c.Session.S {
	case "":
	case "pid":
		f.pid = true
	case "<id>":
		f.id = true
	default:
		errs.Add(c.Session.Pos, "pid or <id>", "session %q is unknown", c.Session.S)
	}
	if len(c.Programs) == 0 {
		errs.Add(c.Service.Pos, "programs: [sshd]", "filter %s has no programs", c.Service.S)
	}
	for i := range c.Rules {
		f.add(c, &c.Rules[i], &errs)
	}
	return f, errs
}

func (f *filter) add(c *Config, in *Rule, errs *value.Errors) {
	what, source, ok := in.source()
	if !ok {
		errs.Add(in.place(c), "", "a rule has exactly one of failure, probe, abuse, success, ignore and regex")
		return
	}
	r := &rule{Rule: event.Rule{Filter: c.Service.S, Name: in.Name.S, Once: in.Once.B, Apart: in.Apart.B, End: in.End.B, Every: in.Every.Duration, Weight: 1}}
	if r.Name == "" {
		r.Name = source.S
	}
	if r.ignore = what == "ignore"; !r.ignore {
		if r.Kind, ok = event.ParseKind(what); !ok {
			errs.Add(in.Kind.Pos, "failure, probe, abuse, success or ignore", "regex has the kind %q", what)
		}
	}
	if in.Weight.N > 65535 {
		errs.Add(in.Weight.Pos, "", "weight %d is above 65535", in.Weight.N)
	} else if in.Weight.N > 0 {
		r.Weight = uint16(in.Weight.N)
	}
	if c.Session.S == "" && (r.Once || r.Apart || r.End) {
		errs.Add(in.place(c), "session: pid", "once, apart and end need a filter with a session")
	}
	if in.Regex.S != "" {
		x, must, problem := newRegex(in.Regex.S)
		if problem != "" {
			errs.Add(in.Regex.Pos, "", "regex %s", problem)
			return
		}
		f.put(&candidate{rule: r, regex: x, must: []byte(must)}, nil)
		return
	}
	all, must, bad := parse(source.S)
	if bad != nil {
		errs.Add(inside(source, bad.at), bad.hint, "%s", bad.msg)
		return
	}
	for _, t := range all {
		p := newPlain(t)
		if len(p.mid) > maxMiddles {
			errs.Add(source.Pos, "", "the template has more than %d free fields", maxMiddles+1)
			return
		}
		k := &candidate{rule: r, plain: p}
		if len(p.prefix) < 8 && len(must) > 6 { // a longer prefix is compared sooner than a literal is found, a shorter literal is in every message
			k.must = []byte(must)
		}
		for _, m := range p.mid {
			r.several = r.several || m.sure && len(all) > 1
		}
		f.put(k, t)
	}
}

// put lists the candidate under each byte that its texts may begin with.
func (f *filter) put(c *candidate, t []piece) {
	for b := range 256 {
		if t == nil || t[0].class.free() || t[0].class == literal && t[0].lit[0] == byte(b) || t[0].class.has(byte(b)) {
			f.byFirst[b] = append(f.byFirst[b], c)
		}
	}
}

// source returns the rule's kind and its template or regex.
func (r *Rule) source() (what string, s value.String, ok bool) {
	n := 0
	for _, x := range []struct {
		what string
		s    value.String
	}{{"failure", r.Failure}, {"probe", r.Probe}, {"abuse", r.Abuse}, {"success", r.Success}, {"ignore", r.Ignore}, {r.Kind.S, r.Regex}} {
		if x.s.S != "" {
			what, s = x.what, x.s
			n++
		}
	}
	return what, s, n == 1 && (r.Regex.S != "" || r.Kind.S == "")
}

// place is where the rule stands, as near as its values know.
func (r *Rule) place(c *Config) value.Pos {
	for _, p := range []value.Pos{r.Failure.Pos, r.Probe.Pos, r.Abuse.Pos, r.Success.Pos, r.Ignore.Pos, r.Regex.Pos, r.Kind.Pos, r.Name.Pos} {
		if p.Line > 0 {
			return p
		}
	}
	return c.Service.Pos
}

// inside is the place of byte n of s. Templates are written in double quotes: the value's place is that of the opening
// quote, and each quote or backslash before n stands there as two characters.
func inside(s value.String, n int) value.Pos {
	p := s.Pos
	if p.Line > 0 {
		p.Column += 1 + utf8.RuneCountInString(s.S[:n]) + strings.Count(s.S[:n], `"`) + strings.Count(s.S[:n], `\`)
	}
	return p
}

func validName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
