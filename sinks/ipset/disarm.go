package ipset

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Disarmed says what Disarm did.
type Disarmed struct {
	Rules bool     // our tables are gone: nothing is dropped any more
	Owned bool     // a living process owns the tables, so they stay; the ban sets were emptied instead
	Sets  []string // sets that were destroyed, or emptied where Owned
}

// Disarm lets everybody through again, without a daemon: it removes our tables, also those of a process that was killed,
// and with remove all our sets. Where another process owns the tables it empties the ban sets: that process will fill
// them again when it is told of new bans.
func Disarm(remove bool) (d Disarmed, err error) {
	c, err := dial()
	if err != nil {
		return d, fmt.Errorf("ipset: %w", err)
	}
	defer c.close()
	d, err = c.disarm(remove)
	if err != nil {
		err = fmt.Errorf("ipset: disarm: %w", err)
	}
	return d, err
}

func (c *conn) disarm(remove bool) (d Disarmed, err error) {
	// Whoever may not list the sets may not change tables either: so EPERM below is the owner's.
	all, err := c.headers()
	if err != nil {
		return d, err
	}
	var errs []error
	for _, f := range families {
		var r request
		r.transaction()
		r.table(unix.NFT_MSG_DELTABLE, 0, f, 0)
		r.conclude()
		switch err := c.commit(&r); {
		case err == nil, gone(err):
		case errors.Is(err, unix.EPERM):
			d.Owned = true
		default:
			errs = append(errs, fmt.Errorf("table %s: %w", tableName, err))
		}
	}
	d.Rules = !d.Owned && len(errs) == 0
	for _, h := range all {
		if !strings.HasPrefix(h.name, prefix) {
			continue
		}
		jail, _, _, ok := parseName(h.name)
		switch {
		case d.Owned && ok && jail != allowJail:
			var r request
			r.set(nl.IPSET_CMD_FLUSH, unix.NLM_F_ACK, v4, h.name)
			err = c.one(&r)
		case !d.Owned && remove:
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err = c.destroy(ctx, h.name)
			cancel()
		default:
			continue
		}
		if err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("set %s: %w", h.name, err))
			continue
		}
		d.Sets = append(d.Sets, h.name)
	}
	return d, errors.Join(errs...)
}

// Remove takes exactly these prefixes out of all ban sets, without a daemon, and returns how many entries there were.
func Remove(prefixes ...netip.Prefix) (n int, err error) {
	for _, p := range prefixes {
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() {
			return 0, fmt.Errorf("ipset: remove %s: %w", p, errPrefix)
		}
	}
	c, err := dial()
	if err != nil {
		return 0, fmt.Errorf("ipset: %w", err)
	}
	defer c.close()
	all, err := c.headers()
	if err != nil {
		return 0, fmt.Errorf("ipset: %w", err)
	}
	for _, h := range all {
		jail, f, _, ok := parseName(h.name)
		if !ok || jail == allowJail || h.typ != setType {
			continue
		}
		for _, p := range prefixes {
			if f != familyOf(p) {
				continue
			}
			held, err := c.remove(h.name, p.Masked())
			if err != nil {
				return n, fmt.Errorf("ipset: remove %s: set %s: %w", p, h.name, err)
			}
			if held {
				n++
			}
		}
	}
	return n, nil
}

// remove takes p out of a set, and reports whether it held it.
func (c *conn) remove(set string, p netip.Prefix) (held bool, err error) {
	var r request
	r.entry(nl.IPSET_CMD_DEL, unix.NLM_F_EXCL, set, p, never)
	r.ack()
	var code syscall.Errno
	if err := c.send(&r, func(_ int, c syscall.Errno) { code = c }); err != nil {
		return false, err
	}
	if code != 0 && code != nl.IPSET_ERR_EXIST && code != unix.ENOENT {
		return false, kernelError(code)
	}
	return code == 0, nil
}

// List calls yield with every ban that the kernel holds, without a daemon, until yield reports false.
func List(yield func(Entry) bool) error {
	c, err := dial()
	if err != nil {
		return fmt.Errorf("ipset: %w", err)
	}
	defer c.close()
	if err := c.list(yield); err != nil {
		return fmt.Errorf("ipset: list: %w", err)
	}
	return nil
}
