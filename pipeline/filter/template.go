package filter

import (
	"fmt"
	"slices"
	"strings"
)

// maxPlain is how many plain templates one rule may stand for, maxTemplate how many bytes it may have.
const (
	maxPlain    = 64
	maxTemplate = 2000
)

// A piece is a literal or a field of a plain template. At is where it stands in the template, for errors.
type piece struct {
	class class // literal: lit
	lit   string
	at    int
	again bool // an id that is not the template's first
}

// A fault is what is wrong with a template, and at which of its bytes.
type fault struct {
	at        int
	msg, hint string
}

// parse reads a template and returns the plain templates it stands for: an optional part first with it, then without;
// choices in their order. Must is the longest literal that all of them hold.
//
// A run of brackets is read from the outside: "[[[" opens and is followed by a [, "]]]" ends in a ] and closes, so
// [[ [preauth]]] is the optional text " [preauth]".
func parse(s string) (plain [][]piece, must string, bad *fault) {
	if len(s) > maxTemplate {
		return nil, "", &fault{maxTemplate, fmt.Sprintf("the template is longer than %d bytes", maxTemplate), "make it two rules"}
	}
	p := parser{s: s}
	plain, bad = p.sequence(0, false)
	if bad == nil {
		for i := range plain {
			plain[i] = join(plain[i])
			if bad = check(s, plain[i]); bad != nil {
				return nil, "", bad
			}
		}
		must = p.must
	}
	return plain, must, bad
}

type parser struct {
	s    string
	i    int
	must string
}

func (p *parser) next(n int) string { return p.s[p.i:min(len(p.s), p.i+n)] }

// sequence reads up to what closes it: the end, the "]]" of an optional part (depth > 0), or the | or } of a choice.
func (p *parser) sequence(depth int, choice bool) ([][]piece, *fault) {
	all := [][]piece{nil}
	var lit strings.Builder
	start := p.i
	flush := func() {
		if lit.Len() == 0 {
			return
		}
		if depth == 0 && !choice && lit.Len() > len(p.must) {
			p.must = lit.String()
		}
		for i := range all {
			all[i] = append(all[i], piece{lit: lit.String(), at: start})
		}
		lit.Reset()
	}
	byteIs := func(c byte, n int) {
		if lit.Len() == 0 {
			start = p.i
		}
		lit.WriteByte(c)
		p.i += n
	}
	for p.i < len(p.s) {
		at := p.i
		var more [][]piece
		var bad *fault
		switch c := p.s[p.i]; {
		case p.next(2) == "<<" || p.next(2) == "{{":
			byteIs(c, 2)
			continue
		case c == '<':
			flush()
			f, bad := p.field()
			if bad != nil {
				return nil, bad
			}
			more = [][]piece{{f}}
		case p.next(2) == "[[":
			flush()
			p.i += 2
			if more, bad = p.sequence(depth+1, false); bad != nil {
				return nil, bad
			}
			if p.next(2) != "]]" {
				return nil, &fault{at, "the optional part that begins here has no end", "]]"}
			}
			p.i += 2
			if len(more) == 1 && len(more[0]) == 0 {
				return nil, &fault{at, "the optional part is empty", ""}
			}
			more = append(more, nil)
		case c == '{':
			flush()
			p.i++
			for {
				alt, bad := p.sequence(depth, true)
				if bad != nil {
					return nil, bad
				}
				if more = append(more, alt...); len(more) > maxPlain {
					break
				}
				if p.i == len(p.s) || p.s[p.i] == ']' {
					return nil, &fault{at, "the choice that begins here has no end", "} ends it, {{ is a { of the message"}
				}
				p.i++
				if p.s[p.i-1] == '}' {
					break
				}
			}
			if len(more) == 1 {
				return nil, &fault{at, "a choice of one", "{{ is a { of the message"}
			}
		case choice && (c == '|' || c == '}'):
			flush()
			return all, nil
		case depth > 0 && p.next(2) == "]]":
			run := len(p.s[p.i:]) - len(strings.TrimLeft(p.s[p.i:], "]"))
			if run <= 2*min(depth, run/2) {
				flush()
				return all, nil
			}
			byteIs(c, 1)
			continue
		default:
			byteIs(c, 1)
			continue
		}
		if all, bad = product(all, more, at); bad != nil {
			return nil, bad
		}
	}
	flush()
	return all, nil
}

func product(a, b [][]piece, at int) ([][]piece, *fault) {
	if len(a)*len(b) > maxPlain {
		return nil, &fault{at, fmt.Sprintf("the template stands for more than %d plain ones", maxPlain), "make it two rules"}
	}
	if len(b) == 1 { // every list owns its memory
		for i := range a {
			a[i] = append(a[i], b[0]...)
		}
		return a, nil
	}
	out := make([][]piece, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, slices.Concat(x, y))
		}
	}
	return out, nil
}

func (p *parser) field() (piece, *fault) {
	at := p.i
	n := strings.IndexByte(p.s[at:], '>')
	if n < 0 {
		return piece{}, &fault{at, "the field that begins here has no end", "<< is a < of the message"}
	}
	name := p.s[at+1 : at+n]
	c := classOf(name)
	if c == literal {
		return piece{}, &fault{at, fmt.Sprintf("there is no field <%s>", name),
			"fields are <" + strings.Join(classNames[1:], "> <") + ">, << is a < of the message"}
	}
	p.i += n + 1
	return piece{class: c, at: at}, nil
}

// join makes one literal of those that stand side by side.
func join(in []piece) (out []piece) {
	for _, p := range in {
		if n := len(out); p.class == literal && n > 0 && out[n-1].class == literal {
			out[n-1].lit += p.lit
		} else {
			out = append(out, p)
		}
	}
	return out
}

// check refuses what would give more than one way to read a line.
func check(s string, t []piece) *fault {
	if len(t) == 0 {
		return &fault{0, "the template is empty", ""}
	}
	lastFree, seen := -1, [classes]int{}
	for i, p := range t {
		if p.class.free() {
			lastFree = i
		}
		seen[p.class]++
		if i == 0 {
			continue
		}
		before := t[i-1]
		if p.class != literal && before.class != literal {
			return &fault{p.at, fmt.Sprintf("%s follows %s at once: where one ends can't be told", p.class, before.class), ""}
		}
		if p.class == literal && !before.class.free() && before.class.has(p.lit[0]) {
			return &fault{p.at, fmt.Sprintf("%q begins with a byte that %s may hold: where it ends can't be told", p.lit, before.class), ""}
		}
	}
	for i := lastFree + 1; i < len(t) && lastFree >= 0; i++ {
		p := t[i]
		if before := t[i-1]; p.class != literal && before.class == literal && p.class.has(before.lit[len(before.lit)-1]) {
			return &fault{before.at, fmt.Sprintf("%q ends with a byte that %s may hold: read from the right end, where it begins can't be told", before.lit, p.class), ""}
		}
	}
	switch last := t[len(t)-1]; {
	case seen[literal] == 0:
		return &fault{0, "the template has fields only: it would match anything", ""}
	case last.class == literal && last.lit[len(last.lit)-1] == ' ':
		return &fault{len(s) - 1, "the template ends in a space: spaces at the end of a message are dropped", ""}
	case seen[user] > 1 || seen[attempts] > 1:
		return &fault{0, "<user> and <attempts> may stand once", "<text> and <word> are fields that bind nothing"}
	case seen[addr]+seen[addrport] > 1:
		return &fault{0, "an address may stand once", "<host> is one that is not the offender's"}
	}
	return nil
}
