package configs

import (
	"errors"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/rapsheet/rapsheet/configs/value"
)

// Bounds on one file. An alias repeats all below its anchor, so that a file of a few lines could unfold to a million
// nodes: unfolded nodes count.
const (
	maxFile  = 4 << 20 // bytes
	maxNodes = 500_000
	maxDepth = 64
)

// parse reads one file into a tree. What cannot be read is reported and left out; the tree is nil if nothing is left.
// The parser stops at its first error of syntax; duplicate keys and everything after that are found all at once.
func parse(file string, src []byte, builtin bool, errs *value.Errors) (root *node) {
	if len(src) > maxFile {
		errs.Add(value.Pos{File: file}, "", "file is larger than %d bytes", maxFile)
		return nil
	}
	defer func() { // the parser is large and its input is anything
		if r := recover(); r != nil {
			errs.Add(value.Pos{File: file}, "", "not readable as YAML: %v", r)
			root = nil
		}
	}()
	f, err := parser.Parse(rejoin(lexer.Tokenize(string(src))), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at := value.Pos{File: file}
		msg := err.Error()
		var y yaml.Error
		if errors.As(err, &y) {
			msg = y.GetMessage()
			at = position(file, y.GetToken())
		}
		errs.Add(at, "", "%s", msg)
		return nil
	}
	p := reader{file: file, builtin: builtin, errs: errs, anchors: map[string]ast.Node{}}
	for _, d := range f.Docs {
		if d.Body == nil || d.Body.Type() == ast.DirectiveType {
			continue
		}
		n := p.node(d.Body, 0)
		if n.kind == null {
			continue
		}
		if root != nil {
			errs.Add(n.pos, "put it in a file of its own", "second document in one file")
			break
		}
		root = n
	}
	return root
}

func position(file string, t *token.Token) value.Pos {
	if t == nil || t.Position == nil {
		return value.Pos{File: file}
	}
	return value.Pos{File: file, Line: max(t.Position.Line, 1), Column: max(t.Position.Column, 1)}
}

// A reader turns one file's syntax tree into nodes.
type reader struct {
	file    string
	builtin bool
	errs    *value.Errors
	anchors map[string]ast.Node
	open    []string // aliases being unfolded
	count   int
	full    bool // maxNodes reached and reported
}

func (p *reader) node(n ast.Node, depth int) *node {
	if n == nil {
		return &node{builtin: p.builtin, pos: value.Pos{File: p.file}}
	}
	out := &node{builtin: p.builtin, pos: position(p.file, n.GetToken())}
	if p.count++; p.count > maxNodes || depth > maxDepth {
		if !p.full {
			p.errs.Add(out.pos, "", "too much nested or repeated by aliases")
		}
		p.full = true
		return out
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		p.mapping(out, n.Values, depth)
	case *ast.MappingValueNode:
		p.mapping(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = list
		out.list = make([]*node, 0, len(n.Values))
		for _, v := range n.Values {
			out.list = append(out.list, p.node(v, depth+1))
		}
	case *ast.TagNode:
		return p.node(n.Value, depth+1)
	case *ast.AnchorNode:
		p.anchors[n.Name.GetToken().Value] = n.Value
		return p.node(n.Value, depth+1)
	case *ast.AliasNode:
		return p.alias(n, depth)
	case *ast.LiteralNode:
		out.kind, out.text, out.quoted = scalar, n.Value.Value, true
	case *ast.StringNode:
		out.kind, out.text = scalar, n.Value
		out.quoted = n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType
	default: // numbers, booleans: the decoder wants what was written
		out.kind, out.text = scalar, n.GetToken().Value
	}
	return out
}

func (p *reader) alias(n *ast.AliasNode, depth int) *node {
	name := n.Value.GetToken().Value
	at := position(p.file, n.GetToken())
	target, ok := p.anchors[name]
	if !ok {
		p.errs.Add(at, "", "no anchor &%s above", name)
		return &node{builtin: p.builtin, pos: at}
	}
	for _, o := range p.open {
		if o == name {
			p.errs.Add(at, "", "anchor &%s holds itself", name)
			return &node{builtin: p.builtin, pos: at}
		}
	}
	p.open = append(p.open, name)
	out := p.node(target, depth+1)
	p.open = p.open[:len(p.open)-1]
	return out
}

// mapping fills out with entries. A key that is written twice is a mistake; one that comes by << stands behind those
// that are written.
func (p *reader) mapping(out *node, entries []*ast.MappingValueNode, depth int) {
	out.kind = mapping
	out.fields = make([]field, 0, len(entries))
	first := map[string]value.Pos{}
	var merged []*node
	for i, e := range entries {
		at := position(p.file, e.Key.GetToken())
		if i == 0 && out.pos.Line == at.Line && out.pos.Column > at.Column { // a block's token is its first colon
			out.pos = at
		}
		if e.Key.IsMergeKey() {
			merged = append(merged, p.node(e.Value, depth+1))
			continue
		}
		key := p.node(keyOf(e.Key), depth+1)
		if key.kind != scalar {
			p.errs.Add(at, "", "a key must be a single value, not %s", key.kind)
			continue
		}
		if was, ok := first[key.text]; ok {
			p.errs.Add(at, "", "key %s stands already on line %d", key.text, was.Line)
			continue
		}
		first[key.text] = at
		out.fields = append(out.fields, field{key.text, at, p.node(e.Value, depth+1)})
	}
	for _, m := range merged {
		p.mergeKey(out, m)
	}
}

// keyOf unwraps the explicit form "? key".
func keyOf(k ast.MapKeyNode) ast.Node {
	if m, ok := k.(*ast.MappingKeyNode); ok {
		return m.Value
	}
	return k
}

func (p *reader) mergeKey(out, from *node) {
	switch from.kind {
	case mapping:
		for _, f := range from.fields {
			if out.get(f.key) == nil {
				out.fields = append(out.fields, f)
			}
		}
	case list:
		for _, l := range from.list {
			p.mergeKey(out, l)
		}
	default:
		p.errs.Add(from.pos, "", "<< wants a map, not %s", from.kind)
	}
}
