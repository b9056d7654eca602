package filter

import (
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Check runs the filter's samples through s, which holds the filter and may hold others, and returns those that give
// something else than they say.
func (c *Config) Check(s *Set) value.Errors {
	var errs value.Errors
	for i := range c.Samples {
		c.Samples[i].check(c, s, &errs)
	}
	return errs
}

func (x *Sample) check(c *Config, s *Set, errs *value.Errors) {
	want, ok := event.ParseKind(x.Kind.S)
	if !ok && x.Kind.S != "none" {
		errs.Add(x.Kind.Pos, "failure, probe, abuse, success or none", "sample has the kind %q", x.Kind.S)
		return
	}
	program := x.Program.S
	if program == "" && len(c.Programs) > 0 {
		program = strings.Replace(c.Programs[0].S, "*", "", 1)
	}
	m := event.Message{Raw: []byte(x.Line.S), Text: []byte(x.Line.S), Program: []byte(program)}
	var e event.Event
	if !s.Match(&m, &e) {
		if ok {
			errs.Add(x.Line.Pos, "", "sample should be %s, no rule matches", want)
		}
		return
	}
	if e.Rule.Kind != want {
		errs.Add(x.Line.Pos, "", "sample should be %s, rule %q says %s", x.Kind.S, e.Rule.Name, e.Rule.Kind)
		return
	}
	compare := func(at value.Pos, what, got, want string) {
		if got != want {
			errs.Add(at, "", "sample's %s: got %q, want %q from rule %q", what, got, want, e.Rule.Name)
		}
	}
	address := ""
	if e.Addr.IsValid() {
		address = e.Addr.String()
	}
	place := func(p value.Pos) value.Pos {
		if p.Line == 0 {
			return x.Line.Pos
		}
		return p
	}
	compare(x.Line.Pos, "filter", e.Rule.Filter, c.Service.S)
	compare(place(x.Addr.Pos), "address", address, x.Addr.S)
	compare(place(x.Name.Pos), "name", string(e.Name), x.Name.S)
	if x.User.S != "" {
		compare(place(x.User.Pos), "user", string(e.User), x.User.S)
	}
	if n := max(1, x.Count.N); uint32(e.Count) != n {
		errs.Add(place(x.Count.Pos), "", "sample's count: got %d, want %d from rule %q", e.Count, n, e.Rule.Name)
	}
}
