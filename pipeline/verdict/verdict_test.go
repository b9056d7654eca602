package verdict_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/verdict"
)

var (
	start  = time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	prefix = netip.MustParsePrefix("198.51.100.66/32")
)

// A book records what the ledger is told.
type book struct {
	strikes, lifts int
	until          time.Time
}

func (b *book) Banned(_ string, _ netip.Prefix, _, until time.Time, strike bool) {
	b.until = until
	if strike {
		b.strikes++
	}
}
func (b *book) Lifted(string, netip.Prefix, time.Time, bool) { b.lifts++ }

func ban(at, length time.Duration) event.Ban {
	return event.Ban{Prefix: prefix, Jail: "ssh", Issued: start.Add(at), Until: start.Add(at + length), Strike: 1, Reason: "r"}
}

func TestMergeNeverShortens(t *testing.T) {
	b := &book{}
	v := verdict.New(b, 7)
	first, changed := v.Merge(ban(0, time.Hour), start)
	if !changed || first.Seq != 8 || b.strikes != 1 {
		t.Fatalf("verdict: first ban %+v, changed %v, strikes %d", first, changed, b.strikes)
	}
	if got, changed := v.Merge(ban(time.Minute, time.Minute), start); changed || !got.Until.Equal(first.Until) {
		t.Errorf("verdict: a shorter ban changed %+v into %+v", first, got)
	}
	longer, changed := v.Merge(ban(time.Minute, 2*time.Hour), start)
	if !changed || longer.Seq != 9 || !longer.Issued.Equal(first.Issued) || b.strikes != 1 {
		t.Errorf("verdict: longer ban %+v, changed %v, strikes %d", longer, changed, b.strikes)
	}
}

func TestMergeWidens(t *testing.T) {
	v := verdict.New(&book{}, 0)
	ports := ban(0, time.Hour)
	ports.Ports = true
	v.Merge(ports, start)
	if all, changed := v.Merge(ban(0, time.Minute), start); !changed || all.Ports || !all.Until.Equal(ports.Until) {
		t.Errorf("verdict: all traffic into ports: %+v, changed %v", all, changed)
	}
	if got, changed := v.Merge(ports, start); changed || got.Ports {
		t.Errorf("verdict: a ban was narrowed to ports: %+v", got)
	}
}

func TestPastBanIsNotKept(t *testing.T) {
	b := &book{}
	v := verdict.New(b, 0)
	past, changed := v.Merge(ban(-48*time.Hour, time.Hour), start)
	if !changed || past.Seq != 1 || v.Len() != 0 || b.strikes != 1 {
		t.Errorf("verdict: past ban %+v, changed %v, running %d, strikes %d", past, changed, v.Len(), b.strikes)
	}
}

func TestObservedIsNoStrike(t *testing.T) {
	b := &book{}
	v := verdict.New(b, 0)
	o := ban(0, time.Hour)
	o.Observed = true
	got, _ := v.Merge(o, start)
	if got.Strike != 0 || b.strikes != 0 || got.Enforced(start) {
		t.Errorf("verdict: observed ban %+v, strikes %d", got, b.strikes)
	}
	armed := v.Arm(func(string) bool { return false }, start)
	if len(armed) != 1 || armed[0].Observed || armed[0].Seq != 2 {
		t.Errorf("verdict: armed %+v", armed)
	}
}

func TestLiftAndExpire(t *testing.T) {
	b := &book{}
	v := verdict.New(b, 0)
	v.Merge(ban(0, time.Hour), start)
	other := ban(0, 2*time.Hour)
	other.Prefix = netip.MustParsePrefix("2001:db8::/64")
	v.Merge(other, start)
	later := start.Add(time.Minute)
	lifted := v.Lift(func(n *event.Ban) bool { return n.Prefix == prefix }, "uid 0", "typo", later)
	if len(lifted) != 1 || !lifted[0].Lifted || lifted[0].By != "uid 0" || lifted[0].Seq != 3 || !lifted[0].At.Equal(later) || b.lifts != 1 {
		t.Fatalf("verdict: lifted %+v, ledger %d", lifted, b.lifts)
	}
	ended := 0
	v.Expire(start.Add(119*time.Minute), func(*event.Ban) { ended++ })
	if ended != 0 {
		t.Errorf("verdict: %d bans ended early", ended)
	}
	v.Expire(start.Add(2*time.Hour), func(*event.Ban) { ended++ })
	if ended != 1 || v.Len() != 0 {
		t.Errorf("verdict: %d ended, %d run", ended, v.Len())
	}
}

func TestRestoreKeepsNumbers(t *testing.T) {
	v := verdict.New(&book{}, 3)
	old := ban(0, time.Hour)
	old.Seq = 40
	v.Restore(old, start)
	other := ban(0, time.Hour)
	other.Jail = verdict.Manual
	if next, _ := v.Merge(other, start); next.Seq != 41 {
		t.Errorf("verdict: number after restore %d, want 41", next.Seq)
	}
}

// An event long after the ban, stamped then, says that the ban has no effect; one that was late does not.
func TestIneffective(t *testing.T) {
	jail := &event.Jail{Name: "ssh"}
	rule := &event.Rule{Kind: event.Failure, Weight: 1}
	f := func(late, stamped time.Duration, want uint64) {
		t.Helper()
		v := verdict.New(&book{}, 0)
		v.Merge(ban(0, time.Hour), start)
		from := &event.Sender{}
		b := event.NewBatch(1, 10)
		b.Now = start.Add(late)
		b.Add([]byte("x"), from, false)
		b.Events = append(b.Events, event.Event{Rule: rule, Offender: prefix, Time: start.Add(stamped)})
		b.Scores = append(b.Scores, event.Score{Jail: jail, Running: true, Ran: stamped})
		v.Decide(b, 0)
		if got := from.Ineffective.Load(); got != want {
			t.Errorf("verdict: event at %v stamped %v: ineffective %d, want %d", late, stamped, got, want)
		}
	}
	f(30*time.Second, 30*time.Second, 0)
	f(2*time.Minute, 2*time.Minute, 1)
	f(2*time.Minute, -time.Minute, 0)
}

func TestLadderTakesTheStep(t *testing.T) {
	jail := &event.Jail{Name: "ssh", Count: []event.Kind{event.Failure}, Tiers: []event.Tier{
		{MaxRetry: 5, FindTime: time.Hour, BanTime: []time.Duration{time.Minute, time.Hour, event.Permanent}, Jitter: 0.1, Ports: []uint16{22}}}}
	f := func(strikes int, least, most time.Duration) {
		t.Helper()
		v := verdict.New(&book{}, 0)
		b := event.NewBatch(1, 10)
		b.Now = start
		b.Add([]byte("x"), &event.Sender{}, false)
		b.Events = append(b.Events, event.Event{Rule: &event.Rule{}, Offender: prefix, Time: start})
		b.Scores = append(b.Scores, event.Score{Jail: jail, Sums: [4]uint32{5}, Trusted: [4]uint32{5}, Fired: 1, Strikes: strikes})
		v.Decide(b, 0)
		if len(b.Bans) != 1 {
			t.Fatalf("verdict: %d bans", len(b.Bans))
		}
		got := b.Bans[0]
		if d := got.Until.Sub(start); d < least || d > most || !got.Ports || got.Strike != strikes+1 {
			t.Errorf("verdict: after %d strikes %v, want %v to %v: %+v", strikes, d, least, most, got)
		}
		if got.Reason != "ssh: 5 failures within 1h, limit 5" {
			t.Errorf("verdict: reason %q", got.Reason)
		}
	}
	f(0, time.Minute, 66*time.Second)
	f(1, time.Hour, 66*time.Minute)
	f(9, event.Forever.Sub(start), event.Forever.Sub(start))
}
