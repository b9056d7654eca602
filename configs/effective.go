package configs

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
)

// Effective writes every value that holds, as YAML, with where it was set behind it: a file and line, or default. What
// it writes is a configuration with the same meaning. Jails that cannot start are not in it.
func (r *Result) Effective(w io.Writer) error {
	p := printer{}
	p.fields(reflect.ValueOf(r.Config).Elem(), r.root, 0)
	_, err := io.WriteString(w, p.String())
	return err
}

// A printer walks the decoded values and, beside them, the tree that they were read from, which knows the places.
type printer struct{ strings.Builder }

// origins start here, where the values leave room.
const originColumn = 48

func (p *printer) fields(v reflect.Value, n *node, depth int) {
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("yaml")
		name, option, _ := strings.Cut(tag, ",")
		switch {
		case !ok || name == "-":
		case option == "inline":
			p.fields(v.Field(i), n, depth)
		default:
			p.entry(name, v.Field(i), n.get(name), depth)
		}
	}
}

// entry writes one key with its value. What nobody set and what has no default is left out.
func (p *printer) entry(name string, v reflect.Value, n *node, depth int) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if n == nil && v.IsZero() {
		return
	}
	indent := strings.Repeat("  ", depth)
	key := indent + plainKey(name) + ":"
	if s, ok := text(v); ok {
		p.line(key+" "+s, n)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		p.line(key, nil)
		p.fields(v, n, depth+1)
	case reflect.Map:
		p.line(key, nil)
		for _, k := range keysOf(v) {
			p.entry(k, v.MapIndex(reflect.ValueOf(k)), n.get(k), depth+1)
		}
	case reflect.Slice:
		p.slice(key, v, n, depth)
	}
}

// slice writes plain values on one line, structs as one item each.
func (p *printer) slice(key string, v reflect.Value, n *node, depth int) {
	var items []string
	for i := range v.Len() {
		if s, ok := text(v.Index(i)); ok {
			items = append(items, s)
		}
	}
	if len(items) == v.Len() {
		p.line(key+" ["+strings.Join(items, ", ")+"]", n)
		return
	}
	p.line(key, nil)
	for i := range v.Len() {
		at := 2*depth + 2
		one := printer{}
		one.fields(v.Index(i), n.item(i), depth+2)
		if one.Len() == 0 {
			one.WriteString(strings.Repeat(" ", at+2) + "{}\n")
		}
		lines := one.String()
		p.WriteString(lines[:at] + "- " + lines[at+2:])
	}
}

func (p *printer) line(s string, n *node) {
	p.WriteString(s)
	if strings.HasSuffix(s, ":") {
		p.WriteByte('\n')
		return
	}
	origin := "default"
	if n != nil && !n.builtin {
		origin = clean(n.pos.File) + ":" + strconv.Itoa(n.pos.Line)
	}
	if pad := originColumn - len(s); pad > 0 {
		p.WriteString(strings.Repeat(" ", pad))
	}
	p.WriteString("  # " + origin + "\n")
}

// text returns a scalar as YAML, and false for what is none.
func text(v reflect.Value) (string, bool) {
	if s, ok := v.Interface().(value.String); ok {
		return quote(s.S), true
	}
	if v.CanAddr() {
		_, reads := v.Addr().Interface().(encoding.TextUnmarshaler)
		if s, ok := v.Interface().(fmt.Stringer); ok && reads {
			return quote(s.String()), true
		}
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return "", false
	case reflect.String:
		return quote(v.String()), true
	}
	return fmt.Sprint(v.Interface()), true
}

// quote returns a value so that YAML reads the same text again.
func quote(s string) string {
	special := func(c rune) bool {
		return c > '~' || c < ' ' || strings.ContainsRune("\"'#,[]{}&*!|>%@`?~", c)
	}
	if s == "" || s == "null" || s[0] == '-' || strings.TrimSpace(s) != s || strings.Contains(s+" ", ": ") ||
		strings.ContainsFunc(s, special) {
		return strconv.Quote(s)
	}
	return s
}

func plainKey(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || s == "" || s[0] == '-' {
		return strconv.Quote(s)
	}
	return s
}

func keysOf(m reflect.Value) []string {
	list := map[string]bool{}
	for _, k := range m.MapKeys() {
		list[k.String()] = true
	}
	return keys(list)
}
