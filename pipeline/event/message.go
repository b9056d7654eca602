package event

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// A Sender is one peer of one listener: a connection's address, a UDP peer, or the account behind a unix socket.
// The receiver makes it, fills the fixed fields before the first message, and shares it by all goroutines.
type Sender struct {
	Addr     netip.Addr // the peer's address, unmapped; invalid for unix sockets
	Name     string     // the peer's certified name, else empty
	UID      int        // the peer's user id where the kernel knows it, else -1
	Listener string     // the listener's name, as status shows it
	Trusted  bool       // false where the sender can be forged or is so configured

	Received    atomic.Uint64 // messages taken, cut ones included
	Bytes       atomic.Uint64 // their bytes
	Cut         atomic.Uint64 // messages longer than the limit, or unfinished at the end
	Malformed   atomic.Uint64 // frames whose count lied, and headers that no RFC allows
	Dropped     atomic.Uint64 // messages dropped because the pipeline was full
	Failures    atomic.Uint64 // events of kind Failure
	Ineffective atomic.Uint64 // events of an offender long after its ban was applied
	Last        atomic.Int64  // Unix nanoseconds of the newest message
}

// Local reports whether the sender is on this host, so that bans set here protect it.
func (s *Sender) Local() bool { return !s.Addr.IsValid() || s.Addr.IsLoopback() }

// A Message is one syslog message. Raw lies in its batch's buffer, and every other slice lies inside Raw: all are
// valid until Batch.Done.
type Message struct {
	Raw  []byte
	From *Sender
	Cut  bool // longer than the limit or unfinished: never becomes an event, for half an address is another address

	Facility, Severity uint8     // RFC 5424, 6.2.1; user.notice without a PRI
	Time               time.Time // the stamp, where it has year and zone; else zero
	Host               []byte
	Program            []byte // RFC 3164's tag without its pid, RFC 5424's APP-NAME
	PID                []byte
	Text               []byte // what the program said, without the space or BOM before it and the LF or NUL behind
}
