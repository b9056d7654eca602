package header

import "github.com/rapsheet/rapsheet/pipeline/event"

// readIETF reads what stands behind PRI and version 1 in a message of RFC 5424, and reports whether it follows its
// grammar. Where only the stamp or an empty field breaks it, the fields are read all the same.
func readIETF(m *event.Message, s []byte) bool {
	m.Text = s
	word, rest, ok := cut(s)
	if !ok {
		return false
	}
	if len(word) != 1 || word[0] != '-' {
		t, n, zoned := iso(word)
		if ok = zoned && n == len(word); ok {
			m.Time = t
		}
	}
	return readFields(m, rest) && ok
}

// readFields reads HOSTNAME to MSG of RFC 5424, section 6. Where s is nothing of the kind it leaves m alone, but for an
// SD-ELEMENT that is broken: then the SD belongs to the text.
func readFields(m *event.Message, s []byte) bool {
	host, s, ok1 := cut(s)
	program, s, ok2 := cut(s)
	pid, s, ok3 := cut(s)
	id, s, ok4 := cut(s)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(s) == 0 {
		return false
	}
	if s[0] != '-' && s[0] != '[' {
		return false
	}
	m.Host, m.Program, m.PID, m.Text = nonNil(host), nonNil(program), nonNil(pid), s
	n := structured(s)
	if n == 0 || n < len(s) && s[n] != ' ' {
		return false
	}
	m.Text = message(s[n:])
	return len(host) > 0 && len(program) > 0 && len(pid) > 0 && len(id) > 0
}

// cut returns the word before the first space and what stands behind that space.
func cut(s []byte) (word, rest []byte, ok bool) {
	for i, c := range s {
		if c == ' ' {
			return s[:i:i], s[i+1:], true
		}
	}
	return nil, nil, false
}

// nonNil returns nothing for RFC 5424's NILVALUE.
func nonNil(word []byte) []byte {
	if len(word) == 1 && word[0] == '-' || len(word) == 0 {
		return nil
	}
	return word
}

// structured returns the length of the STRUCTURED-DATA at the start of s, 0 where it is broken.
func structured(s []byte) int {
	if s[0] == '-' {
		return 1
	}
	i := 0
	for i < len(s) && s[i] == '[' {
		n := element(s[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}

// element returns the length of an SD-ELEMENT, [id name="value" ...], 0 where it is broken. In a value a backslash
// escapes " \ and ], before anything else it stands for itself (RFC 5424, 6.3.3): either way the next byte is no end.
func element(s []byte) int {
	i := 1
	for i < len(s) && s[i] > ' ' && s[i] != ']' && s[i] != '"' && s[i] != '=' {
		i++
	}
	if i == 1 {
		return 0
	}
	for i < len(s) && s[i] == ' ' {
		i++
		at := i
		for i < len(s) && s[i] > ' ' && s[i] != ']' && s[i] != '"' && s[i] != '=' {
			i++
		}
		if i == at || i+1 >= len(s) || s[i] != '=' || s[i+1] != '"' {
			return 0
		}
		for i += 2; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
		}
		i++ // the closing quote
	}
	if i >= len(s) || s[i] != ']' {
		return 0
	}
	return i + 1
}

// message returns MSG without what stands before its text: the separating space, a BOM, and the one space that rsyslog
// leaves in front of %msg%.
func message(s []byte) []byte {
	s = skip(s)
	const bom = "\xef\xbb\xbf"
	if len(s) >= len(bom) && string(s[:len(bom)]) == bom {
		return skip(s[len(bom):])
	}
	s = skip(s)
	if len(s) >= len(bom) && string(s[:len(bom)]) == bom {
		return s[len(bom):]
	}
	return s
}

// skip drops one space.
func skip(s []byte) []byte {
	if len(s) > 0 && s[0] == ' ' {
		return s[1:]
	}
	return s
}
