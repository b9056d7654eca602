package value

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Duration is a span of time as fail2ban writes it: 30s 10m 1h 1d 1w 1mo 1y and sums of them (1h30m), bare seconds
// (31536000), or permanent, which is the longest time.Duration. A month has 30 days, a year 365.
type Duration struct {
	time.Duration
	Pos
}

const (
	day   = 24 * time.Hour
	week  = 7 * day
	month = 30 * day
	year  = 365 * day
)

// Longest unit first: formatting goes down the list.
var units = []struct {
	name string
	d    time.Duration
}{{"y", year}, {"mo", month}, {"w", week}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	d.Duration = v
	return err
}

// String returns the duration in the largest units that say it exactly: 1y, 1h30m, permanent.
func (d Duration) String() string { return FormatDuration(d.Duration) }

// ParseDuration reads a duration as Duration does.
func ParseDuration(s string) (time.Duration, error) {
	if s == "permanent" {
		return math.MaxInt64, nil
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		return times(n, time.Second)
	}
	if s == "" {
		return 0, errors.New("empty duration")
	}
	var sum time.Duration
	for rest := s; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseUint(rest[:digits], 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration: write 10m, 1h30m, 1d, 1w, 1mo, 1y, seconds, or permanent", s)
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		unit, ok := unitOf(rest[:letters])
		if !ok {
			return 0, fmt.Errorf("%q has no unit %q: use s, m, h, d, w, mo, y", s, rest[:letters])
		}
		rest = rest[letters:]
		v, err := times(n, unit)
		if err != nil || sum > math.MaxInt64-v {
			return 0, fmt.Errorf("%q is too long: for ever is written permanent", s)
		}
		sum += v
	}
	return sum, nil
}

// FormatDuration is the reverse of ParseDuration.
func FormatDuration(d time.Duration) string {
	if d == math.MaxInt64 {
		return "permanent"
	}
	if d < time.Millisecond {
		return "0s"
	}
	var s strings.Builder
	for _, u := range units {
		if n := d / u.d; n > 0 {
			fmt.Fprintf(&s, "%d%s", n, u.name)
			d -= n * u.d
		}
	}
	return s.String()
}

func unitOf(name string) (time.Duration, bool) {
	for _, u := range units {
		if u.name == name {
			return u.d, true
		}
	}
	return 0, false
}

func times(n uint64, unit time.Duration) (time.Duration, error) {
	if n > uint64(math.MaxInt64/int64(unit)) {
		return 0, errors.New("duration is too long: for ever is written permanent")
	}
	return time.Duration(n) * unit, nil
}
