package filter

import (
	"bytes"
	"strings"
)

// programs finds the filters of a program by one look-up of its whole name, and by a second one only for names that
// hold a parenthesis or a slash.
type programs struct {
	exact map[string][]*filter // sshd
	open  map[string][]*filter // wordpress( for wordpress(*
	path  map[string][]branch  // /smtpd for postfix*/smtpd
}

type branch struct {
	first   string // what the program's name begins with
	filters []*filter
}

// A pattern is an entry of programs: a whole name, a name up to its parenthesis, or both ends of a path.
type pattern struct{ exact, open, first, last string }

// ours is the program that rapsheet itself logs as: what it says quotes attackers, so no filter may read it.
const ours = "rapsheet"

func parsePattern(s string) (p pattern, problem string) {
	before, after, star := strings.Cut(s, "*")
	switch {
	case s == "":
		return p, "is empty"
	case strings.ContainsAny(s, " \t"):
		return p, "holds a space"
	case s == ours || before == ours+"(":
		return p, "is rapsheet's own: its messages are never read"
	case !star:
		p.exact = s
	case after == "" && len(before) > 1 && strings.IndexByte(before, '(') == len(before)-1:
		p.open = before
	case before != "" && !strings.ContainsAny(before, "/(") && len(after) > 1 && strings.LastIndexByte(after, '/') == 0 && !strings.Contains(after, "*"):
		p.first, p.last = before, after
	default:
		return p, "has its * in the wrong place: name(* and first*/last are the forms"
	}
	return p, ""
}

func (p *programs) add(k pattern, f *filter) {
	if p.exact == nil {
		p.exact, p.open, p.path = map[string][]*filter{}, map[string][]*filter{}, map[string][]branch{}
	}
	switch {
	case k.exact != "":
		p.exact[k.exact] = append(p.exact[k.exact], f)
	case k.open != "":
		p.open[k.open] = append(p.open[k.open], f)
	default:
		for i := range p.path[k.last] {
			if b := &p.path[k.last][i]; b.first == k.first {
				b.filters = append(b.filters, f)
				return
			}
		}
		p.path[k.last] = append(p.path[k.last], branch{k.first, []*filter{f}})
	}
}

// find returns the filters that read the program's messages.
func (p *programs) find(program []byte) []*filter {
	if f := p.exact[string(program)]; f != nil {
		return f
	}
	for i, c := range program {
		switch c {
		case '(':
			return p.open[string(program[:i+1])]
		case '/':
			for _, b := range p.path[string(program[bytes.LastIndexByte(program, '/'):])] {
				if len(program) >= len(b.first) && string(program[:len(b.first)]) == b.first {
					return b.filters
				}
			}
			return nil
		}
	}
	return nil
}
