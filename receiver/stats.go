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

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
