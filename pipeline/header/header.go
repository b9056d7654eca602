// Package header reads the header of a syslog message: RFC 5424, RFC 3164 as daemons really write it, and the lines of
// log files. It copies nothing and allocates nothing: every field is a slice of the message's Raw.
package header

import (
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A Stage is the pipeline's first: it parses every message of a batch. It keeps no state, so that any number of
// goroutines may share one, each with a batch of its own.
type Stage struct{}

// New returns the stage.
func New() *Stage { return &Stage{} }

// Process parses b's messages and counts the malformed ones on their senders.
func (*Stage) Process(b *event.Batch) {
	for i := range b.Messages {
		m := &b.Messages[i]
		if !Parse(m) && m.From != nil {
			m.From.Malformed.Add(1)
		}
	}
}

// Parse sets every parsed field of m from m.Raw, whatever m held before, and reports whether the header is one that the
// RFCs allow. What can't be read stays in Text, so that a malformed message is still traffic.
//
// RFC 3164, 4.3 allows any text, with or without PRI: malformed are an empty message, a PRI that is none or above 191,
// a PRI with nothing behind it, and RFC 5424 messages that break its grammar (not its lengths: a tag of a long domain
// passes 48 characters).
func Parse(m *event.Message) bool {
	s := trim(m.Raw)
	m.Facility, m.Severity, m.Time = 1, 5, time.Time{}
	m.Host, m.Program, m.PID, m.Text = nil, nil, nil, nil
	if len(s) == 0 {
		return false
	}
	if s[0] != '<' {
		readBSD(m, s)
		return true
	}
	pri, n := priority(s)
	if n == 0 {
		m.Text = s
		return false
	}
	m.Facility, m.Severity = pri>>3, pri&7
	s = s[n:]
	switch {
	case len(s) == 0:
		return false
	case len(s) > 1 && s[0] == '1' && s[1] == ' ':
		return readIETF(m, s[2:])
	}
	readBSD(m, s)
	return true
}

// trim cuts what framing and C leave behind a message.
func trim(s []byte) []byte {
	n := len(s)
	for n > 0 && (s[n-1] == '\n' || s[n-1] == '\r' || s[n-1] == 0) {
		n--
	}
	return s[:n:n]
}

// priority reads <PRI>, 0 to 191 without leading zeros (RFC 5424, 6.2.1). n is 0 where there is none.
func priority(s []byte) (pri uint8, n int) {
	v, i := 0, 1
	for i < len(s) && i < 4 && s[i]-'0' <= 9 {
		v = v*10 + int(s[i]-'0')
		i++
	}
	if i == 1 || i == len(s) || s[i] != '>' || v > 191 || s[1] == '0' && i > 2 {
		return 0, 0
	}
	return uint8(v), i + 1
}
