package allow

import "net/netip"

// Space that belongs to no attacker. Documentation networks are not special: they are as bannable as any other.
var always = []struct{ prefix, what string }{
	{"0.0.0.0/8", "unspecified"}, // RFC 1122, 3.2.1.3
	{"127.0.0.0/8", "loopback"},
	{"169.254.0.0/16", "link-local"}, // RFC 3927
	{"224.0.0.0/4", "multicast"},
	{"255.255.255.255/32", "broadcast"},
	{"::/128", "unspecified"},
	{"::1/128", "loopback"},
	{"fe80::/10", "link-local"}, // RFC 4291, 2.4
	{"ff00::/8", "multicast"},
}

// Space that is banned only where ban_private says so.
var private = []struct{ prefix, what string }{
	{"10.0.0.0/8", "private network"}, // RFC 1918
	{"172.16.0.0/12", "private network"},
	{"192.168.0.0/16", "private network"},
	{"100.64.0.0/10", "carrier NAT"}, // RFC 6598
	{"fc00::/7", "private network"},  // RFC 4193
}

// Space in which a /64 is many strangers, each with an address made of IPv4's.
var translated = []netip.Prefix{
	netip.MustParsePrefix("64:ff9b::/96"),   // NAT64, RFC 6052
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64, RFC 8215
	netip.MustParsePrefix("2001::/32"),      // Teredo, RFC 4380
}

// 6to4: a /48 is one IPv4 address (RFC 3056).
var sixToFour = netip.MustParsePrefix("2002::/16")

// translates reports whether p can be a NAT64 prefix (RFC 6052, 2.2).
func translates(p netip.Prefix) bool {
	if !p.IsValid() || !p.Addr().Is6() {
		return false
	}
	switch p.Bits() {
	case 32, 40, 48, 56, 64, 96:
		return true
	}
	return false
}

// Wide reports whether p is more than anybody means to ban or to allow at once: wider than /8, for IPv6 than /32. What is
// no prefix is wide too.
func Wide(p netip.Prefix) bool {
	p, ok := plain(p)
	if ok && p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 32
}
