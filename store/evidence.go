package store

import (
	"net/netip"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Slots is how many lines of evidence an offender has in a jail. The caller deals them out in turn, so that a new line
// overwrites the oldest and nothing need be read.
const Slots = 10

// Evidence is one message that counted against an offender. Host, Program, User and Line are what the sender and the
// attacker chose to write.
type Evidence struct {
	Jail   string
	Prefix netip.Prefix // the offender
	Slot   uint8        // below Slots

	Time    time.Time
	Addr    netip.Addr // may be invalid
	Kind    event.Kind
	Sender  string // who sent the message
	Host    []byte
	Program []byte
	Filter  string
	Rule    string
	User    []byte
	Line    []byte // cut at 512 bytes
}

// What is kept of each field. RFC 5424, 6: HOSTNAME has at most 255 bytes, APP-NAME 48.
const (
	maxLine = 512
	maxHost = 255
	maxName = 128
)

const evidenceVersion = 1

func appendEvidence(b []byte, e *Evidence) []byte {
	b = append(b, evidenceVersion, byte(e.Kind))
	b = appendAddr(appendTime(b, e.Time), e.Addr)
	b = appendBytes(b, cut(e.Sender, maxHost))
	b = appendBytes(b, cut(e.Host, maxHost))
	b = appendBytes(b, cut(e.Program, maxName))
	b = appendBytes(b, cut(e.Filter, maxName))
	b = appendBytes(b, cut(e.Rule, maxLine))
	b = appendBytes(b, cut(e.User, maxHost))
	return appendBytes(b, cut(e.Line, maxLine))
}

// readEvidence returns evidence that points into b.
func readEvidence(b []byte) (e Evidence, err error) {
	d := decoder{b: b}
	if d.byte() != evidenceVersion {
		return e, errValue
	}
	e.Kind = event.Kind(d.byte())
	e.Time, e.Addr = d.time(), d.addr()
	e.Sender, e.Host, e.Program = d.string(), d.bytes(), d.bytes()
	e.Filter, e.Rule, e.User, e.Line = d.string(), d.string(), d.bytes(), d.bytes()
	if err := d.err(); err != nil {
		return Evidence{}, err
	}
	return e, nil
}
