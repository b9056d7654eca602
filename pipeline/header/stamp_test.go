package header

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTime(t *testing.T) {
	f := func(stamp, want string) { // want: the same moment in UTC, "" for none
		t.Helper()
		for _, raw := range []string{"<38>1 " + stamp + " srv sshd 77 - - msg", "<38>" + stamp + " srv sshd[77]: msg"} {
			m, _ := parse(raw)
			var at time.Time
			if want != "" {
				var err error
				if at, err = time.Parse(time.RFC3339Nano, want); err != nil {
					t.Fatal(err)
				}
			}
			if !m.Time.Equal(at) || m.Time.Location() != time.UTC {
				t.Errorf("header: %q: got %v, want %v", raw, m.Time, at)
			}
		}
	}
	f("2026-11-22T13:25:06Z", "2026-11-22T13:25:06Z")
	f("2026-11-22T13:25:06.1Z", "2026-11-22T13:25:06.1Z")
	f("2026-11-22T13:25:06.123456789Z", "2026-11-22T13:25:06.123456789Z")
	f("2026-11-22T13:25:06,5Z", "2026-11-22T13:25:06.5Z")
	f("2026-11-22T13:25:06.123456+02:00", "2026-11-22T11:25:06.123456Z")
	f("2026-11-22T13:25:06-0530", "2026-11-22T18:55:06Z")
	f("2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z")
	f("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z")
	f("2000-02-29T00:00:00+14:00", "2000-02-28T10:00:00Z")
	f("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z")
	f("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z")

	f("2026-11-22T13:25:06", "")       // no zone
	f("2026-11-22T13:25:06.123", "")   // no zone
	f("2026-11-22T13:25:06.Z", "")     // a point without digits
	f("2026-11-22T13:25:06+2", "")     // half a zone
	f("2026-11-22T13:25:06+24:00", "") // no zone goes that far
	f("2026-11-22T13:25:06.1234567890Z", "")
	f("2026-00-22T13:25:06Z", "")
	f("2026-11-31T13:25:06Z", "")
	f("2025-02-29T13:25:06Z", "")
	f("1900-02-29T13:25:06Z", "")
	f("2026-11-22T24:00:00Z", "")
	f("2026-11-22T13:60:00Z", "")
	f("2026-1a-22T13:00:00Z", "")
	f("202a-11-22T13:00:00Z", "")
	f("Nov 22 13:25:06", "")
	f("Nov 22 2026 13:25:06", "") // a year, but no zone
	f("-", "")
}

// Every moment that the time package writes is read back as it was.
func TestTimeOfEveryDay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sec := rapid.Int64Range(-62167219200, 253402300799).Draw(t, "sec") // years 0 to 9999
		nsec := rapid.Int64Range(0, 999999999).Draw(t, "nsec")
		east := rapid.IntRange(-23, 23).Draw(t, "east")
		want := time.Unix(sec, nsec).In(time.FixedZone("", east*3600+1800))
		if y := want.Year(); y < 0 || y > 9999 {
			t.Skip("the offset leads out of what a stamp can say")
		}
		stamp := want.Format(time.RFC3339Nano)
		got, n, zoned := iso([]byte(stamp))
		if !zoned || n != len(stamp) || !got.Equal(want) {
			t.Errorf("header: %s: got %v, %d, %v", stamp, got, n, zoned)
		}
	})
}
