package filter

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"pgregory.net/rapid"
)

// A form is a plain template of a shipped filter that reports an address.
type form struct {
	program string
	pieces  []piece
	source  string
}

// forms returns the plain templates of all rules that a daemon's line may have, and the bytes from which hostile text is
// made: the templates' own literals. Templates with two addresses describe lines that can be read in two ways.
func forms(t testing.TB) (all []form, literals []string) {
	for _, c := range shipped(t) {
		for _, r := range c.Rules {
			what, source, _ := r.source()
			if r.Regex.S != "" || what == "ignore" {
				continue
			}
			plains, _, bad := parse(source.S)
			if bad != nil {
				t.Fatalf("%s: %s", source.S, bad.msg)
			}
			for _, p := range plains {
				addresses := 0
				for _, x := range p {
					if x.class == addr || x.class == addrport {
						addresses++
					}
					if x.class == literal {
						literals = append(literals, x.lit)
					}
				}
				if addresses == 1 {
					program := strings.Replace(c.Programs[0].S, "*", "", 1)
					all = append(all, form{program, p, source.S})
				}
			}
		}
	}
	return all, literals
}

var bound = [classes][]string{
	host:     {"unknown", "mail.example.net", "192.0.2.99", "192.0.2.99.attacker.example", "2001:db8::99"},
	helo:     {"x.example", "[192.0.2.99]"},
	port:     {"22", "51234"},
	number:   {"0", "11", "4711"},
	attempts: {"1", "3"},
	word:     {"password", "publickey", "RCPT", "AUTH", "imap-login:", "www.example.org/blog", "192.0.2.99"},
	id:       {"PLAIN", "4F1A2B3C", "login"},
}

// build fills the form: hostile text in the free fields, the true address in its place.
func (f form) build(r *rapid.T, all []form, literals []string, truth string, deep int) string {
	var s strings.Builder
	for i, p := range f.pieces {
		switch {
		case p.class == literal:
			s.WriteString(p.lit)
		case p.class == addr:
			s.WriteString(truth)
		case p.class == addrport:
			s.WriteString("[" + truth + "]:4711")
		case p.class.free():
			s.WriteString(hostile(r, f, all, literals, deep, fmt.Sprint("free", i)))
		default:
			s.WriteString(rapid.SampledFrom(bound[p.class]).Draw(r, p.class.String()))
		}
	}
	return s.String()
}

// The victims: addresses that stand in free text only.
var victims = []string{"192.0.2.99", "::ffff:192.0.2.98", "2001:db8:beef::99"}

func hostile(r *rapid.T, f form, all []form, literals []string, deep int, label string) string {
	var s strings.Builder
	for range rapid.IntRange(0, 4).Draw(r, label) {
		victim := rapid.SampledFrom(victims).Draw(r, "victim")
		switch what := rapid.IntRange(0, 6).Draw(r, "what"); {
		case what == 0 && deep > 0: // a whole message
			s.WriteString(rapid.SampledFrom(all).Draw(r, "form").build(r, all, literals, victim, deep-1))
		case what == 1: // the end of the line's own form
			from := rapid.IntRange(0, len(f.pieces)-1).Draw(r, "from")
			g := form{f.program, f.pieces[from:], f.source}
			if deep > 0 {
				s.WriteString(g.build(r, all, literals, victim, deep-1))
			}
		case what == 2: // its beginning
			to := rapid.IntRange(1, len(f.pieces)).Draw(r, "to")
			g := form{f.program, f.pieces[:to], f.source}
			if deep > 0 {
				s.WriteString(g.build(r, all, literals, victim, deep-1))
			}
		case what == 3:
			s.WriteString(victim)
		case what == 4:
			s.WriteString(rapid.SampledFrom(literals).Draw(r, "literal"))
		case what == 5:
			s.WriteString(rapid.SampledFrom([]string{" ", "", "  ", "\"", "'", ">", "<", "]", "[", ")", "(", ",", ": ", "\x00", "\n", "\x1b[0m", "\xff\xfe", "é", "root", "1"}).Draw(r, "bit"))
		default:
			s.WriteString(rapid.StringN(0, 8, 16).Draw(r, "any"))
		}
	}
	return s.String()
}

// TestHostileText puts an attacker's text into every free field of every shipped template: whatever it says, the
// address reported is the true one or none.
func TestHostileText(t *testing.T) {
	s := compiled(t)
	all, literals := forms(t)
	truth := netip.MustParseAddr("198.51.100.66")
	for i := range all {
		f := all[i]
		check := func(r *rapid.T) {
			line := f.build(r, all, literals, truth.String(), 2)
			m := event.Message{Program: []byte(f.program), Text: []byte(line)}
			var e event.Event
			if s.Match(&m, &e) && e.Addr.IsValid() && e.Addr != truth {
				r.Fatalf("address: got %s, want %s or none\nline %q\nof   %s\nrule %s", e.Addr, truth, line, f.source, e.Rule.Name)
			}
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) { rapid.Check(t, check) })
		if t.Failed() {
			break
		}
	}
}

// TestForms fills each form with harmless text: the shipped filters recognise all their own templates.
func TestForms(t *testing.T) {
	s := compiled(t)
	all, _ := forms(t)
	for _, f := range all {
		var line strings.Builder
		for _, p := range f.pieces {
			switch {
			case p.class == literal:
				line.WriteString(p.lit)
			case p.class == addr:
				line.WriteString("198.51.100.66")
			case p.class == user:
				line.WriteString("bob")
			case p.class == text:
				line.WriteString("t")
			default:
				line.WriteString(bound[p.class][0])
			}
		}
		m := event.Message{Program: []byte(f.program), Text: []byte(line.String())}
		var e event.Event
		if !s.Match(&m, &e) || e.Addr.String() != "198.51.100.66" {
			t.Errorf("%q of %s: got %v, want an event of 198.51.100.66", line.String(), f.source, e.Addr)
		}
	}
}
