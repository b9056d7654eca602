// Package value holds the kinds of values that stand in the configuration: durations, sizes, prefixes, ports. Each
// reads itself from text and knows its place in the file, so that whoever finds fault with it later can point at it.
package value

import (
	"fmt"
	"strings"
)

// A Pos is a place in a configuration file. The zero Pos is a built-in default.
type Pos struct {
	File         string
	Line, Column int // from 1
}

// SetPos records where the value was read. The decoder of configs calls it for every type that has it.
func (p *Pos) SetPos(at Pos) { *p = at }

// At returns the place itself, so that a value can be handed to Errors.Add.
func (p Pos) At() Pos { return p }

// String returns file:line:column.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// An Error is one mistake in the configuration.
type Error struct {
	Pos
	Msg     string // what is wrong, lower case, no period
	Hint    string // what was perhaps meant: did you mean maxretry?
	Excerpt string // the line with a caret below; filled in by configs
}

// Error returns file:line:column: message (hint).
func (e *Error) Error() string {
	var s strings.Builder
	if p := e.Pos.String(); p != "" {
		s.WriteString(p + ": ")
	}
	s.WriteString(e.Msg)
	if e.Hint != "" {
		s.WriteString(" (" + e.Hint + ")")
	}
	return s.String()
}

// Errors gathers mistakes, so that a user sees all of them at once.
type Errors []*Error

// Add records a mistake at p.
func (e *Errors) Add(p Pos, hint, format string, args ...any) {
	*e = append(*e, &Error{Pos: p, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// Error returns the mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns e as an error, and nil when it is empty.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// A String is a text that knows its place.
type String struct {
	S string
	Pos
}

// UnmarshalText takes any text.
func (s *String) UnmarshalText(b []byte) error { s.S = string(b); return nil }

// String returns the text.
func (s String) String() string { return s.S }

// An Int is a whole number, not negative, that knows its place.
type Int struct {
	N uint32
	Pos
}

// UnmarshalText reads decimal digits.
func (i *Int) UnmarshalText(b []byte) error {
	n, err := parseUint(string(b), 32)
	i.N = uint32(n)
	return err
}

// String returns the number in decimal.
func (i Int) String() string { return fmt.Sprint(i.N) }

// A Bool is true or false, and knows whether it was written at all.
type Bool struct {
	B   bool
	Set bool // written in some file; false: the owner's default holds
	Pos
}

// UnmarshalText reads true or false.
func (v *Bool) UnmarshalText(b []byte) error {
	switch string(b) {
	case "true":
		v.B = true
	case "false":
		v.B = false
	default:
		return fmt.Errorf("%q is neither true nor false", b)
	}
	v.Set = true
	return nil
}

// String returns true or false.
func (v Bool) String() string { return fmt.Sprint(v.B) }
