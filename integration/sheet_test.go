package integration

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/lab"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/sinks/ipset"
)

// A sheet is what stories read of rapsheet show --json.
type sheet struct {
	Query        string
	Banned       bool
	Never        string
	NotProtected []string `json:"not_protected"`
	Offenders    []struct {
		Prefix  netip.Prefix
		Running []event.Ban
		Log     []event.Ban
		Tiers   []struct {
			Jail, What string
			Sum, Limit uint32
		}
		Lines []struct {
			Jail, Kind, Addr, Sender, Host, Program, Rule, User, Line string

			Time time.Time
		}
	}
}

// sheetOf asks for an address's rap sheet; of an address that nothing is known of it is empty.
func sheetOf(t *testing.T, d *lab.Daemon, addr string) sheet {
	t.Helper()
	var s sheet
	out, code := d.CLI("show", "--json", addr)
	if code == 3 {
		return s
	}
	if err := json.Unmarshal(out, &s); err != nil || code != 0 {
		t.Fatalf("show --json %s: exit code %d, %v:\n%s", addr, code, err, out)
	}
	return s
}

// sum is where the offender stands with the jail's tier of that limit.
func (s *sheet) sum(jail string, limit uint32) uint32 {
	for _, o := range s.Offenders {
		for _, tier := range o.Tiers {
			if tier.Jail == jail && tier.Limit == limit {
				return tier.Sum
			}
		}
	}
	return 0
}

// waitBan waits until the jail's ban of exactly that prefix is reported, and returns it.
func waitBan(t *testing.T, d *lab.Daemon, jail, prefix string) event.Ban {
	t.Helper()
	var b event.Ban
	lab.Wait(t, jail+"'s ban of "+prefix, func() bool {
		b = bans(t, d)[prefix]
		return b.Jail == jail
	})
	return b
}

// kernel is what the kernel sets of a host hold: for each prefix the entries, one in each set that holds it.
func kernel(t *testing.T, h *lab.Host) map[string][]ipset.Entry {
	t.Helper()
	held := map[string][]ipset.Entry{}
	err := h.Do(func() error {
		return ipset.List(func(e ipset.Entry) bool {
			held[e.Prefix.String()] = append(held[e.Prefix.String()], e)
			return true
		})
	})
	if err != nil {
		t.Fatalf("kernel sets of %s: %v", h.Name, err)
	}
	return held
}

// passes asks with packets whether an address reaches a TCP port of srv.
func passes(t *testing.T, atk *lab.Host, from string, port int, want bool) {
	t.Helper()
	to := lab.Srv4
	if strings.Contains(from, ":") {
		to = lab.Srv6
	}
	if got := atk.Reaches(from, to, port); got != want {
		t.Errorf("%s reaches port %d of %s: got %t, want %t", from, port, to, got, want)
	}
}

// lasts checks how long a ban is.
func lasts(t *testing.T, b event.Ban, want time.Duration) {
	t.Helper()
	if got := length(b); got != want {
		t.Errorf("ban of %s: got %s, want %s", b.Prefix, got, want)
	}
}
