package value

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Prefix is an address or a network: 192.0.2.1, 2001:db8::/32. An address is a prefix of its full length.
type Prefix struct {
	netip.Prefix
	Pos
}

// UnmarshalText reads an address or a network whose host bits are zero.
func (p *Prefix) UnmarshalText(b []byte) error {
	v, err := ParsePrefix(string(b))
	p.Prefix = v
	return err
}

// String returns a network, or an address without its length.
func (p Prefix) String() string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Prefix.String()
}

// ParsePrefix reads an address or a network. IPv4-mapped IPv6 becomes IPv4; zones and host bits are refused.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no address and no network", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network", s)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is wider than all of IPv4", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%q has host bits: %s is the network, %s the address", s, m, p.Addr())
	}
	return p, nil
}

// Ports is a port, or a group of ports, by number or name: 22, ssh, mail.
type Ports struct {
	List []uint16
	Name string
	Pos
}

// The names that jails use, and what each stands for. From the IANA registry, fixed here: a container has no
// /etc/services.
var portNames = map[string][]uint16{
	"ssh": {22}, "http": {80}, "https": {443}, "smtp": {25}, "submission": {587}, "smtps": {465}, "submissions": {465},
	"pop3": {110}, "pop3s": {995}, "imap": {143}, "imap2": {143}, "imaps": {993}, "sieve": {4190},
	"ftp": {21}, "ftp-data": {20}, "ftps": {990}, "domain": {53}, "sip": {5060}, "sips": {5061},
	"mysql": {3306}, "postgresql": {5432}, "mail": {25, 110, 143, 465, 587, 993, 995, 4190}, "web": {80, 443},
}

// UnmarshalText reads a port number from 1 to 65535, or a name.
func (p *Ports) UnmarshalText(b []byte) error {
	p.Name = string(b)
	if list, ok := portNames[p.Name]; ok {
		p.List = slices.Clone(list)
		return nil
	}
	n, err := strconv.ParseUint(p.Name, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no port: a number from 1 to 65535, or a name such as ssh, http, https, mail", p.Name)
	}
	p.List = []uint16{uint16(n)}
	return nil
}

// String returns the port as it was written.
func (p Ports) String() string { return p.Name }

// A Size is a number of bytes: 65000, 8KiB, 8k, 16MiB. Units are powers of 1024.
type Size struct {
	Bytes int64
	Pos
}

var sizeUnits = []struct {
	names []string
	n     int64
}{{[]string{"", "B"}, 1}, {[]string{"KiB", "k", "K"}, 1 << 10}, {[]string{"MiB", "m", "M"}, 1 << 20}, {[]string{"GiB", "g", "G"}, 1 << 30}}

// UnmarshalText reads a size.
func (z *Size) UnmarshalText(b []byte) error {
	s := string(b)
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := parseUint(s[:digits], 40)
	if err != nil {
		return fmt.Errorf("%q is no size: write 65000, 8KiB, 16MiB", s)
	}
	for _, u := range sizeUnits {
		if slices.Contains(u.names, strings.TrimSpace(s[digits:])) {
			if int64(n) > math.MaxInt64/u.n {
				return fmt.Errorf("%q is too large", s)
			}
			z.Bytes = int64(n) * u.n
			return nil
		}
	}
	return fmt.Errorf("%q has no unit %q: use KiB, MiB, GiB", s, s[digits:])
}

// String returns the size in the largest unit that says it exactly.
func (z Size) String() string {
	for _, u := range slices.Backward(sizeUnits) {
		if z.Bytes != 0 && z.Bytes%u.n == 0 && u.n > 1 {
			return fmt.Sprintf("%d%s", z.Bytes/u.n, u.names[0])
		}
	}
	return fmt.Sprint(z.Bytes)
}

func parseUint(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, errors.New(strconv.Quote(s) + " is no whole number")
	}
	return n, nil
}
