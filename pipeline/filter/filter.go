// Package filter recognises the messages of services: text in, events out. Nearly all traffic is none and is dropped
// after one map look-up. Filters are data, written as templates of what a program says:
//
//	Failed {password|none} for [[invalid user ]]<user> from <addr> port <port> ssh2
//
// A template describes the whole text but for spaces at its end. [[...]] is optional, {a|b} a choice, << a < and {{ a {
// of the message. Fields are bound or free. A bound field is the longest run of the bytes that it may hold:
//
//	<addr>      address, or the host name in its place: the offender
//	<addrport>  the same, with a colon and a port behind it
//	<host>      host name or address that is not the offender's
//	<helo>      what a mail client called itself
//	<port>      1 to 5 digits
//	<int>       up to 20 digits
//	<attempts>  digits: how many attempts the line reports
//	<word>      anything without a space
//	<id>        letters, digits, + / _ -: an id; the template's first is its session
//
// <user> and <text> are free: an attacker may choose them, so they hold any bytes, and none too. What stands before the
// first free field is read from the left, what stands behind the last from the right end. A part between two free
// fields is looked for where it stands first; if it holds an address, a count or an id, it must stand there only. Where
// it doesn't, and where the plain templates that a rule stands for find different addresses, the event has none, and
// is counted as ambiguous. So a name may imitate a message and moves no ban to another address.
package filter

import (
	"bytes"
	"slices"
	"sync/atomic"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// maxCount bounds what one line may report: RFC 5424 messages are short, and one line must not fill a year's score.
const maxCount = 1000

// A Set is all filters, compiled. It never changes, so any number of goroutines may use it.
type Set struct {
	// Ambiguous counts events whose address could not be told from the text around it, and was left out.
	Ambiguous atomic.Uint64

	services []string
	programs programs
}

// New compiles the filters. Each error says where in the template it is; a filter with one is left out of the set, the
// others work.
func New(configs []Config) (*Set, value.Errors) {
	s := &Set{}
	var errs value.Errors
	for i := range configs {
		c := &configs[i]
		f, bad := compile(c)
		if slices.Contains(s.services, c.Service.S) {
			bad.Add(c.Service.Pos, "", "filter %s stands twice", c.Service.S)
		}
		patterns := make([]pattern, len(c.Programs))
		for j, p := range c.Programs {
			var problem string
			if patterns[j], problem = parsePattern(p.S); problem != "" {
				bad.Add(p.Pos, "", "program %q %s", p.S, problem)
			}
		}
		if len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		s.services = append(s.services, c.Service.S)
		for _, p := range patterns {
			s.programs.add(p, f)
		}
	}
	return s, errs
}

// Services returns the names of the filters, in order.
func (s *Set) Services() []string { return slices.Clone(s.services) }

// Process appends an event to b.Events for each message that a filter recognises. Cut messages are none: half an
// address is another address.
func (s *Set) Process(b *event.Batch) {
	var from *event.Sender
	var failures uint64
	for i := range b.Messages {
		m := &b.Messages[i]
		if m.Cut {
			continue
		}
		filters := s.programs.find(m.Program)
		if filters == nil {
			continue
		}
		var e event.Event
		if !s.match(filters, m, &e) {
			continue
		}
		e.Msg, e.Time = int32(i), b.Now
		if e.Trusted && !m.Time.IsZero() && m.Time.Before(b.Now) {
			e.Time = m.Time
		}
		b.Events = append(b.Events, e)
		if e.Rule.Kind == event.Failure && m.From != nil {
			if m.From != from {
				if failures > 0 {
					from.Failures.Add(failures)
				}
				from, failures = m.From, 0
			}
			failures++
		}
	}
	if failures > 0 {
		from.Failures.Add(failures)
	}
}

// Match reports whether a filter recognises m, and fills e but for Msg and Time.
func (s *Set) Match(m *event.Message, e *event.Event) bool {
	*e = event.Event{}
	return !m.Cut && s.match(s.programs.find(m.Program), m, e)
}

func (s *Set) match(filters []*filter, m *event.Message, e *event.Event) bool {
	t, times := unwrap(m.Text)
	if len(t) == 0 || times == 0 {
		return false
	}
	for _, f := range filters {
		var found found
		r := f.match(t, &found)
		if r == nil {
			continue
		}
		e.Rule = &r.Rule
		s.fill(e, t, &found)
		e.Count = uint16(min(int(e.Count)*times, maxCount))
		if f.pid {
			e.Session = m.PID
		} else if f.id {
			e.Session = found.of(t, found.id)
		}
		e.Trusted = m.From != nil && m.From.Trusted
		return true
	}
	return false
}

func (s *Set) fill(e *event.Event, t []byte, f *found) {
	e.User = f.of(t, f.user)
	e.Count = 1
	if f.attempts.to > 0 {
		e.Count = uint16(max(1, count(f.of(t, f.attempts))))
	}
	if f.addr.to == 0 {
		return
	}
	if f.ambiguous {
		s.Ambiguous.Add(1)
		return
	}
	if a, ok := parseAddr(f.of(t, f.addr)); ok {
		e.Addr = a
	} else {
		e.Name = f.of(t, f.addr)
	}
}

// unwrap drops what stands around the text: the id that Solaris puts in front of it, and what rsyslog's
// RepeatedMsgReduction makes of repeats: "message repeated 4 times: [ Failed password ...]". Times is how often the text
// was repeated.
func unwrap(t []byte) (text []byte, times int) {
	if len(t) == 0 {
		return t, 0
	}
	switch t[0] {
	case '[':
		if rest, ok := bytes.CutPrefix(t, []byte("[ID ")); ok {
			if i := bytes.Index(rest, []byte("] ")); i >= 0 {
				return rest[i+2:], 1
			}
		}
	case 'm':
		rest, ok := bytes.CutPrefix(trim(t), []byte("message repeated "))
		if !ok || len(rest) == 0 || rest[len(rest)-1] != ']' {
			break
		}
		n := number.head(rest)
		inner, ok := bytes.CutPrefix(rest[n:], []byte(" times: [ "))
		if n == 0 || !ok || len(inner) == 0 {
			break
		}
		return inner[:len(inner)-1], count(rest[:n])
	}
	return t, 1
}

func trim(t []byte) []byte {
	for len(t) > 0 && t[len(t)-1] == ' ' {
		t = t[:len(t)-1]
	}
	return t
}

// count reads digits, and takes what is above maxCount for it.
func count(digits []byte) int {
	n := 0
	for _, d := range digits {
		if n = n*10 + int(d-'0'); n > maxCount {
			return maxCount
		}
	}
	return n
}
