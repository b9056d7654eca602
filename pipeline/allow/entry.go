package allow

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
)

// A source is where an entry's addresses come from.
type source uint8

const (
	fixed source = iota // a prefix, written down
	named               // a DNS name
	filed               // a file of entries
	known               // a list inside the binary
)

// An entry is one line of allow: or proxies:.
type entry struct {
	source source
	text   string       // as it was written; a file's path, without file:
	prefix netip.Prefix // of a fixed one
}

// Cloudflare's edge, from https://www.cloudflare.com/ips-v4 and ips-v6.
//
//go:embed cloudflare.txt
var cloudflare string

var edge = func() (list []netip.Prefix) {
	for line := range strings.FieldsSeq(cloudflare) {
		list = append(list, netip.MustParsePrefix(line))
	}
	return list
}()

const (
	cloudflareName = "cloudflare"
	filePrefix     = "file:"
)

const entryHint = "an address, a network such as 192.0.2.0/24, a DNS name, or file:/path"

// parse reads an entry. The hint goes with the error.
func parse(s string, proxies bool) (e entry, hint string, err error) {
	switch {
	case proxies && strings.EqualFold(s, cloudflareName):
		return entry{source: known, text: cloudflareName}, "", nil
	case strings.EqualFold(s, cloudflareName):
		return e, "proxies: [cloudflare]", errors.New("cloudflare is a list of proxies")
	case strings.HasPrefix(s, filePrefix):
		path := strings.TrimPrefix(s, filePrefix)
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return e, "file:/etc/rapsheet/allow.txt", fmt.Errorf("%q is no absolute path", path)
		}
		return entry{source: filed, text: path}, "", nil
	case isName(s):
		return entry{source: named, text: s}, "", nil
	}
	p, err := value.ParsePrefix(s)
	if err != nil {
		return e, entryHint, err
	}
	if Wide(p) {
		return e, "list the networks that are meant, up to /8 and for IPv6 /32", fmt.Errorf("%s is too wide: nearly nobody could be banned", p)
	}
	return entry{source: fixed, text: s, prefix: p}, "", nil
}

// isName reports whether s can be a DNS name and nothing else: letters, digits, hyphens and underscores between dots,
// a letter in the last label (RFC 1123, 2.1), so that 192.0.2.300 and 192.0.2.1-9 are mistyped addresses.
func isName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	letter := false
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		letter = false
		for _, c := range []byte(label) {
			switch {
			case c|0x20 >= 'a' && c|0x20 <= 'z':
				letter = true
			case c >= '0' && c <= '9' || c == '-' || c == '_':
			default:
				return false
			}
		}
	}
	return letter
}

// The most that one file may hold: what a line too many costs is memory and a name's look-up.
const (
	maxFile  = 16 << 20 // bytes
	maxNames = 1000     // DNS names, all files and lists together
)

// parseFile reads entries, one a line; # begins a comment. What is none is left out and returned in bad, by line number
// from 1, the first one with its error. A file in a file is none.
func parseFile(text string, proxies bool) (list []entry, bad int, first error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		e, _, err := parse(line, proxies)
		if err == nil && e.source == filed {
			err = errors.New("a file can't name another")
		}
		if err != nil {
			bad++
			if first == nil {
				first = fmt.Errorf("line %d: %w", n, err)
			}
			continue
		}
		list = append(list, e)
	}
	return list, bad, first
}
