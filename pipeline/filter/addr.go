package filter

import "net/netip"

// parseAddr reads what netip.ParseAddr reads, without its allocations: a zone is dropped, IPv4 in IPv6 unmapped.
// Anything else, and be it an address with a byte too many, is none.
func parseAddr(b []byte) (netip.Addr, bool) {
	if len(b) < 2 || len(b) > 255 || holds[b[0]]&(1<<addr) == 0 {
		return netip.Addr{}, false
	}
	for i, c := range b {
		switch c {
		case '.':
			a, ok := parse4(b)
			return netip.AddrFrom4(a), ok
		case ':':
			return parse6(b)
		}
		if i >= 4 {
			break
		}
	}
	return netip.Addr{}, false
}

// parse4 reads four decimal numbers below 256 without leading zeros.
func parse4(b []byte) (a [4]byte, ok bool) {
	if len(b) < 7 || len(b) > 15 {
		return a, false
	}
	part, value, digits := 0, 0, 0
	for _, c := range b {
		if c == '.' {
			if digits == 0 || part == 3 {
				return a, false
			}
			a[part] = byte(value)
			part, value, digits = part+1, 0, 0
			continue
		}
		if c < '0' || c > '9' || digits > 0 && value == 0 {
			return a, false
		}
		if value = value*10 + int(c-'0'); value > 255 {
			return a, false
		}
		digits++
	}
	a[3] = byte(value)
	return a, part == 3 && digits > 0
}

// parse6 reads RFC 4291's forms: eight groups, one :: for groups of zeros, an IPv4 tail, and a zone behind %.
func parse6(b []byte) (netip.Addr, bool) {
	for i, c := range b {
		if c == '%' {
			if i == len(b)-1 {
				return netip.Addr{}, false
			}
			b = b[:i]
			break
		}
	}
	var a [16]byte
	gap, n := -1, 0 // where :: stands, bytes filled
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		if gap, b = 0, b[2:]; len(b) == 0 {
			return netip.AddrFrom16(a), true
		}
	}
	for n < 16 {
		value, digits := 0, 0
		for digits < len(b) && hex(b[digits]) >= 0 {
			if value = value<<4 | hex(b[digits]); value > 0xffff || digits == 4 {
				return netip.Addr{}, false
			}
			digits++
		}
		if digits == 0 {
			return netip.Addr{}, false
		}
		if digits < len(b) && b[digits] == '.' {
			four, ok := parse4(b)
			if !ok || n > 12 || n < 12 && gap < 0 {
				return netip.Addr{}, false
			}
			n += copy(a[n:], four[:])
			b = nil
			break
		}
		a[n], a[n+1] = byte(value>>8), byte(value)
		n += 2
		if b = b[digits:]; len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return netip.Addr{}, false
		}
		if b = b[1:]; b[0] == ':' {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			if gap, b = n, b[1:]; len(b) == 0 {
				break
			}
		}
	}
	if len(b) != 0 || n < 16 && gap < 0 || n == 16 && gap >= 0 {
		return netip.Addr{}, false
	}
	if gap >= 0 {
		moved := 16 - n
		copy(a[gap+moved:], a[gap:n])
		clear(a[gap : gap+moved])
	}
	return netip.AddrFrom16(a).Unmap(), true
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
