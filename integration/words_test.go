package integration

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// Words that no file may hold: unfinished work, and what is true on one developer's machine only. They are put together
// from halves here, or this file would hold them.
var forbidden = []struct {
	pattern string
	why     string
	except  []string // files and folders that need it
}{
	{`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`, "unfinished: finish it or open an issue", nil},
	{`(^|[^\w.])/wo` + `rk/`, "path of one machine", nil},
	{`(^|[^\w.])/(ro` + `ot|ho` + `me)/[\w]`, "path of one machine", []string{
		"pipeline/header/testdata", // captured: sudo logs the folder it was called in
		"pipeline/filter/testdata",
	}},
	{`\b(proxy|sum)\.gol` + `ang\.org\b|\breg` + `istry\.npm|\bdeb\.deb` + `ian\.org\b|\bpy` + `pi\.org\b`, "registries are the reader's choice", nil},
}

func TestForbiddenWords(t *testing.T) {
	all := files(t)
	for _, f := range forbidden {
		re := regexp.MustCompile(`(?m)` + f.pattern)
		for name, text := range all {
			if at := re.FindStringIndex(text); at != nil && utf8.ValidString(text) && !under(name, f.except) {
				t.Errorf("%s:%d: %q: %s", name, line(text, at[0]), text[at[0]:at[1]], f.why)
			}
		}
	}
}

// Addresses in examples belong to nobody: RFC 5737 and RFC 3849, and the host itself.
var examples = prefixes("192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 127.0.0.0/8 0.0.0.0/32")

// Outside it, no IPv6 address is a host's on the Internet (RFC 4291, 2.4): link-local, translated, or an odd spelling.
var global6 = netip.MustParsePrefix("2000::/3")

// Ranges that mean something to rapsheet, and where they may be named.
var meant = []struct {
	ranges string
	files  []string
}{
	// Never banned, or banned in another width: private, link-local, multicast, Teredo, 6to4.
	{"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 2001::/32 2002::/16",
		[]string{"pipeline/allow", "configs", "cmd/rapsheet", "docs", "README.md"}},
	// Just beyond those and the examples, or so wide that they hold one.
	{"198.51.101.0/24 203.0.0.0/32 203.0.114.0/32 203.0.115.0/32 203.0.116.0/32 172.32.0.1/32 100.128.0.1/32 128.0.0.0/32 " +
		"192.0.0.0/32 192.0.3.0/32 2001:1::/32 2001:db9::/128", []string{"pipeline/allow", "store"}},
	// The published list of Cloudflare, and members of it.
	{"173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18 108.162.192.0/18 190.93.240.0/20 " +
		"188.114.96.0/20 197.234.240.0/22 198.41.128.0/17 162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13 " +
		"131.0.72.0/22 2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32 2a06:98c0::/29 2c0f:f248::/32",
		[]string{"pipeline/allow"}},
	// Offenders by the hundred thousand: more than the documentation's ranges hold. No packet is sent to them.
	{"32.0.0.0/32 64.0.0.0/32 100.64.0.0/10 192.0.0.0/24 198.18.0.0/15 240.0.0.0/4", []string{"integration/mix"}},
	{"10.0.0.0/8", []string{"sinks/ipset", "store", "cmd/rapsheet"}},
	// Section numbers of RFCs.
	{"3.2.1.3/32", []string{"pipeline/allow"}},
	// Spellings: how an address is written, not whose it is.
	{"1.2.3.4/32 255.255.255.255/32", []string{"pipeline/allow", "pipeline/filter", "configs/value"}},
}

func TestExampleAddressesBelongToNobody(t *testing.T) {
	for name, text := range files(t) {
		if name == "go.sum" || name == "integration/words_test.go" || !utf8.ValidString(text) {
			continue
		}
		allowed := slices.Clone(examples)
		for _, m := range meant {
			if under(name, m.files) {
				allowed = append(allowed, prefixes(m.ranges)...)
			}
		}
		addresses(text, func(at int, a netip.Addr) {
			a = a.Unmap()
			if (a.Is4() || global6.Contains(a)) && !slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(a) }) {
				t.Errorf("%s:%d: %s: take 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 or 2001:db8::/32", name, line(text, at), a)
			}
		})
	}
}

var (
	dotted  = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)
	coloned = regexp.MustCompile(`[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,8}(\.[0-9]+){0,3}`)
)

// addresses calls f for every address that stands in text by itself.
func addresses(text string, f func(at int, a netip.Addr)) {
	for _, re := range []*regexp.Regexp{dotted, coloned} {
		for _, m := range re.FindAllStringIndex(text, -1) {
			if wordy(text, m[0]-1) || wordy(text, m[1]) {
				continue
			}
			if a, err := netip.ParseAddr(text[m[0]:m[1]]); err == nil {
				f(m[0], a)
			}
		}
	}
}

// wordy reports whether the byte at i would belong to a word.
func wordy(text string, i int) bool {
	if i < 0 || i >= len(text) {
		return false
	}
	c := text[i] | 0x20
	return c >= 'a' && c <= 'z' || text[i] >= '0' && text[i] <= '9' || text[i] == '_'
}

func TestAddresses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var got []string
		addresses(text, func(_ int, a netip.Addr) { got = append(got, a.String()) })
		if s := strings.Join(got, " "); s != want {
			t.Errorf("addresses in %q: got %q, want %q", text, s, want)
		}
	}
	f("from 192.0.2.1 port 22", "192.0.2.1")
	f("udp://192.0.2.1:514, [2001:db8::1]:514", "192.0.2.1 2001:db8::1")
	f("192.0.2.0/24 (2001:db8:66::/64).", "192.0.2.0 2001:db8:66::")
	f("13:25:06 v1.2.3.4 1.2.3 1.2.3.4.5 OpenSSH_9.2.0.1", "")
	f("::ffff:192.0.2.1 ::ffff:198.51.100.1/128", "192.0.2.1 198.51.100.1 ::ffff:192.0.2.1 ::ffff:198.51.100.1")
	f("rip=192.0.2.1, lip=2001:db8::25", "192.0.2.1 2001:db8::25")
}

// Links inside the repository lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	all := files(t)
	for name, text := range all {
		if filepath.Ext(name) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			to := filepath.Join(lab.Root(t), filepath.Dir(name), m[1])
			if found, err := filepath.Glob(to); err != nil || len(found) != 1 {
				t.Errorf("%s: link to %s, which is not there", name, m[1])
			}
		}
	}
}

// under reports whether name is one of the files, or lies in one of the folders.
func under(name string, list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return name == s || strings.HasPrefix(name, s+"/") })
}

func line(text string, at int) int { return 1 + strings.Count(text[:at], "\n") }

func prefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range strings.Fields(list) {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}
