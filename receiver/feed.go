package receiver

import (
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Each listener has two batches of this size. 256 KiB holds all of the largest block (64 KiB) many times over, and 4096
// messages of the usual 60 bytes and more fill it: both ends are reached at about the same time.
const (
	batchMessages = 4096
	batchBytes    = 256 << 10
)

// A feed hands the messages of one listener to the pipeline. Handlers fill one batch while the pipeline has the other: it is
// sent when the other comes back, or when it is full. So an idle pipeline gets a message at once and a busy one gets full
// batches, and there is no timer. To send it as soon as somebody takes it would make every batch as small as what one read
// brings, for the pipeline always has a goroutine that takes.
type feed struct {
	out      chan<- *event.Batch // set before the first end
	patience time.Duration       // how long fill waits for room before it drops; 0: for ever

	mu        sync.Mutex
	room      sync.Cond // a batch may have room again
	filled    sync.Cond // cur has messages, a batch came back, or the feed is closed
	cur       *event.Batch
	late      *event.Batch // taken by end when nobody received
	sending   bool         // end has a batch that is not sent yet: no other may overtake it
	full      bool         // somebody waits for room behind cur
	free      []*event.Batch
	closed    bool
	processed uint64

	timer   *time.Timer // ends a wait for room
	until   time.Time   // when patience ends; zero: nobody waits
	fedUp   bool        // patience has ended, and nothing went or came back since
	batches int
}

func newFeed(patience time.Duration) *feed {
	f := &feed{patience: patience, batches: 2}
	f.room.L, f.filled.L = &f.mu, &f.mu
	for range f.batches {
		b := event.NewBatch(batchMessages, batchBytes)
		b.Done = f.done
		f.free = append(f.free, b)
	}
	if patience > 0 {
		f.timer = time.AfterFunc(time.Hour, f.expire)
		f.timer.Stop()
	}
	return f
}

// begin opens the feed for add. Other handlers wait until end.
func (f *feed) begin() { f.mu.Lock() }

// end closes what begin has opened, and sends what was added if the pipeline waits for it. The pump could do that too, but to
// wake it costs more than all the rest.
func (f *feed) end() {
	var b *event.Batch
	if f.idleLocked() { // else late might be taken
		b = f.takeLocked()
	}
	f.sending = f.sending || b != nil
	f.room.Signal() // who waited next may find room too
	f.mu.Unlock()
	if b == nil {
		return
	}
	b.Now = time.Now()
	sent := false
	select {
	case f.out <- b:
		sent = true
	default:
	}
	f.mu.Lock()
	f.sending = false
	if !sent {
		f.late = b
	}
	if !sent || f.cur != nil || f.closed {
		f.filled.Signal()
	}
	f.mu.Unlock()
}

// add copies a message into a batch. It waits until there is room, and reports false when patience ended first.
func (f *feed) add(raw []byte, from *event.Sender, cut bool) bool {
	for {
		if f.cur == nil && len(f.free) > 0 {
			last := len(f.free) - 1
			f.cur, f.free = f.free[last], f.free[:last]
			f.cur.Reset()
		}
		if f.cur != nil && f.cur.Add(raw, from, cut) {
			return true
		}
		if !f.waitLocked() {
			return false
		}
	}
}

func (f *feed) waitLocked() bool {
	if f.fedUp {
		return false
	}
	f.full = f.cur != nil
	f.filled.Signal()
	if f.patience == 0 {
		f.room.Wait()
		return true
	}
	f.until = time.Now().Add(f.patience)
	f.timer.Reset(f.patience)
	f.room.Wait()
	f.timer.Stop()
	f.until = time.Time{}
	return !f.fedUp
}

// expire ends the wait that until stands for. It may come late, when another wait has begun: that one goes on.
func (f *feed) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.until.IsZero() && !time.Now().Before(f.until) {
		f.fedUp = true
		f.room.Broadcast()
	}
}

// done is every batch's Done.
func (f *feed) done(b *event.Batch) {
	f.mu.Lock()
	f.processed += uint64(len(b.Messages))
	f.free = append(f.free, b)
	f.fedUp = false
	f.room.Signal()
	if f.closed || f.cur != nil { // the pump is woken only for something to do
		f.filled.Signal()
	}
	f.mu.Unlock()
}

// pump sends what the handlers could not until close, and returns when every batch came back.
func (f *feed) pump() {
	for {
		b := f.take()
		if b == nil {
			return
		}
		b.Now = time.Now()
		f.out <- b
	}
}

// take waits for a batch with messages. It returns nil when the feed is closed and every batch is back.
func (f *feed) take() *event.Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if b := f.late; b != nil {
			f.late = nil
			return b
		}
		if f.sending {
			f.filled.Wait()
			continue
		}
		if b := f.takeLocked(); b != nil {
			f.room.Signal()
			return b
		}
		if f.closed && f.idleLocked() {
			return nil
		}
		f.filled.Wait()
	}
}

// takeLocked takes the batch being filled, if it is to be sent now.
func (f *feed) takeLocked() *event.Batch {
	b := f.cur
	if b == nil || len(b.Messages) == 0 || !f.idleLocked() && !f.full && !f.closed {
		return nil
	}
	f.cur, f.full, f.fedUp = nil, false, false
	return b
}

// idleLocked reports whether the pipeline has no batch.
func (f *feed) idleLocked() bool {
	back := len(f.free)
	if f.cur != nil {
		back++
	}
	return back == f.batches
}

// close tells pump that no handler will add any more.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	f.filled.Signal()
	f.mu.Unlock()
}

func (f *feed) count() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.processed
}
