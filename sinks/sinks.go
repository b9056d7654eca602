// Package sinks makes bans true in the world. A sink is one place where they are to hold: the kernel, a mail, another
// host. Fanout hands every sink the bans of its jails, and keeps a slow or broken one from holding up anybody else.
package sinks

import (
	"context"
	"iter"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A Sink makes bans true somewhere. A ban is the whole state of one (Jail, Prefix): what is lifted, ended or observed is
// to be removed. Apply is idempotent, for a batch is sent again after an error. It must not keep the slice. It is called
// by one goroutine at a time, and is to return when ctx ends.
//
// An error means that none of the bans can be relied on, unless it has one of these methods:
//
//	Unapplied() (retry, refused []event.Ban) // all others were applied; refused ones are not sent again
//	Lost() bool                              // true: the sink has lost what it held and needs a Sync
type Sink interface {
	Name() string
	Apply(ctx context.Context, bans []event.Ban) error
}

// A Syncer is a sink that can be told all that is to hold there: what it holds besides, it removes. The bans are those
// that are enforced and concern the sink; the sequence may be ranged over more than once, until Sync returns.
type Syncer interface {
	Sync(ctx context.Context, bans iter.Seq[event.Ban]) error
}

// Stats is what one sink has done.
type Stats struct {
	Name     string `json:"name"`
	Pending  int    `json:"pending"`         // bans that wait, or are being applied
	Applied  uint64 `json:"applied"`         // bans and removals that are true there
	Replaced uint64 `json:"replaced"`        // states that a newer one overtook while they waited
	Stopped  uint64 `json:"stopped"`         // bans that the last gate kept from it: never-banned, or observed
	Refused  uint64 `json:"refused"`         // bans that the sink can never apply
	Failures uint64 `json:"failures"`        // calls that returned an error
	Syncs    uint64 `json:"syncs"`           // full refills that succeeded
	Overflow uint64 `json:"overflow"`        // how often the pending set was full
	Dropped  uint64 `json:"dropped"`         // states lost by that: only where the sink can't be refilled
	Behind   bool   `json:"behind"`          // a full refill is due
	Error    string `json:"error,omitempty"` // of the last call, empty after a success
}
