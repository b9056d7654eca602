package receiver

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func put(f *feed, s string) bool {
	f.begin()
	defer f.end()
	return f.add([]byte(s), nil, false)
}

// An idle pipeline gets the first message at once, and what comes while it is busy in one batch.
func TestFeedAtOnceThenFull(t *testing.T) {
	f := newFeed(0)
	out := make(chan *event.Batch)
	ended := make(chan struct{})
	f.out = out
	go func() { defer close(ended); f.pump() }()
	put(f, "one")
	b := <-out
	if len(b.Messages) != 1 || string(b.Messages[0].Raw) != "one" || b.Now.IsZero() {
		t.Errorf("first: got %d messages", len(b.Messages))
	}
	for i := range batchMessages { // fits into the other batch, even while out is not read
		put(f, fmt.Sprint(i))
	}
	blocked := make(chan struct{})
	go func() { put(f, "last"); close(blocked) }()
	b2 := <-out
	f.mu.Lock()
	full := f.cur == nil && len(f.free) == 0
	f.mu.Unlock()
	if len(b2.Messages) != batchMessages || !full {
		t.Errorf("second: got %d messages, want %d", len(b2.Messages), batchMessages)
	}
	b.Done(b)
	<-blocked
	b2.Done(b2)
	b = <-out
	if string(b.Messages[0].Raw) != "last" {
		t.Errorf("third: got %q", b.Messages[0].Raw)
	}
	f.close()
	select {
	case <-ended:
		t.Error("pump ended while a batch was out")
	default:
	}
	b.Done(b)
	<-ended
	if got := f.count(); got != batchMessages+2 {
		t.Errorf("processed: got %d, want %d", got, batchMessages+2)
	}
}

// What was added is handed over even if the feed is closed before pump begins.
func TestFeedClose(t *testing.T) {
	f := newFeed(0)
	put(f, "one")
	f.close()
	out := make(chan *event.Batch, 1)
	var wg sync.WaitGroup
	f.out = out
	wg.Go(f.pump)
	b := <-out
	b.Done(b)
	wg.Wait()
}

func TestFeedPatience(t *testing.T) {
	f := newFeed(time.Millisecond)
	out := make(chan *event.Batch)
	var wg sync.WaitGroup
	f.out = out
	wg.Go(f.pump)
	kept := 0
	both := func() bool { // pump offers one batch, and the other is full
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.free) == 0 && f.cur != nil && len(f.cur.Messages) == batchMessages && f.fedUp
	}
	for !both() {
		if put(f, "x") {
			kept++
		}
	}
	for range 10 { // fed up: drops at once, until a batch comes back
		if put(f, "x") {
			t.Error("room in a full feed")
		}
	}
	b := <-out
	got := len(b.Messages)
	b.Done(b)
	if !put(f, "y") {
		t.Error("no room after a batch came back")
	}
	f.close()
	for got < kept+1 {
		b := <-out
		got += len(b.Messages)
		b.Done(b)
	}
	if got != kept+1 {
		t.Errorf("handed over: got %d, want %d", got, kept+1)
	}
}

func TestFeedManyHandlers(t *testing.T) {
	f := newFeed(0)
	out := make(chan *event.Batch)
	var pump, work, handlers sync.WaitGroup
	f.out = out
	pump.Go(func() { f.pump(); close(out) })
	var mu sync.Mutex
	total := 0
	for range 3 {
		work.Go(func() {
			for b := range out {
				mu.Lock()
				total += len(b.Messages)
				mu.Unlock()
				b.Done(b)
			}
		})
	}
	const each = 20000
	for range 20 {
		handlers.Go(func() {
			for range each / 10 {
				f.begin()
				for range 10 {
					f.add([]byte("some message of no great length"), nil, false)
				}
				f.end()
			}
		})
	}
	handlers.Wait()
	f.close()
	pump.Wait()
	work.Wait()
	if total != 20*each {
		t.Errorf("got %d messages, want %d", total, 20*each)
	}
}
