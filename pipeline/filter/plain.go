package filter

import "bytes"

// A plain is a template without optional parts and choices, cut at its free fields. The left part is read from the
// left, the right part from the right end, the middle ones between them.
type plain struct {
	left, right []piece
	mid         []middle
	free        []piece // between the parts: len(mid)+1 of them, or none
	shortest    int     // no shorter text matches
	open        bool    // ends in a free field
	prefix      string  // what the text must begin with,
	suffix      string  // and end with
}

type middle struct {
	first  []byte // the literal it begins with
	pieces []piece
	sure   bool // holds an address, a count or an id: its place must be the only one
}

// A span is a part of the text. The zero span is none.
type span struct{ from, to int }

// found is what a match bound.
type found struct {
	addr, user, id, attempts span
	ambiguous                bool // addr could be another one
	tries                    int  // places that middle parts were tried at, for tests
}

func (f *found) of(t []byte, s span) []byte { return t[s.from:s.to:s.to] }

func newPlain(t []piece) *plain {
	p := &plain{}
	part := &p.left
	named := false
	for _, x := range t {
		p.shortest += max(len(x.lit), 1)
		if x.class.free() {
			p.shortest--
			p.free = append(p.free, x)
			p.mid = append(p.mid, middle{})
			part = &p.mid[len(p.mid)-1].pieces
			continue
		}
		if x.class == id {
			x.again, named = named, true
		}
		*part = append(*part, x)
		if n := len(p.mid); n > 0 && (x.class == addr || x.class == addrport || x.class == attempts || x.class == id) {
			p.mid[n-1].sure = true
		}
	}
	for i := range p.mid {
		if m := &p.mid[i]; len(m.pieces) > 0 {
			m.first = []byte(m.pieces[0].lit)
		}
	}
	if n := len(p.mid); n > 0 { // the last one is the right part
		p.right, p.mid = p.mid[n-1].pieces, p.mid[:n-1]
	}
	p.open = t[len(t)-1].class.free()
	if len(p.left) > 0 {
		p.prefix = p.left[0].lit
	}
	end := p.right
	if p.free == nil {
		end = p.left
	}
	if len(end) > 0 {
		p.suffix = end[len(end)-1].lit
	}
	return p
}

// match binds f and reports whether the whole of t is one that the template describes. f must be zero.
func (p *plain) match(t []byte, f *found) bool {
	if len(t) < p.shortest || string(t[:len(p.prefix)]) != p.prefix || string(t[len(t)-len(p.suffix):]) != p.suffix {
		return false
	}
	from, ok := forward(p.left, t, 0, len(t), f)
	if !ok || p.free == nil {
		return ok && from == len(t)
	}
	to, ok := backward(p.right, t, from, f)
	if !ok {
		return false
	}
	if len(p.mid) == 0 {
		f.bind(&p.free[0], t, from, to)
		return true
	}
	return p.middles(t, from, to, f)
}

func (p *plain) middles(t []byte, from, to int, f *found) bool {
	sure := false
	start := from
	var first [maxMiddles]int
	for i := range p.mid {
		at, end := p.mid[i].leftmost(t, from, to, f)
		if at < 0 {
			return false
		}
		f.bind(&p.free[i], t, from, at)
		first[i], from = at, end
		sure = sure || p.mid[i].sure
	}
	f.bind(&p.free[len(p.mid)], t, from, to)
	if !sure {
		return true
	}
	var other found
	for i := len(p.mid) - 1; i >= 0; i-- {
		at := p.mid[i].rightmost(t, start, to, &other)
		if p.mid[i].sure && at != first[i] {
			f.ambiguous = true
			break
		}
		to = at
	}
	f.tries += other.tries
	return true
}

// maxMiddles is how many middle parts a template may have.
const maxMiddles = 8

// leftmost returns where in t[from:to] the part stands first, and where it ends there; -1 if nowhere.
func (m *middle) leftmost(t []byte, from, to int, f *found) (at, end int) {
	for {
		i := bytes.Index(t[from:to], m.first)
		if i < 0 {
			return -1, -1
		}
		f.tries++
		at = from + i
		if end, ok := forward(m.pieces[1:], t, at+len(m.first), to, f); ok {
			return at, end
		}
		from = at + 1
	}
}

// rightmost returns where in t[from:to] the part stands last; from-1 if nowhere, which leftmost has ruled out.
func (m *middle) rightmost(t []byte, from, to int, f *found) int {
	for end := to; ; {
		i := bytes.LastIndex(t[from:end], m.first)
		if i < 0 {
			return from - 1
		}
		f.tries++
		if _, ok := forward(m.pieces[1:], t, from+i+len(m.first), to, f); ok {
			return from + i
		}
		end = from + i + len(m.first) - 1
	}
}

// forward reads pieces from t[from:to] and returns where they end.
func forward(pieces []piece, t []byte, from, to int, f *found) (int, bool) {
	for i := range pieces {
		p := &pieces[i]
		n := len(p.lit)
		if p.class == literal {
			if to-from < n || string(t[from:from+n]) != p.lit {
				return 0, false
			}
		} else if n = p.class.head(t[from:to]); n == 0 || !f.bind(p, t, from, from+n) {
			return 0, false
		}
		from += n
	}
	return from, true
}

// backward reads pieces from the right end of t, not beyond from, and returns where they begin.
func backward(pieces []piece, t []byte, from int, f *found) (int, bool) {
	to := len(t)
	for i := len(pieces) - 1; i >= 0; i-- {
		p := &pieces[i]
		n := len(p.lit)
		if p.class == literal {
			if to-from < n || string(t[to-n:to]) != p.lit {
				return 0, false
			}
		} else if n = p.class.tail(t[from:to]); n == 0 || !f.bind(p, t, to-n, to) {
			return 0, false
		}
		to -= n
	}
	return to, true
}

// bind notes what field p holds. It reports false for an addrport without a port.
func (f *found) bind(p *piece, t []byte, from, to int) bool {
	switch p.class {
	case user:
		f.user = span{from, to}
	case id:
		if !p.again {
			f.id = span{from, to}
		}
	case attempts:
		f.attempts = span{from, to}
	case addrport:
		i := bytes.LastIndexByte(t[from:to], ':')
		if n := to - from - i - 1; i < 1 || n == 0 || port.head(t[to-n:to]) != n {
			return false
		}
		if to = from + i; to-from > 2 && t[from] == '[' && t[to-1] == ']' {
			from, to = from+1, to-1
		}
		f.addr = span{from, to}
	case addr:
		f.addr = span{from, to}
	}
	return true
}
