package configs

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// rejoin mends what the lexer cuts: in a flow list inside a flow map it takes the colon of a plain scalar for a key's,
// so that {senders: [2001:db8::1]} would be a map of 2001. In YAML (7.3.3) a colon with no space behind it is part of
// the scalar.
func rejoin(tokens token.Tokens) token.Tokens {
	var out token.Tokens
	var open []token.Type // flow lists and maps around the token
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, t.Type)
		case token.SequenceEndType, token.MappingEndType:
			open = open[:max(len(open)-1, 0)]
		case token.MappingValueType:
			if len(open) == 0 || open[len(open)-1] != token.SequenceStartType || i+1 == len(tokens) || len(out) == 0 {
				break
			}
			next, last := tokens[i+1], out[len(out)-1]
			if !plainScalar(next) || !touches(t, next) {
				break
			}
			switch {
			case plainScalar(last) && touches(last, t):
				out[len(out)-1] = joined(last, t, next)
				i++
				continue
			case last.Type == token.SequenceStartType || last.Type == token.CollectEntryType:
				t = joined(t, next)
				i++
			}
		}
		out = append(out, t)
	}
	for i, t := range out {
		t.Prev, t.Next = nil, nil
		if i > 0 {
			t.Prev, out[i-1].Next = out[i-1], t
		}
	}
	return out
}

func plainScalar(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType,
		token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType:
		return true
	}
	return false
}

// touches reports whether b begins where a ends.
func touches(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

func joined(parts ...*token.Token) *token.Token {
	t := *parts[0]
	t.Type, t.CharacterType, t.Indicator = token.StringType, token.CharacterTypeMiscellaneous, token.NotIndicator
	for _, p := range parts[1:] {
		t.Value += p.Value
		t.Origin += p.Origin
	}
	return &t
}
