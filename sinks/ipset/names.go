package ipset

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of everything of ours in the kernel. Set names hold 31 characters: 9, 14 of the jail, 3, and 4 of a set that
// is being filled and grows.
const (
	prefix    = "rapsheet-"
	allowJail = "allow"  // its sets hold who is never banned; no jail may bear the name
	manual    = "manual" // the jail of bans by hand, which every configuration has
	filling   = ".n"     // ends the name of a set that is being filled
	growing   = ".g"     // ends the name of the larger set that takes the place of a full one
	maxJail   = 14
)

// A family is one of the kernel's two: sets, tables and rules exist once for each.
type family uint8

const (
	v4 family = unix.AF_INET
	v6 family = unix.AF_INET6
)

var families = [...]family{v4, v6}

func familyOf(p netip.Prefix) family {
	if p.Addr().Is4() {
		return v4
	}
	return v6
}

func (f family) String() string {
	if f == v4 {
		return "4"
	}
	return "6"
}

// setName names the set of a jail: rapsheet-ssh-4 for all traffic, rapsheet-ssh-4p for the jail's ports only.
func setName(jail string, f family, ports bool) string {
	name := prefix + jail + "-" + f.String()
	if ports {
		name += "p"
	}
	return name
}

// parseName is the reverse of setName; false for what is not one of our sets, or is still being filled.
func parseName(name string) (jail string, f family, ports, ok bool) {
	name, ours := strings.CutPrefix(name, prefix)
	name, ports = strings.CutSuffix(name, "p")
	at := strings.LastIndexByte(name, '-')
	if !ours || at < 0 || checkJail(name[:at]) != nil {
		return "", 0, false, false
	}
	switch name[at+1:] {
	case "4":
		f = v4
	case "6":
		f = v6
	default:
		return "", 0, false, false
	}
	return name[:at], f, ports, true
}

func checkJail(name string) error {
	if name == "" || len(name) > maxJail || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("jail %q: names are 1 to %d of a-z, 0-9 and -", name, maxJail)
	}
	return nil
}
