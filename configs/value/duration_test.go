package value

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	f := func(in string, want time.Duration) {
		t.Helper()
		got, err := ParseDuration(in)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
	f("0", 0)
	f("0s", 0)
	f("30s", 30*time.Second)
	f("10m", 10*time.Minute)
	f("1h30m", 90*time.Minute)
	f("1d", 24*time.Hour)
	f("1w", 7*24*time.Hour)
	f("1mo", 30*24*time.Hour)
	f("1y", 365*24*time.Hour)
	f("31536000", 365*24*time.Hour)
	f("250ms", 250*time.Millisecond)
	f("1m1mo", 30*24*time.Hour+time.Minute) // any order
	f("permanent", math.MaxInt64)
	f("9223372036", 9223372036*time.Second)
}

func TestParseDurationErrors(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, err := ParseDuration(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %q", in, got, err, want)
		}
	}
	f("", "empty duration")
	f("-1", "no duration")
	f("-5m", "no duration")
	f("10M", `no unit "`)
	f("10 m", `no unit "`)
	f("m", "no duration")
	f("1.5h", "no unit")
	f("3 weeks", "no unit")
	f("5x", `no unit "x"`)
	f("9223372037", "too long")
	f("300y", "too long")
	f("292y1y", "too long")
	f("99999999999999999999", "no duration")
	f("99999999999999999999s", "no duration")
	f("1h\x1b[31m", `"1h\x1b[31m" is no duration`)
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"1y2mo3w4d5h6m7s8ms", "permanent", "600", "292y", "1m1mo"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q: got %d, want none below zero", s, d)
		}
		again, err := ParseDuration(FormatDuration(d))
		if err != nil || again != d {
			t.Fatalf("%q: formatted as %q: got %v, %v, want %v", s, FormatDuration(d), again, err, d)
		}
	})
}

func TestFormatDuration(t *testing.T) {
	f := func(in time.Duration, want string) {
		t.Helper()
		if got := FormatDuration(in); got != want {
			t.Errorf("%d: got %q, want %q", in, got, want)
		}
	}
	f(0, "0s")
	f(time.Microsecond, "0s")
	f(90*time.Minute, "1h30m")
	f(400*24*time.Hour, "1y1mo5d")
	f(math.MaxInt64, "permanent")
	f(math.MaxInt64-1, "292y5mo3w23h47m16s854ms")
}
