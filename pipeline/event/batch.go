package event

import "time"

// A Batch carries messages through the pipeline, and gathers what the stages find in them. Its slices and its buffer
// are reused: nothing in it may be kept beyond Done.
type Batch struct {
	Now      time.Time // the only clock that stages read
	Messages []Message
	Events   []Event
	Scores   []Score
	Bans     []Ban

	// Done gives the batch back to its maker, once, after the last stage. It may be called on any goroutine.
	Done func(*Batch)

	buf []byte
}

// NewBatch returns a batch with room for n messages of size bytes in all.
func NewBatch(n, size int) *Batch {
	return &Batch{Messages: make([]Message, 0, n), buf: make([]byte, 0, size)}
}

// Add copies raw into the batch as one message, and reports false when there is no room left.
func (b *Batch) Add(raw []byte, from *Sender, cut bool) bool {
	if len(b.Messages) == cap(b.Messages) || len(raw) > cap(b.buf)-len(b.buf) {
		return false
	}
	at, n := len(b.buf), len(b.Messages)
	b.buf = append(b.buf, raw...)
	b.Messages = b.Messages[:n+1] // what an earlier use left in it, the header stage overwrites
	m := &b.Messages[n]
	m.Raw, m.From, m.Cut = b.buf[at:len(b.buf):len(b.buf)], from, cut
	return true
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Messages, b.Events, b.Scores, b.Bans = b.Messages[:0], b.Events[:0], b.Scores[:0], b.Bans[:0]
	b.buf = b.buf[:0]
}

// Keep drops the events for which f reports false.
func (b *Batch) Keep(f func(*Event) bool) {
	kept := 0
	for i := range b.Events {
		if f(&b.Events[i]) {
			if kept != i {
				b.Events[kept] = b.Events[i]
			}
			kept++
		}
	}
	b.Events = b.Events[:kept]
}
