package score_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/score"
	"github.com/rapsheet/rapsheet/pipeline/verdict"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	offender = netip.MustParsePrefix("198.51.100.66/32")
	failure  = &event.Rule{Filter: "ssh", Kind: event.Failure, Weight: 1}
	success  = &event.Rule{Filter: "ssh", Kind: event.Success, Weight: 1}
)

func sshJail() *event.Jail {
	return &event.Jail{Name: "ssh", Filters: []string{"ssh"}, Count: []event.Kind{event.Failure}, Untrusted: day, Tiers: []event.Tier{
		{MaxRetry: 7, FindTime: 10 * time.Minute, BanTime: []time.Duration{10 * time.Minute}, Ports: []uint16{22}},
		{MaxRetry: 21, FindTime: year, BanTime: []time.Duration{year}}}}
}

// A disk is a History and a Journal in memory.
type disk map[string][]byte

func (d disk) Record(jail string, p netip.Prefix, rec []byte) {
	d[jail+p.String()] = append([]byte(nil), rec...)
}

type reader struct{ disk }

func (r reader) Record(jail string, p netip.Prefix, buf []byte) ([]byte, error) {
	if rec, ok := r.disk[jail+p.String()]; ok {
		return append(buf, rec...), nil
	}
	return nil, nil
}

// A court is score and verdict together, as the judge drives them.
type court struct {
	t       *testing.T
	scores  *score.Table
	verdict *verdict.Table
	disk    disk
	jails   []*event.Jail
	from    *event.Sender
	user    string
	trusted bool
	now     time.Time // Batch.Now; the event's own time where zero
}

func newCourt(t *testing.T, jails ...*event.Jail) *court {
	c := &court{t: t, disk: disk{}, jails: jails, from: &event.Sender{}, user: "root", trusted: true}
	c.restart()
	return c
}

// restart flushes and forgets everything that is not on disk.
func (c *court) restart() {
	if c.scores != nil {
		c.scores.Flush(c.disk, start)
	}
	var running []event.Ban
	if c.verdict != nil {
		for b := range c.verdict.Running {
			running = append(running, *b)
		}
	}
	runs := func(jail string, p netip.Prefix) (from, until time.Time, ok bool) { return c.verdict.Runs(jail, p) }
	c.scores = score.New(score.Config{Jails: c.jails, History: reader{c.disk}, Runs: runs, Hot: 4}, start)
	c.verdict = verdict.New(c.scores, 0)
	for _, b := range running {
		c.verdict.Restore(b, b.Issued)
	}
}

// event plays one event and returns the ban it led to, or a zero one.
func (c *court) event(rule *event.Rule, p netip.Prefix, at time.Time) event.Ban {
	b := event.NewBatch(1, 16)
	b.Now = at
	if !c.now.IsZero() {
		b.Now = c.now
	}
	b.Add([]byte("line"), c.from, false)
	b.Events = append(b.Events, event.Event{Rule: rule, Count: 1, User: []byte(c.user), Offender: p, Addr: p.Addr(), Time: at, Trusted: c.trusted})
	c.scores.Score(b, 0)
	c.verdict.Decide(b, 0)
	if len(b.Bans) == 0 {
		return event.Ban{}
	}
	return b.Bans[0]
}

func (c *court) fail(at time.Duration) event.Ban { return c.event(failure, offender, start.Add(at)) }

func (c *court) want(name string, b event.Ban, length time.Duration) {
	c.t.Helper()
	if got := b.Until.Sub(b.Issued); got != length {
		c.t.Errorf("score: %s: ban of %v, want %v (%+v)", name, got, length, b)
	}
}

// 60 failures in one second are one offence: minutes. The third such offence is a year.
func TestBurstsAndTheThirdOffence(t *testing.T) {
	c := newCourt(t, sshJail())
	for offence, want := range []time.Duration{10 * time.Minute, 10 * time.Minute, year} {
		var bans []event.Ban
		for i := range 60 {
			if b := c.fail(time.Duration(offence)*30*day + time.Duration(i)*time.Second/60); b.Jail != "" {
				bans = append(bans, b)
			}
		}
		if len(bans) != 1 {
			t.Fatalf("score: offence %d led to %d bans: %+v", offence, len(bans), bans)
		}
		c.want(fmt.Sprint("offence ", offence), bans[0], want)
		if bans[0].Strike != offence+1 || bans[0].Ports != (want != year) {
			t.Errorf("score: offence %d: %+v", offence, bans[0])
		}
		c.restart()
	}
}

func TestSlowGuessingOverAYear(t *testing.T) {
	c := newCourt(t, sshJail())
	for i := range 20 {
		c.want("slow guess", c.fail(time.Duration(i)*17*day), 0)
		c.restart() // nothing is forgotten
	}
	c.want("the 21st", c.fail(20*17*day), year)
}

func TestWindowIsExact(t *testing.T) {
	c := newCourt(t, sshJail())
	for i := range 6 {
		c.want("before", c.fail(time.Duration(i)*time.Second), 0)
	}
	c.want("10 minutes after the first: outside", c.fail(10*time.Minute), 0)
	c.want("7th inside", c.fail(10*time.Minute+500*time.Millisecond), 10*time.Minute)
}

func TestOutOfOrder(t *testing.T) {
	c := newCourt(t, sshJail())
	for _, s := range []int{50, 10, 40, 20, 30, 60} {
		c.want("out of order", c.fail(time.Duration(s)*time.Second), 0)
	}
	c.want("late, and not the 7th before its own time", c.fail(5*time.Second), 0)
	c.want("the newest sees all", c.fail(61*time.Second), 10*time.Minute)
}

// People mistype. Seven wrong passwords with one right among them ban nobody, whatever their order, unless the seven
// come first.
func TestSuccessTakesBack(t *testing.T) {
	for right := range 7 {
		c := newCourt(t, sshJail())
		for i := range 7 {
			if i == right {
				c.event(success, offender, start.Add(time.Duration(i)*time.Second))
			}
			b := c.fail(time.Duration(i)*time.Second + 500*time.Millisecond)
			if right > 0 {
				c.want(fmt.Sprint("right one before wrong one ", right), b, 0)
			}
		}
	}
}

func TestSuccessTakesBackOnlyItsOwn(t *testing.T) {
	f := func(name string, change func(c *court), want time.Duration) {
		t.Helper()
		c := newCourt(t, sshJail())
		for i := range 6 {
			c.fail(time.Duration(i) * time.Second)
		}
		old := *c
		change(c)
		at := start.Add(7 * time.Second)
		c.event(success, offender, at)
		c.user, c.from, c.trusted = old.user, old.from, old.trusted
		c.want(name, c.fail(8*time.Second), want)
	}
	f("same user", func(*court) {}, 0)
	f("after a restart", func(c *court) { c.restart() }, 0)
	f("other user", func(c *court) { c.user = "mallory" }, 10*time.Minute)
	f("other sender", func(c *court) { c.from = &event.Sender{Addr: netip.MustParseAddr("192.0.2.10")} }, 10*time.Minute)
	f("a forged success", func(c *court) { c.trusted = false }, 10*time.Minute)
}

func TestLiftIsAMark(t *testing.T) {
	c := newCourt(t, sshJail())
	for i := range 7 {
		c.fail(time.Duration(i) * time.Second)
	}
	now := start.Add(10 * time.Second)
	if n := len(c.verdict.Lift(func(*event.Ban) bool { return true }, "uid 0", "", now)); n != 1 {
		t.Fatalf("score: %d bans lifted", n)
	}
	c.restart()
	for i := range 6 {
		c.want("after the lift", c.fail(11*time.Second+time.Duration(i)*time.Second), 0)
	}
	b := c.fail(18 * time.Second)
	c.want("seven new ones", b, 10*time.Minute)
	if b.Strike != 1 {
		t.Errorf("score: the lifted ban was a strike: %+v", b)
	}
}

// Forged messages lead to a day at most, are no strikes, and never push true ones out.
func TestUntrusted(t *testing.T) {
	c := newCourt(t, sshJail())
	c.trusted = false
	for i := range 500 {
		b := c.fail(time.Duration(i) * 11 * time.Minute)
		if b.Jail != "" && (b.Until.Sub(b.Issued) > day || b.Strike != 0) {
			t.Fatalf("score: untrusted event %d led to %+v", i, b)
		}
	}
	for i := range 60 {
		if b := c.fail(200*day + time.Duration(i)*time.Second); b.Jail != "" {
			c.want("untrusted burst", b, 10*time.Minute)
		}
	}
	c.trusted = true
	for i := range 20 {
		c.want("true and slow", c.fail(210*day+time.Duration(i)*day), 0)
		c.trusted = false
		for j := range 50 {
			c.fail(210*day + time.Duration(i)*day + time.Duration(j+1)*15*time.Minute)
		}
		c.trusted = true
	}
	c.want("the 21st true one", c.fail(230*day), year)
}

func TestUsersTier(t *testing.T) {
	mail := &event.Jail{Name: "mail", Filters: []string{"ssh"}, Count: []event.Kind{event.Failure}, Untrusted: day, Tiers: []event.Tier{
		{Users: 10, FindTime: day, BanTime: []time.Duration{year}}}}
	c := newCourt(t, mail)
	for i := range 300 { // a phone with an old password
		c.want("one name", c.fail(time.Duration(i)*time.Minute), 0)
	}
	for i := range 8 {
		c.user = fmt.Sprint("user", i)
		c.want("few names", c.fail(301*time.Minute+time.Duration(i)*time.Second), 0)
		c.user = "root"
		for j := range 30 { // one name over and over hides none of the others
			c.want("the phone again", c.fail(301*time.Minute+time.Duration(i)*time.Second+time.Duration(j+1)*time.Millisecond), 0)
		}
	}
	c.user = "last"
	c.want("the tenth name", c.fail(302*time.Minute), year)
}

func TestStrikesTier(t *testing.T) {
	j := &event.Jail{Name: "ssh", Filters: nil, Count: []event.Kind{event.Failure}, Untrusted: day, Tiers: []event.Tier{
		{MaxRetry: 3, FindTime: 10 * time.Minute, BanTime: []time.Duration{time.Hour}},
		{Strikes: 2, FindTime: year, BanTime: []time.Duration{event.Permanent}}}}
	c := newCourt(t, j)
	for offence, want := range []time.Duration{time.Hour, time.Hour, event.Permanent} {
		var b event.Ban
		for i := range 3 {
			b = c.fail(time.Duration(offence)*day + time.Duration(i)*time.Second)
		}
		if want == event.Permanent {
			if !b.Until.Equal(event.Forever) {
				t.Errorf("score: third offence: %+v", b)
			}
			continue
		}
		c.want(fmt.Sprint("offence ", offence), b, want)
	}
}

// More offenders than fit in memory: all of them are remembered.
func TestColdRecords(t *testing.T) {
	c := newCourt(t, sshJail())
	addr := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)
	}
	for round := range 7 {
		for i := range 50 {
			b := c.event(failure, addr(i), start.Add(time.Duration(round)*time.Second))
			if round < 6 {
				c.want("early", b, 0)
			} else {
				c.want("7th", b, 10*time.Minute)
			}
			c.scores.Flush(c.disk, start)
		}
	}
}

// A ban holds even where the record of its offender was lost: what happens in it scores nothing.
func TestBanWithoutRecord(t *testing.T) {
	c := newCourt(t, sshJail())
	for i := range 7 {
		c.fail(time.Duration(i) * time.Second)
	}
	c.scores.Flush(disk{}, start) // to a disk that is lost
	c.disk = disk{}
	c.restart()
	for i := range 30 {
		c.want("in the ban", c.fail(10*time.Second+time.Duration(i)*time.Second), 0)
	}
	for i := range 6 {
		c.want("after the ban", c.fail(11*time.Minute+time.Duration(i)*time.Second), 0)
	}
	c.want("7th after the ban", c.fail(11*time.Minute+6*time.Second), 10*time.Minute)
}

// The longest ban that forged messages lead to is the limit, jitter included.
func TestUntrustedJitter(t *testing.T) {
	j := sshJail()
	j.Tiers = []event.Tier{{MaxRetry: 3, FindTime: time.Hour, BanTime: []time.Duration{23 * time.Hour}, Jitter: 0.5}}
	c := newCourt(t, j)
	c.trusted = false
	for i := range 10 {
		c.want("forged", c.fail(time.Duration(i)*time.Second), 0)
	}
}
