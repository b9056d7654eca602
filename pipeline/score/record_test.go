package score

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func drawRecord(t *rapid.T) *record {
	ms := rapid.Int64Range(-1<<40, 1<<45)
	r := &record{mark: ms.Draw(t, "mark"), from: ms.Draw(t, "from"), until: ms.Draw(t, "until"), total: rapid.Uint32().Draw(t, "total"), stamps: []stamp{}}
	for i := range r.fired {
		r.fired[i] = ms.Draw(t, "fired")
	}
	r.strikes = rapid.SliceOfN(ms, 0, strikesKept).Draw(t, "strikes")
	slices.Sort(r.strikes)
	if len(r.strikes) == 0 {
		r.strikes = nil
	}
	for range rapid.IntRange(0, 60).Draw(t, "n") {
		r.add(stamp{ms.Draw(t, "at"), rapid.Uint32().Draw(t, "user"), rapid.Uint16().Draw(t, "sender"), rapid.Uint16().Draw(t, "weight")}, 40, 10)
	}
	return r
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		var got record
		if err := got.read(want.appendTo(nil)); err != nil {
			t.Fatalf("score: read back: %v", err)
		}
		if !reflect.DeepEqual(want, &got) {
			t.Fatalf("score: got %+v, want %+v", got, want)
		}
	})
}

// A record sums what a list of all events would, however many there were and in whatever order they came, as long as
// they are inside the newest maxretry.
func TestSumsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		retry := rapid.IntRange(1, 30).Draw(t, "maxretry")
		find := rapid.Int64Range(1, 1000).Draw(t, "findtime")
		var r record
		var all []stamp
		for range rapid.IntRange(1, 80).Draw(t, "events") {
			s := stamp{rapid.Int64Range(0, 2000).Draw(t, "at"), rapid.Uint32Range(0, 5).Draw(t, "user"), rapid.Uint16Range(0, 1).Draw(t, "trusted"), 1}
			all = append(all, s)
			r.add(s, retry, 0)
		}
		now := int64(0)
		for _, s := range all {
			now = max(now, s.at)
		}
		want, wantTrusted := 0, 0
		for _, s := range all {
			if s.at > now-find {
				want++
				if s.trusted() {
					wantTrusted++
				}
			}
		}
		got, gotTrusted := r.sums(now-find, now)
		if min(int(gotTrusted), retry) != min(wantTrusted, retry) {
			t.Fatalf("score: trusted sum %d, want %d (maxretry %d)", gotTrusted, wantTrusted, retry)
		}
		if min(int(got), retry) != min(want, retry) {
			t.Fatalf("score: sum %d, want %d (maxretry %d)", got, want, retry)
		}
		if len(r.stamps) > 2*retry {
			t.Fatalf("score: %d stamps kept for maxretry %d", len(r.stamps), retry)
		}
	})
}

// Whatever lies on the disk is read as a record or refused, and what is read is written back as it was.
func FuzzRecord(f *testing.F) {
	r := record{strikes: []int64{5}, stamps: []stamp{{1, 2, 3, 4}}}
	r.banned(time.UnixMilli(7), event.Forever, true)
	f.Add(r.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var one, two record
		if one.read(b) != nil {
			return
		}
		again := one.appendTo(nil)
		if err := two.read(again); err != nil || !bytes.Equal(again, two.appendTo(nil)) {
			t.Errorf("score: %x reads as %+v, written %x, read %+v (%v)", b, one, again, two, err)
		}
	})
}
