package filter

import (
	"bytes"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Nearest returns, for a message that no filter recognises, the rule whose template reads the most of its text, and
// the byte of the text, from 0, at which that stops. It returns nil where no filter reads the program, or no template
// reads a byte.
func (s *Set) Nearest(m *event.Message) (near *event.Rule, at int) {
	t, _ := unwrap(m.Text)
	if len(t) == 0 {
		return nil, 0
	}
	for _, f := range s.programs.find(m.Program) {
		for _, c := range f.byFirst[t[0]] {
			if c.plain == nil {
				continue
			}
			if n := c.plain.reach(t); n > at {
				near, at = &c.Rule, n
			}
		}
	}
	return near, at + max(0, bytes.Index(m.Text, t))
}

// reach returns how far p reads t from the left, with free fields as short as they can be.
func (p *plain) reach(t []byte) int {
	at := 0
	parts := [][]piece{p.left}
	for i := range p.mid {
		parts = append(parts, p.mid[i].pieces)
	}
	if p.free != nil {
		parts = append(parts, p.right)
	}
	var ignored found
	for i, part := range parts {
		if i > 0 && len(part) > 0 {
			skip := bytes.Index(t[at:], []byte(part[0].lit))
			if skip < 0 {
				return at
			}
			at += skip
		}
		for j := range part {
			n, ok := forward(part[j:j+1], t, at, len(t), &ignored)
			if !ok {
				for k := 0; k < len(part[j].lit) && at < len(t) && t[at] == part[j].lit[k]; k++ {
					at++
				}
				return at
			}
			at = n
		}
	}
	return at
}
