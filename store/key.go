package store

import (
	"net/netip"
)

// Keys order as (table, family, address, bits, rest), so that everything of one offender lies together, and everything
// inside a prefix is one range:
//
//	table   1 byte
//	family  1 byte, 4 or 6
//	address 4 or 16 bytes
//	bits    1 byte
//	jail    1 byte of length and the name; not in the log
//	rest    evidence: 1 byte slot; log: 8 bytes Seq, big endian
const (
	tableRecord   = 'r' // history: a record of package score
	tableEvidence = 'e' // history
	tableBan      = 'b' // bans: the running ones
	tableLog      = 'l' // bans: every state that a ban ever had
	tableNote     = 'n' // bans: a name
	tableAudit    = 'a' // bans: Unix nanoseconds, big endian, and a counter
)

var (
	keyVersion = []byte("!version") // both databases: one byte
	keySeq     = []byte("!seq")     // bans: the highest Seq, big endian
)

// maxJail bounds what of a jail's name fits into a key; configs allows 14 bytes.
const maxJail = 63

// maxKey is the longest key of the tables by prefix.
const maxKey = 1 + 1 + 16 + 1 + 1 + maxJail + 8

// afterRest sorts behind whatever may follow the bits of a key.
const afterRest = 0xff

// appendPrefix appends the part of a key that names an offender.
func appendPrefix(b []byte, table byte, p netip.Prefix) []byte {
	p = p.Masked()
	if a := p.Addr(); a.Is4() {
		v := a.As4()
		b = append(append(b, table, 4), v[:]...)
	} else {
		v := a.As16()
		b = append(append(b, table, 6), v[:]...)
	}
	return append(b, byte(p.Bits()))
}

// appendJail appends the part of a key that names a jail.
func appendJail(b []byte, jail string) []byte {
	return append(append(b, byte(len(jail))), jail...)
}

func appendKey(b []byte, table byte, jail string, p netip.Prefix) []byte {
	return appendJail(appendPrefix(b, table, p), jail)
}

// keyable reports whether the offender and the jail make a key.
func keyable(jail string, p netip.Prefix) bool { return p.IsValid() && len(jail) <= maxJail }

// splitPrefix reads the offender off a key, and returns what follows.
func splitPrefix(key []byte) (p netip.Prefix, rest []byte, ok bool) {
	if len(key) < 2 {
		return p, nil, false
	}
	n := 4
	if key[1] == 6 {
		n = 16
	} else if key[1] != 4 {
		return p, nil, false
	}
	if len(key) < 2+n+1 {
		return p, nil, false
	}
	a, _ := netip.AddrFromSlice(key[2 : 2+n])
	p = netip.PrefixFrom(a, int(key[2+n]))
	return p, key[2+n+1:], p.IsValid() && p == p.Masked()
}

// splitJail reads a jail's name off the rest of a key, and returns what follows.
func splitJail(rest []byte) (jail string, tail []byte, ok bool) {
	if len(rest) < 1 || len(rest) < 1+int(rest[0]) {
		return "", nil, false
	}
	n := 1 + int(rest[0])
	return string(rest[1:n]), rest[n:], true
}
