package receiver

import (
	"sync"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// The number of connections that one sender may have open. rsyslog has one per action; each costs us a goroutine and at
// most 64 KiB, and all of them together must not take the daemon's file descriptors.
const maxConnections = 1000

// A roll holds a listener's open connections.
type roll struct {
	mu   sync.Mutex
	last uint64
	all  map[uint64]*stream
	per  map[*event.Sender]int
	gone sync.Cond // somebody left
}

func newRoll() *roll {
	r := &roll{all: map[uint64]*stream{}, per: map[*event.Sender]int{}}
	r.gone.L = &r.mu
	return r
}

// enter adds a connection of the sender, and reports false where it has too many. The stream is made under a new number.
func (r *roll) enter(from *event.Sender, make func(id uint64) (*stream, error)) (*stream, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.per[from] >= maxConnections {
		return nil, false, nil
	}
	s, err := make(r.last + 1)
	if err != nil {
		return nil, false, err
	}
	r.last++
	r.all[r.last] = s
	r.per[from]++
	return s, true, nil
}

func (r *roll) leave(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.all[id]
	if !ok {
		return
	}
	delete(r.all, id)
	if r.per[s.from]--; r.per[s.from] == 0 {
		delete(r.per, s.from)
	}
	r.gone.Broadcast()
}

// find returns the connection of a number, nil where it is gone.
func (r *roll) find(id uint64) *stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[id]
}

func (r *roll) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// each calls f for every open connection. f must not close it.
func (r *roll) each(f func(*stream)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.all {
		f(s)
	}
}

// empty waits until every connection has left.
func (r *roll) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.all) > 0 {
		r.gone.Wait()
	}
}
