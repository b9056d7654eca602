package receiver

import (
	"net/netip"
	"time"
)

// Stats are what one listener has counted since it was opened.
//
//	received = processed + dropped["full"]    once everything is idle
//	sent     = received + dropped["kernel"]   by UDP, apart from empty datagrams and refused senders
type Stats struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // unix, tcp, udp
	Trusted bool   `json:"trusted"`

	Received  uint64 `json:"received"`  // messages taken from allowed senders, cut and malformed ones included
	Processed uint64 `json:"processed"` // messages whose batch came back from the pipeline
	Bytes     uint64 `json:"bytes"`     // of the messages received, as far as they were kept
	Cut       uint64 `json:"cut"`       // messages longer than max_line, or unfinished when the connection ended
	Malformed uint64 `json:"malformed"` // frames whose count lied, and what the header stage adds

	Refused map[string]uint64 `json:"refused"` // never part of received: see the Refused constants
	Dropped map[string]uint64 `json:"dropped"` // see the Dropped constants

	Connections  int           `json:"connections"`   // TCP connections open now
	AcceptErrors uint64        `json:"accept_errors"` // connections that the kernel would not give us: too many open files
	Panics       uint64        `json:"panics"`        // mistakes of this program that were survived
	Last         time.Time     `json:"last,omitzero"` // when the newest message came
	Senders      []SenderStats `json:"senders"`       // in order of appearance, at most 4097
}

// The reasons in Stats.Refused.
const (
	RefusedSender      = "sender"      // the address is not in senders: datagrams by UDP, connections by TCP
	RefusedUID         = "uid"         // the account is not in uids, or not known: datagrams by unix, connections by TCP
	RefusedConnections = "connections" // the address has too many connections open
)

// The reasons in Stats.Dropped.
const (
	DroppedKernel = "kernel" // the socket's buffer was full: never received. Exact: SO_MEMINFO
	DroppedFull   = "full"   // received, but the pipeline took nothing for too long
)

// SenderStats are what one peer of a listener has sent. A peer is an address, or an account on a unix socket.
type SenderStats struct {
	Addr string `json:"addr"` // empty on a unix socket
	UID  int    `json:"uid"`  // -1: not known
	Name string `json:"name,omitempty"`

	Received    uint64    `json:"received"`
	Bytes       uint64    `json:"bytes"`
	Cut         uint64    `json:"cut"`
	Malformed   uint64    `json:"malformed"`
	Dropped     uint64    `json:"dropped"`
	Failures    uint64    `json:"failures"`
	Ineffective uint64    `json:"ineffective"`
	Last        time.Time `json:"last,omitzero"`
}

// Stats are the counters of each listener, in the order of the configuration.
func (r *Receiver) Stats() []Stats {
	list := make([]Stats, 0, len(r.listeners))
	for _, l := range r.listeners {
		list = append(list, l.stats())
	}
	return list
}

func (l *listener) stats() Stats {
	if l.ask != nil {
		l.ask()
	}
	st := Stats{
		Name: l.cfg.Name.S, Kind: l.cfg.Kind(), Trusted: l.cfg.Trusted.B,
		Processed:    l.feed.count(), // before received, so that it is never more
		Connections:  l.roll.len(),
		AcceptErrors: l.acceptErrors.Load(),
		Panics:       l.panics.Load(),
		Refused: map[string]uint64{
			RefusedSender: l.refused.sender.Load(), RefusedUID: l.refused.uid.Load(), RefusedConnections: l.refused.connections.Load(),
		},
		Senders: []SenderStats{},
	}
	var full uint64
	var last int64
	for _, s := range l.roster.all() {
		e := SenderStats{
			Addr: addrText(s.Addr), UID: s.UID, Name: s.Name,
			Received: s.Received.Load(), Bytes: s.Bytes.Load(), Cut: s.Cut.Load(), Malformed: s.Malformed.Load(),
			Dropped: s.Dropped.Load(), Failures: s.Failures.Load(), Ineffective: s.Ineffective.Load(),
			Last: stamp(s.Last.Load()),
		}
		st.Received += e.Received
		st.Bytes += e.Bytes
		st.Cut += e.Cut
		st.Malformed += e.Malformed
		full += e.Dropped
		last = max(last, s.Last.Load())
		st.Senders = append(st.Senders, e)
	}
	st.Last = stamp(last)
	st.Dropped = map[string]uint64{DroppedKernel: l.lost.load(), DroppedFull: full}
	return st
}

// received is how many messages the listener has taken.
func (l *listener) received() uint64 {
	var n uint64
	for _, s := range l.roster.all() {
		n += s.Received.Load()
	}
	return n
}

func stamp(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
