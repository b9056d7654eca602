package allow

import (
	"github.com/rapsheet/rapsheet/configs/value"
)

// Config says who is never banned, beside what the host itself says.
type Config struct {
	Allow      []value.String `yaml:"allow"`       // addresses, networks, DNS names, file:/path with one of these a line
	Proxies    []value.String `yaml:"proxies"`     // the same kinds, and cloudflare: addresses that carry other people's visitors
	BanPrivate value.Bool     `yaml:"ban_private"` // true: RFC 1918, RFC 6598 and RFC 4193 space can be banned
	NAT64      []value.Prefix `yaml:"nat64"`       // IPv6 networks that hide IPv4 hosts: single addresses are banned there
}

// Validate adds what is wrong to errs. Names are not looked up and files not opened: the configuration may be meant for
// another host.
func (c *Config) Validate(errs *value.Errors) {
	for _, list := range []struct {
		key     string
		entries []value.String
	}{{"allow", c.Allow}, {"proxies", c.Proxies}} {
		for _, s := range list.entries {
			if _, hint, err := parse(s.S, list.key == "proxies"); err != nil {
				errs.Add(s.At(), hint, "%s: %v", list.key, err)
			}
		}
	}
	for _, p := range c.NAT64 {
		if !translates(p.Prefix) {
			errs.Add(p.At(), "such as 2001:db8:64::/96", "nat64: %s is no IPv6 network of 32, 40, 48, 56, 64 or 96 bits", p.Prefix)
		}
	}
}
