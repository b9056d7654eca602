package filter

import (
	"regexp"
	"regexp/syntax"
)

// An expression is a regex rule: RE2, anchored at both ends.
type expression struct {
	re     *regexp.Regexp
	groups [classes]int // the group that binds the field; 0: none
}

// newRegex compiles s, and finds the longest literal that every match holds: without one the regex would be tried on
// every message, and is refused.
func newRegex(s string) (x *expression, must, problem string) {
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, "", "is none: " + err.Error()
	}
	re, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return nil, "", "is none: " + err.Error()
	}
	if must = required(tree); must == "" {
		return nil, "", "holds no text that every match has: it would be tried on every message"
	}
	x = &expression{re: re}
	for i, name := range re.SubexpNames() {
		switch c := classOf(name); c {
		case literal:
			if name != "" {
				return nil, "", "has a group " + name + ": addr, user, id and attempts are those that bind something"
			}
		case addr, user, id, attempts:
			if x.groups[c] != 0 {
				return nil, "", "has the group " + name + " twice"
			}
			x.groups[c] = i
		default:
			return nil, "", "has a group " + name + ": addr, user, id and attempts are those that bind something"
		}
	}
	return x, must, ""
}

// required returns the longest literal without which the expression cannot match.
func required(x *syntax.Regexp) string {
	var best string
	better := func(s string) {
		if len(s) > len(best) {
			best = s
		}
	}
	switch x.Op {
	case syntax.OpLiteral:
		if x.Flags&syntax.FoldCase == 0 {
			better(string(x.Rune))
		}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpConcat:
		for _, sub := range x.Sub {
			better(required(sub))
		}
	case syntax.OpRepeat:
		if x.Min > 0 {
			better(required(x.Sub[0]))
		}
	}
	return best
}

// match binds f and reports whether the whole of t matches. Only a match allocates.
func (x *expression) match(t []byte, f *found) bool {
	at := x.re.FindSubmatchIndex(t)
	if at == nil {
		return false
	}
	for c, g := range x.groups {
		if g == 0 || at[2*g] < 0 || at[2*g] == at[2*g+1] {
			continue
		}
		p := piece{class: class(c)}
		if p.class == attempts && attempts.head(t[at[2*g]:at[2*g+1]]) != at[2*g+1]-at[2*g] {
			return false
		}
		f.bind(&p, t, at[2*g], at[2*g+1])
	}
	return true
}
