package configs

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
)

// A decoder fills Go values from nodes and goes on after every mistake. It knows structs by their yaml tags
// (`yaml:"name"`, `yaml:",inline"`; fields without a tag are not for files), maps with string keys, slices, pointers,
// whatever reads itself from text, and the basic kinds. A single value stands for a list of one.
type decoder struct {
	errs value.Errors // mistakes that keep the daemon from starting
	soft value.Errors // mistakes that cost one jail
	warn value.Errors
}

// A nodeDecoder decodes itself, because its forms in the file are more than its Go type says.
type nodeDecoder interface {
	decodeNode(d *decoder, n *node, what string)
}

// A positioned value is told where it was read, and the zero Pos for a built-in default.
type positioned interface{ SetPos(value.Pos) }

// decode fills v, which must be settable, from n. What is the key it stands behind, for messages.
func (d *decoder) decode(n *node, v reflect.Value, what string) {
	if n == nil || n.kind == null {
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, v.Elem(), what)
		return
	}
	self := v.Addr().Interface()
	if own, ok := self.(nodeDecoder); ok {
		own.decodeNode(d, n, what)
		return
	}
	if t, ok := self.(encoding.TextUnmarshaler); ok {
		if d.wants(n, scalar, what) {
			if err := t.UnmarshalText([]byte(n.text)); err != nil {
				d.errs.Add(n.pos, "", "%s: %v", what, err)
			}
		}
		setPos(self, n)
		return
	}
	setPos(self, n)
	switch v.Kind() {
	case reflect.Struct:
		if d.wants(n, mapping, what) {
			d.fields(n, v, what)
		}
	case reflect.Map:
		if d.wants(n, mapping, what) {
			d.entries(n, v)
		}
	case reflect.Slice:
		d.list(n, v, what)
	default:
		d.basic(n, v, what)
	}
}

func setPos(v any, n *node) {
	if p, ok := v.(positioned); ok {
		p.SetPos(n.place())
	}
}

func (d *decoder) wants(n *node, k kind, what string) bool {
	if n.kind == k {
		return true
	}
	d.errs.Add(n.pos, "", "%s wants %s, not %s", what, k, n.kind)
	return false
}

// fields decodes a map into a struct.
func (d *decoder) fields(n *node, v reflect.Value, what string) {
	known := map[string]reflect.Value{}
	collect(v, known)
	for i := range n.fields {
		f := &n.fields[i]
		target, ok := known[f.key]
		if !ok {
			d.errs.Add(f.pos, suggest(f.key, keys(known)), "unknown key %s", plain(f.key))
			continue
		}
		d.decode(f.node, target, f.key)
	}
}

// collect finds the fields of a struct and of what is inlined into it, by their names in files.
func collect(v reflect.Value, known map[string]reflect.Value) {
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("yaml")
		name, option, _ := strings.Cut(tag, ",")
		switch {
		case !ok || name == "-":
		case option == "inline":
			collect(v.Field(i), known)
		default:
			known[name] = v.Field(i)
		}
	}
}

func (d *decoder) entries(n *node, v reflect.Value) {
	m := reflect.MakeMapWithSize(v.Type(), len(n.fields))
	for i := range n.fields {
		f := &n.fields[i]
		e := reflect.New(v.Type().Elem()).Elem()
		d.decode(f.node, e, plain(f.key))
		m.SetMapIndex(reflect.ValueOf(f.key).Convert(v.Type().Key()), e)
	}
	v.Set(m)
}

func (d *decoder) list(n *node, v reflect.Value, what string) {
	items := n.list
	if n.kind != list {
		items = []*node{n}
	}
	s := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if item.kind == null {
			d.errs.Add(item.pos, "", "%s has an empty entry", what)
		}
		d.decode(item, s.Index(i), what)
	}
	v.Set(s)
}

func (d *decoder) basic(n *node, v reflect.Value, what string) {
	if !d.wants(n, scalar, what) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.text)
		return
	case reflect.Bool:
		if n.text == "true" || n.text == "false" {
			v.SetBool(n.text == "true")
			return
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if x, err := strconv.ParseInt(n.text, 10, v.Type().Bits()); err == nil {
			v.SetInt(x)
			return
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if x, err := strconv.ParseUint(n.text, 10, v.Type().Bits()); err == nil {
			v.SetUint(x)
			return
		}
	case reflect.Float32, reflect.Float64:
		if x, err := strconv.ParseFloat(n.text, 64); err == nil {
			v.SetFloat(x)
			return
		}
	}
	d.errs.Add(n.pos, "", "%s: %q is no %s", what, n.text, v.Kind())
}
