package configs

import (
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
)

// A node is one value of a configuration file. Nodes of several files are merged into one tree, and each still knows
// where it was written.
type node struct {
	kind    kind
	pos     value.Pos // of the first character; of a quoted scalar, the quote
	builtin bool      // from the files inside the binary: its values are defaults, and have no place
	text    string    // of a scalar, as written but for quotes and escapes
	quoted  bool      // so that "off" in quotes is a name, not a switch
	list    []*node
	fields  []field // of a map, in the order of the file
}

type field struct {
	key  string
	pos  value.Pos // of the key
	node *node
}

type kind uint8

const (
	null kind = iota // nothing behind the colon: as if the key were not there
	scalar
	list
	mapping
)

var kindNames = [...]string{"nothing", "a single value", "a list", "a map"}

func (k kind) String() string { return kindNames[k] }

// get returns the value of a key of a map, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].node
		}
	}
	return nil
}

// place is what values remember: where the node stands, or the zero Pos if it is a default.
func (n *node) place() value.Pos {
	if n.builtin {
		return value.Pos{}
	}
	return n.pos
}

// off reports whether the node is the switch that takes away a map: jails: {mail: off}.
func (n *node) off() bool {
	return n.kind == scalar && !n.quoted && (strings.EqualFold(n.text, "off") || strings.EqualFold(n.text, "false"))
}

// merge lays over onto base and returns the result: maps merge by key, everything else replaces. Neither is changed.
func merge(base, over *node) *node {
	switch {
	case base == nil || base.kind == null && over != nil:
		return over
	case over == nil || over.kind == null:
		return base
	case base.kind != mapping || over.kind != mapping:
		return over
	}
	m := *over
	m.fields = append([]field(nil), base.fields...)
	for _, f := range over.fields {
		m.set(f)
	}
	return &m
}

func (n *node) set(f field) {
	for i := range n.fields {
		if n.fields[i].key == f.key {
			n.fields[i].node = merge(n.fields[i].node, f.node)
			if f.node.kind != null {
				n.fields[i].pos = f.pos
			}
			return
		}
	}
	n.fields = append(n.fields, f)
}

// keys returns the keys of a map.
func (n *node) keys() []string {
	if n == nil {
		return nil
	}
	list := make([]string, len(n.fields))
	for i := range n.fields {
		list[i] = n.fields[i].key
	}
	return list
}

// item returns an entry of a list; a single value is a list of one.
func (n *node) item(i int) *node {
	if n == nil || n.kind != list {
		return n
	}
	if i < len(n.list) {
		return n.list[i]
	}
	return nil
}
