package receiver

import (
	"bytes"
	"errors"
)

// A frame is one message in a stream: where it lies in the data it was found in, and what is wrong with it.
type frame struct {
	at, end int32
	flaw    flaw
}

// A flaw is why a message must never become an event.
type flaw uint8

const (
	whole flaw = iota
	cut        // longer than the limit, or unfinished at the end
	lied       // its count was wrong: where it ends, nobody knows
)

// A framer finds the messages in one connection's stream. A frame is octet-counted (RFC 6587, 3.4.1) if it begins with 1
// to 5 digits, a space and '<'; otherwise it ends before the next LF (3.4.2). The two may alternate. The zero framer with
// max set is at the start of a stream.
type framer struct {
	max     int  // longest message; the rest of a longer one is passed over
	skip    int  // bytes of a counted frame that are still to be passed over
	line    bool // everything up to and with the next LF is passed over
	lost    bool // because a count lied
	counted bool // the frame before was counted: what follows it tells whether its count was true
	doubt   bool // the next line may be the end of the counted frame before it
	passed  int  // bytes passed over since a count lied
	lies    int  // counts that turned out wrong only after their message had been handed on
}

// errLost ends a connection whose counts lie and that has no LF to find the way back by. To look for something like a count
// instead would let whoever chooses a user name choose frames.
var errLost = errors.New("frame count is wrong, and no line end follows")

// next finds the first frame in data. It returns how many bytes are done with, the frame (its place counted from data's
// beginning), and whether there is one; if not, the rest of data has to come again with more behind it. At the eof nothing
// comes any more, and what is unfinished is a frame. soon says that more bytes are at hand already, so waiting for them
// delays nothing.
func (f *framer) next(data []byte, eof, soon bool) (n int, fr frame, ok bool, err error) {
	pos := 0
	for {
		if f.skip > 0 {
			k := min(f.skip, len(data)-pos)
			f.skip -= k
			pos += k
		}
		if f.line {
			limit := len(data)
			if f.lost {
				limit = min(limit, max(pos, pos+f.max+1-f.passed))
			}
			k := bytes.IndexByte(data[pos:limit], '\n')
			if k < 0 {
				f.passed += limit - pos
				if f.lost && f.passed > f.max {
					return len(data), frame{}, false, errLost
				}
				return len(data), frame{}, false, nil
			}
			pos += k + 1
			f.line, f.lost, f.passed = false, false, 0
		}
		if pos == len(data) {
			return pos, frame{}, false, nil
		}
		if f.counted {
			switch follow(data[pos:]) {
			case unknown:
				if !eof {
					return pos, frame{}, false, nil
				}
			case doubted:
				f.lies++
				f.doubt = true
			case denied:
				f.lies++
				f.counted, f.line, f.lost = false, true, true
				continue
			}
			f.counted = false
		}
		if data[pos] != '\n' {
			break
		}
		pos++
	}

	size, head := count(data[pos:])
	switch {
	case head < 0 && !eof:
		return pos, frame{}, false, nil
	case size > 0:
		n, fr, ok = f.nextCounted(data, pos, pos+head, size, eof, soon)
		return n, fr, ok, nil
	case head > 0:
		pos += head // an empty frame is none, and '<' follows
	}
	rest := data[pos:]
	k := bytes.IndexByte(rest[:min(f.max+1, len(rest))], '\n')
	fr = frame{at: int32(pos)}
	switch {
	case k >= 0:
		n, fr.end = pos+k+1, int32(pos+k)
	case len(rest) > f.max:
		n, fr.end, fr.flaw = pos+f.max, int32(pos+f.max), cut
		f.line = true
	case eof:
		n, fr.end, fr.flaw = len(data), int32(len(data)), cut
	default:
		return pos, frame{}, false, nil
	}
	if f.doubt {
		fr.flaw, f.doubt = lied, false
	}
	return n, fr, true, nil
}

// nextCounted is next for a message of size bytes at at, whose count stands at from.
func (f *framer) nextCounted(data []byte, from, at, size int, eof, soon bool) (n int, fr frame, ok bool) {
	end := at + min(size, f.max)
	fr = frame{at: int32(at), end: int32(end)}
	switch {
	case end > len(data):
		if !eof {
			return from, frame{}, false
		}
		return len(data), frame{int32(at), int32(len(data)), cut}, true
	case size > f.max:
		fr.flaw, f.skip, f.counted = cut, size-f.max, true
		return end, fr, true
	}
	switch follow(data[end:]) {
	case unknown:
		if soon && !eof {
			return from, frame{}, false
		}
		f.counted = !eof
	case doubted:
		fr.flaw, f.doubt = lied, true
	case denied:
		fr.flaw = lied
		f.line, f.lost = true, true
	}
	return end, fr, true
}

// count reads the count of a frame: its value, and how many bytes it and its space take. These are 0 where the frame has no
// count, and -1 where that can't be told yet.
func count(b []byte) (size, head int) {
	i := 0
	for i < len(b) && i < 5 && b[i]-'0' <= 9 {
		size = size*10 + int(b[i]-'0')
		i++
	}
	switch {
	case i == len(b) && i > 0, i > 0 && i+1 == len(b) && b[i] == ' ':
		return 0, -1
	case i == 0 || b[i] != ' ' || b[i+1] != '<':
		return 0, 0
	}
	return size, i + 1
}

// What may follow a counted frame.
type verdict uint8

const (
	allowed verdict = iota
	unknown         // nothing yet, or not enough of it
	doubted         // a line that begins with digits: it may as well be the counted message's own last digits
	denied
)

// follow judges a count by what comes behind its frame. A count that is one short, as from a sender that counts characters,
// can cut the last digit off an address: that digit is then all that tells.
func follow(b []byte) verdict {
	switch {
	case len(b) == 0:
		return unknown
	case b[0] == '<' || b[0] == '\n':
		return allowed
	case b[0]-'0' > 9:
		return denied
	}
	switch _, head := count(b); {
	case head < 0:
		return unknown
	case head == 0:
		return doubted
	}
	return allowed
}
