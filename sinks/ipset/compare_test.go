package ipset

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// What others take out of the sets is missed; what we take out, and what ends, is not.
func TestCompare(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		allow := prefixes(allowed4+"/32", "203.0.113.0/24", allowed6+"/128")
		must(t, s.Allow(allow))
		held := []event.Ban{ban("ssh", attacker4+"/32"), ban("ssh", attacker6+"/128", portsOnly), ban("manual", "198.51.100.0/24"), ban("manual", "192.0.2.128/25")}
		for i := range held {
			held[i].Issued = held[i].Issued.Add(-time.Hour)
		}
		young := ban("ssh", "203.0.113.1/32") // on its way
		lost := 0
		s.Lost = func() {
			lost++
			must(t, s.Sync(t.Context(), yields(held...)))
		}
		s.Held = func(_ context.Context, count func(*event.Ban)) error {
			for i := range held {
				count(&held[i])
			}
			count(&young)
			return nil
		}
		apply(t, s, held...)
		look := func(n int) {
			t.Helper()
			for range n {
				s.watch.rest = time.Time{} // as if it were time
				s.compare(t.Context())
			}
		}
		look(3)
		last := len(held) - 1
		over := held[last]
		held = held[:last]
		over.Lifted = true
		apply(t, s, over)
		look(3)
		if lost != 0 {
			t.Fatalf("nobody else changed anything: got %d losses", lost)
		}

		order := func(cmd uint16, set string, p string) {
			t.Helper()
			c, err := dial()
			must(t, err)
			defer c.close()
			var r request
			if p == "" {
				r.set(cmd, unix.NLM_F_ACK, v4, set)
			} else {
				r.entry(cmd, 0, set, netip.MustParsePrefix(p), never)
				r.ack()
			}
			must(t, c.one(&r))
		}
		f := func(what string, want int) {
			t.Helper()
			look(1)
			if lost != want-1 {
				t.Errorf("%s: refilled at the first look", what)
			}
			look(1)
			if lost != want {
				t.Errorf("%s: got %d losses, want %d", what, lost, want)
			}
			l.arrives(attacker4, false)
			look(3)
			if lost != want {
				t.Errorf("%s: got %d losses after the refill, want %d", what, lost, want)
			}
		}
		order(nl.IPSET_CMD_FLUSH, "rapsheet-ssh-4", "")
		f("flush", 1)
		order(nl.IPSET_CMD_DEL, "rapsheet-manual-4", "198.51.100.0/24")
		f("an entry", 2)
		order(nl.IPSET_CMD_FLUSH, "rapsheet-ssh-6p", "")
		f("ports", 3)

		order(nl.IPSET_CMD_FLUSH, "rapsheet-allow-4", "")
		l.arrives(allowed4, false) // in the banned network
		look(1)
		l.arrives(allowed4, true)
		order(nl.IPSET_CMD_ADD, "rapsheet-allow-4", attacker4+"/32")
		look(1)
		l.arrives(attacker4, false)
		if lost != 3 {
			t.Errorf("allow sets: got %d losses, want 3", lost)
		}
		must(t, s.Close())
		look(1)
	})
}
