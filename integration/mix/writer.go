package mix

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"
)

// writer appends lines. Its random numbers are drawn in order of the lines, whatever the format: the same seed gives
// the same events in both.
type writer struct {
	format Format
	rand   *rand.Rand
	zipf   *rand.Zipf
	pid    int
}

func (w *writer) line(b []byte, k *kind, at time.Time) []byte {
	if w.pid += 1 + w.rand.IntN(3); w.pid > 4194000 { // pid_max of 64-bit kernels is 4194304
		w.pid = 20000
	}
	b = append(b, '<')
	b = strconv.AppendUint(b, uint64(k.pri), 10)
	if w.format == RFC5424 {
		b = append(b, ">1 "...)
		b = at.AppendFormat(b, "2006-01-02T15:04:05.000000-07:00 srv ")
		b = append(b, k.program...)
		if k.pid {
			b = append(b, ' ')
			b = strconv.AppendInt(b, int64(w.pid), 10)
		} else {
			b = append(b, " -"...)
		}
		b = append(b, " - -  "...)
	} else {
		b = append(b, '>')
		b = at.AppendFormat(b, "Jan _2 15:04:05 srv ")
		b = append(b, k.program...)
		if k.pid {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(w.pid), 10)
			b = append(b, ']')
		}
		b = append(b, ": "...)
	}
	for i := 0; i < len(k.text); i += 2 {
		b = append(b, k.text[i]...)
		b = w.fill(b, k.text[i+1])
	}
	return b
}

// fill appends what a name in a kind's text stands for.
func (w *writer) fill(b []byte, name string) []byte {
	switch name {
	case "user":
		return append(b, users[w.rand.IntN(len(users))]...)
	case "account":
		return append(b, accounts[w.rand.IntN(len(accounts))]...)
	case "addr":
		return Address(int(w.zipf.Uint64())).AppendTo(b)
	case "client":
		return Client(w.rand.IntN(Clients)).AppendTo(b)
	case "port":
		return strconv.AppendInt(b, int64(1024+w.rand.IntN(64000)), 10)
	case "pid":
		return strconv.AppendInt(b, int64(w.pid), 10)
	case "n":
		return strconv.AppendInt(b, int64(1+w.rand.IntN(99999)), 10)
	case "hex":
		return strconv.AppendUint(b, w.rand.Uint64()|1<<60, 16)
	}
	return b
}

// Address returns the i-th offender, the most active first. All lie in public space that no registry sets apart
// (64.0.0.0/3, and 2001:db8::/32 each in a /64 of its own), so that no allow list drops them; no two are the same below
// 2^29.
func Address(i int) netip.Addr {
	x := uint32(i)
	if i%20 == 19 {
		net := x * scatter
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(net >> 24), byte(net >> 16), byte(net >> 8), byte(net), 15: 0x66})
	}
	return v4(64<<24 | x*scatter&(1<<29-1))
}

// Clients is how many addresses do nothing wrong.
const Clients = 5000

// Client returns the i-th address that logs in, sends mail, or knocks at closed ports: in 32.0.0.0/4, none of them an
// offender.
func Client(i int) netip.Addr { return v4(32<<24 | uint32(i)*scatter&(1<<28-1)) }

// scatter is odd, so multiplying by it maps no two numbers below a power of two to one: Knuth's, 2^32 by the golden
// ratio.
const scatter = 2654435761

func v4(x uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
}
