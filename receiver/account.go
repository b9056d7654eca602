package receiver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/rapsheet/rapsheet/configs/value"
)

// An accounts set holds the user ids that may send. It is not changed once it is made.
type accounts map[uint32]bool

// newAccounts returns root, syslog where there is such an account, the daemon's own, and those of extra.
func newAccounts(extra []value.String) (accounts, error) {
	a := accounts{0: true, uint32(os.Geteuid()): true}
	if uid, err := uidOf("syslog"); err == nil {
		a[uid] = true
	}
	for _, s := range extra {
		uid, err := uidOf(s.S)
		if err != nil {
			return nil, err
		}
		a[uid] = true
	}
	return a, nil
}

func uidOf(s string) (uint32, error) {
	if n, err := parseID(s); err == nil {
		return n, nil
	}
	u, err := user.Lookup(s)
	if err != nil {
		return 0, fmt.Errorf("no account %q", s)
	}
	return parseID(u.Uid)
}

func gidOf(s string) (uint32, error) {
	if n, err := parseID(s); err == nil {
		return n, nil
	}
	g, err := user.LookupGroup(s)
	if err != nil {
		return 0, fmt.Errorf("no group %q", s)
	}
	return parseID(g.Gid)
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err
}

// splitOwner cuts user, user:group and :group; the empty owner is two empty names.
func splitOwner(s string) (usr, group string, err error) {
	usr, group, both := strings.Cut(s, ":")
	if s != "" && (both && group == "" || strings.Contains(group, ":") || strings.ContainsAny(s, " \t/")) {
		return "", "", errors.New("no owner")
	}
	return usr, group, nil
}

// ownerIDs returns what chown takes: -1 leaves as it is.
func ownerIDs(s string) (uid, gid int, err error) {
	usr, group, err := splitOwner(s)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is no owner", s)
	}
	uid, gid = -1, -1
	if usr != "" {
		n, err := uidOf(usr)
		if err != nil {
			return 0, 0, err
		}
		uid = int(n)
	}
	if group != "" {
		n, err := gidOf(group)
		if err != nil {
			return 0, 0, err
		}
		gid = int(n)
	}
	return uid, gid, nil
}
