package filter

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// show writes plain templates with the names of their fields.
func show(all [][]piece) string {
	var s []string
	for _, t := range all {
		var one strings.Builder
		for _, p := range t {
			if p.class == literal {
				one.WriteString(p.lit)
			} else {
				one.WriteString(p.class.String())
			}
		}
		s = append(s, one.String())
	}
	return strings.Join(s, "|")
}

func TestParse(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		all, _, bad := parse(in)
		if bad != nil {
			t.Errorf("parse %q: %s", in, bad.msg)
		} else if got := show(all); got != want {
			t.Errorf("parse %q: got %q, want %q", in, got, want)
		}
	}
	f("a", "a")
	f("a[[ b]]", "a b|a")
	f("{a|b} c", "a c|b c")
	f("x{|y} <int>", "x <int>|xy <int>")
	f("[[a[[b]]]]c", "abc|ac|c")
	f("x[[ [preauth]]]", "x [preauth]|x")
	f("{a[[ [b]]]|c}", "a [b]|a|c")
	f("on [<addr>]:<port>", "on [<addr>]:<port>")
	f("[<addr>][[:<port>]]: x", "[<addr>]:<port>: x|[<addr>]: x")
	f("user=<<<user>>, {{x}", "user=<<user>>, {x}")
	f("a[[ <user>]]; b", "a <user>; b|a; b")
	f("a|b ]] ]", "a|b ]] ]")
}

func TestRefused(t *testing.T) {
	f := func(in string, column int, want string) {
		t.Helper()
		c := Config{Service: value.String{S: "x"}, Programs: []value.String{{S: "x"}},
			Rules: []Rule{{Failure: value.String{S: in, Pos: value.Pos{File: "x.yaml", Line: 3, Column: 14}}}}}
		if in == "" {
			c.Rules[0].Name = value.String{S: "n", Pos: c.Rules[0].Failure.Pos}
		}
		s, errs := New([]Config{c})
		if len(errs) != 1 || !strings.Contains(errs[0].Msg, want) || errs[0].Column != column || errs[0].Line != 3 {
			t.Errorf("template %q: got %v, want column %d: %s", in, errs, column, want)
		}
		if len(s.Services()) != 0 {
			t.Errorf("template %q: got a set with the filter, want it left out", in)
		}
	}
	f("", 14, "exactly one of")
	f("from <user><addr>", 26, "<addr> follows <user> at once")
	f("from <addr>: x", 26, `": x" begins with a byte that <addr> may hold`)
	f("from <addr>.x", 26, `".x" begins`)
	f("x <user>pid<addr> y", 23, `"pid" ends with a byte`)
	f("x <foo>", 17, "there is no field <foo>")
	f("x <foo", 17, "no end")
	f("x [[a", 17, "no end")
	f("x {a|b", 17, "no end")
	f("x {a}", 17, "a choice of one")
	f("x[[]]", 16, "empty")
	f("<user>", 15, "fields only")
	f("x ", 16, "ends in a space")
	f("é <addr> to <addr>", 15, "an address may stand once")
	f("é \"<foo>", 19, "there is no field") // the quote is written \"
	f("<user> x <user>", 15, "may stand once")
	f("{a|b}{a|b}{a|b}{a|b}{a|b}{a|b}{a|b}", 45, "more than 64")
}

func TestRules(t *testing.T) {
	f := func(c Config, want string) {
		t.Helper()
		good := Config{Service: value.String{S: "good"}, Programs: []value.String{{S: "good"}}, Rules: []Rule{{Failure: value.String{S: "x <addr>"}}}}
		s, errs := New([]Config{c, good})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("got %v, want one error: %s", errs, want)
		}
		if got := s.Services(); len(got) != 1 || got[0] != "good" {
			t.Errorf("services: got %q, want the good one only", got)
		}
	}
	str := func(s string) value.String { return value.String{S: s} }
	with := func(change func(c *Config)) Config {
		c := Config{Service: str("x"), Programs: []value.String{str("x")}, Rules: []Rule{{Failure: str("a <addr>")}}}
		change(&c)
		return c
	}
	f(with(func(c *Config) { c.Service.S = "X y" }), `service "X y"`)
	f(with(func(c *Config) { c.Programs = nil }), "has no programs")
	f(with(func(c *Config) { c.Programs[0].S = "a*b" }), "* in the wrong place")
	f(with(func(c *Config) { c.Programs[0].S = "*" }), "* in the wrong place")
	f(with(func(c *Config) { c.Programs[0].S = "rapsheet" }), "never read")
	f(with(func(c *Config) { c.Session.S = "tid" }), `session "tid"`)
	f(with(func(c *Config) { c.Rules[0].Probe.S = "b" }), "exactly one")
	f(with(func(c *Config) { c.Rules[0].Kind.S = "probe" }), "exactly one")
	f(with(func(c *Config) { c.Rules[0].Once.B = true }), "session")
	f(with(func(c *Config) { c.Rules[0].Weight.N = 65536 }), "above 65535")
	f(with(func(c *Config) { c.Rules[0] = Rule{Regex: str("a(b"), Kind: str("failure")} }), "is none")
	f(with(func(c *Config) { c.Rules[0] = Rule{Regex: str("(?P<addr>.*)"), Kind: str("failure")} }), "no text that every match has")
	f(with(func(c *Config) { c.Rules[0] = Rule{Regex: str("x(?P<host>.*)"), Kind: str("failure")} }), "group host")
	f(with(func(c *Config) { c.Rules[0] = Rule{Regex: str("x"), Kind: str("sin")} }), `kind "sin"`)
	f(with(func(c *Config) { c.Service.S = "good" }), "stands twice")
}

func TestMatch(t *testing.T) {
	f := func(template, text, want string) {
		t.Helper()
		s, errs := New([]Config{{Service: value.String{S: "x"}, Programs: []value.String{{S: "x"}}, Rules: []Rule{{Failure: value.String{S: template}}}}})
		if errs != nil {
			t.Errorf("template %q: %v", template, errs)
			return
		}
		got := "none"
		var e event.Event
		if s.Match(&event.Message{Program: []byte("x"), Text: []byte(text)}, &e) {
			got = string(e.User) + " " + string(e.Name)
			if e.Addr.IsValid() {
				got += e.Addr.String()
			}
			if e.Count > 1 {
				got += strings.Repeat("+", int(e.Count)-1)
			}
			if s.Ambiguous.Load() > 0 {
				got += "ambiguous"
			}
		}
		if got != want {
			t.Errorf("%q on %q: got %q, want %q", template, text, got, want)
		}
	}
	f("from <addr>", "from 192.0.2.1", " 192.0.2.1")
	f("from <addr>", "from 192.0.2.1  ", " 192.0.2.1")
	f("from <addr>", "from 192.0.2.1 x", "none")
	f("from <addr>", "from ", "none")
	f("from <addr>", "from ::ffff:192.0.2.1", " 192.0.2.1")
	f("from <addr>", "from fe80::1%eth0", " fe80::1")
	f("from <addr>", "from 192.0.2.1.example", " 192.0.2.1.example")
	f("from <addr>", "from "+strings.Repeat("a", 255), " "+strings.Repeat("a", 255))
	f("from <addr>", "from "+strings.Repeat("a", 256), "none")
	f("to <addrport>", "to 192.0.2.1:22", " 192.0.2.1")
	f("to <addrport>", "to 2001:db8::1:22", " 2001:db8::1")
	f("to <addrport>", "to [2001:db8::1]:22", " 2001:db8::1")
	f("to <addrport>", "to 192.0.2.1", "none")
	f("to <addrport>", "to 192.0.2.1:", "none")
	f("<user> from <addr>", " from 192.0.2.1", " 192.0.2.1")
	f("<user> from <addr>", "a from 192.0.2.2 from 192.0.2.1", "a from 192.0.2.2 192.0.2.1")
	f("<user> from <addr>; <text>", "a from 192.0.2.1; ", "a 192.0.2.1")
	f("<user> from <addr>; <text>", "a from 192.0.2.1; b", "a 192.0.2.1")
	f("<user> from <addr>; <text>", "a from 192.0.2.2; from 192.0.2.1; b", "a ambiguous")
	f("<user> from <addr>; <text>", "a from 192.0.2.2 from 192.0.2.1; b", "a from 192.0.2.2 192.0.2.1")
	f("<text>: <user> from <addr>", "a: b: c from 192.0.2.1", "b: c 192.0.2.1")
	f("<text>: <user>; <text> from <addr>", "a: b: c; d; e from 192.0.2.1", "b: c 192.0.2.1")
	f("<user>, <attempts> tries from <addr>", "a, 3 tries from 192.0.2.1", "a 192.0.2.1++")
	f("<user>, <attempts> tries from <addr>", "a, 0 tries from 192.0.2.1", "a 192.0.2.1")
	f("<user> from <addr>[[; <text>]]", "a from 192.0.2.2; b from 192.0.2.1", "a ambiguous")
	f("<user> from <addr>[[; <text>]]", "a from 192.0.2.1; b from 192.0.2.1", "a ambiguous")
	f("x <text>y", "xy", "none")
	f("x <text> y", "x y", "none")
}

// FuzzTemplate compiles and matches whatever comes: no panic, fields inside the text, and a number of tries that grows
// with the text, not with its square.
func FuzzTemplate(f *testing.F) {
	for _, c := range shipped(f) {
		for _, r := range c.Rules {
			_, s, _ := r.source()
			f.Add(s.S, c.Samples[0].Line.S)
		}
		for _, x := range c.Samples {
			f.Add(c.Rules[0].Failure.S, x.Line.S)
		}
	}
	f.Add("<text>a<addr> <text>a<addr> b<text>", strings.Repeat("aaaa ", 100))
	f.Fuzz(func(t *testing.T, template, line string) {
		all, must, bad := parse(template)
		if bad != nil {
			if bad.at < 0 || bad.at > len(template) || bad.msg == "" {
				t.Fatalf("template %q: fault at %d of %d: %q", template, bad.at, len(template), bad.msg)
			}
			if utf8.ValidString(template) && inside(value.String{S: template, Pos: value.Pos{Line: 1, Column: 1}}, bad.at).Column < 2 {
				t.Fatalf("template %q: no place", template)
			}
			return
		}
		if len(all) == 0 || len(all) > maxPlain {
			t.Fatalf("template %q: got %d plain ones", template, len(all))
		}
		text := []byte(line)
		for _, pieces := range all {
			p := newPlain(pieces)
			if len(p.mid) > maxMiddles {
				continue
			}
			var b found
			ok := p.match(text, &b)
			if most := 2 * (len(text) + 1) * len(p.mid); b.tries > most {
				t.Fatalf("%q on %q: %d tries, want at most %d", template, line, b.tries, most)
			}
			if !ok {
				continue
			}
			if !strings.Contains(line, must) {
				t.Fatalf("%q matches %q, which lacks %q", template, line, must)
			}
			for _, s := range []span{b.addr, b.user, b.id, b.attempts} {
				if s.from < 0 || s.from > s.to || s.to > len(text) {
					t.Fatalf("%q on %q: field %v outside", template, line, s)
				}
			}
			if a := b.of(text, b.addr); addrport.head(append([]byte(nil), a...)) != len(a) {
				t.Fatalf("%q on %q: address %q", template, line, a)
			}
		}
	})
}
