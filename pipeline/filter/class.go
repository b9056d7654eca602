package filter

import (
	"slices"
	"strings"
)

// A class says which bytes a field may hold.
type class uint8

const (
	literal  class = iota // no field
	addr                  // an address, or the host name in its place
	addrport              // an address, a colon and a port: 192.0.2.1:22, 2001:db8::1:22, [2001:db8::1]:22
	host                  // a host name or an address that is not the offender's
	helo                  // what a mail client called itself
	port                  // 1 to 5 digits
	number                // digits
	attempts              // digits: how many attempts the line reports
	word                  // anything without a space
	id                    // a queue, connection or session id
	user                  // free: the name that somebody tried to log in with
	text                  // free: anything
	classes
)

var classNames = [classes]string{"", "addr", "addrport", "host", "helo", "port", "int", "attempts", "word", "id", "user", "text"}

// The longest run a bound field may be; a longer one is no match. Host names end at 255 bytes (RFC 1035, 2.3.4). The
// limits keep the time for a middle part, which is tried at every place where its literal stands, linear.
var longest = [classes]int{addr: 255, addrport: 263, host: 255, helo: 255, port: 5, number: 20, attempts: 20, word: 255, id: 255}

// holds has bit c set for every byte of class c.
var holds = func() (t [256]uint16) {
	for b := range 256 {
		c := byte(b)
		digit := '0' <= c && c <= '9'
		alnum := digit || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		in := func(s string) bool { return strings.IndexByte(s, c) >= 0 }
		set := func(k class, ok bool) {
			if ok {
				t[b] |= 1 << k
			}
		}
		set(addr, alnum || in(".:%_-"))
		set(host, alnum || in(".:%_-"))
		set(addrport, alnum || in(".:%_-[]"))
		set(helo, c > ' ' && c < 0x7f && !in(`<>()"',;\`))
		set(port, digit)
		set(number, digit)
		set(attempts, digit)
		set(word, c > ' ' && c != 0x7f)
		set(id, alnum || in("+/_-"))
	}
	return t
}()

func (c class) free() bool      { return c == user || c == text }
func (c class) has(b byte) bool { return holds[b]&(1<<c) != 0 }
func (c class) String() string  { return "<" + classNames[c] + ">" }
func classOf(name string) class { return class(max(0, slices.Index(classNames[:], name))) }

// head returns the length of the run of c that t begins with, and 0 where there is none or it is too long.
func (c class) head(t []byte) int {
	n, most := 0, longest[c]
	for n < len(t) && holds[t[n]]&(1<<c) != 0 {
		if n++; n > most {
			return 0
		}
	}
	return n
}

// tail is head from the right end.
func (c class) tail(t []byte) int {
	n, most := 0, longest[c]
	for n < len(t) && holds[t[len(t)-1-n]]&(1<<c) != 0 {
		if n++; n > most {
			return 0
		}
	}
	return n
}
