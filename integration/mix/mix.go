// Package mix makes the log lines that benchmarks and load tests play at rapsheet: the same ones for the same seed, so
// that figures of two runs compare.
package mix

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// The mixes.
const (
	// Auth is an SSH server under attack: 60 % failures, 10 % closed connections, 30 % other traffic. The offenders are
	// Addresses, zipf-distributed (s 1.05, v 50): the first has 0.3 % of the
	// failures; of the 75,000 that a million lines hold, a third come once.
	Auth = "auth"
	// Quiet is a busy server: SSH sessions, cron, systemd, mail, kernel, sudo, and 1 % failures of the same offenders.
	Quiet = "quiet"
)

// A Format is how a line looks on the wire, its frame apart.
type Format int

// The formats.
const (
	RFC3164 Format = iota // RSYSLOG_TraditionalForwardFormat: <38>Nov 22 13:25:06 srv sshd[77]: text
	RFC5424               // RSYSLOG_SyslogProtocol23Format, with the second space it leaves before the text
)

// A Spec says which lines to make.
type Spec struct {
	Mix    string
	Format Format
	Lines  int
	Seed   int64
	End    time.Time     // stamp of the last line; zero: Epoch
	Span   time.Duration // from the first line to the last; zero: an hour
}

// Epoch is when lines end unless a Spec says otherwise.
var Epoch = time.Date(2026, time.November, 22, 13, 0, 0, 0, time.UTC)

// Addresses is how many offenders there are, one in twenty of them an IPv6 /64.
const Addresses = 100_000

// Lines returns n lines of a mix, as Spec.Make does.
func Lines(mix string, n int, format Format, seed int64) [][]byte {
	return Spec{Mix: mix, Format: format, Lines: n, Seed: seed}.Make()
}

// Make returns the lines that s says, oldest first and without LF. They lie one behind the other in a few large
// buffers: two million take about 300 MB. It panics on a mix or a format that is none.
func (s Spec) Make() [][]byte {
	kinds, ok := mixes[s.Mix]
	if !ok {
		panic(fmt.Sprintf("mix: no mix %q", s.Mix))
	}
	if s.Format != RFC3164 && s.Format != RFC5424 {
		panic(fmt.Sprintf("mix: no format %d", s.Format))
	}
	if s.End.IsZero() {
		s.End = Epoch
	}
	if s.Span == 0 {
		s.Span = time.Hour
	}
	r := rand.New(rand.NewPCG(uint64(s.Seed), 0))
	w := &writer{format: s.Format, rand: r, zipf: rand.NewZipf(r, 1.05, 50, Addresses-1), pid: 20000}
	deck := deal(kinds)
	lines := make([][]byte, 0, s.Lines)
	var buf []byte
	for i := range s.Lines {
		if cap(buf)-len(buf) < longest {
			buf = make([]byte, 0, chunk)
		}
		at := len(buf)
		back := time.Duration(float64(s.Span) * (1 - float64(i+1)/float64(s.Lines)))
		buf = w.line(buf, deck[r.IntN(len(deck))], s.End.Add(-back))
		lines = append(lines, buf[at:len(buf):len(buf)])
	}
	return lines
}

const (
	chunk   = 1 << 20
	longest = 1 << 10 // no line is as long
)
