package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A change is one step of one ban: a new state, or, without done and with ended, the end of its record.
type change struct {
	ban   event.Ban
	done  func(error)
	ended bool // only Jail, Prefix and Seq of the ban are set
}

const (
	// maxWaiting is how many changes wait for the committer before PutBan waits too.
	maxWaiting = 1 << 16
	// maxPending is how many changes wait for a full disk.
	maxPending = 1 << 16
	// batchBans bounds one batch, and so how long the first ban of a flood waits for its report.
	batchBans = 4096
)

// changes is the queue to the committer of bans.
type changes struct {
	mu      sync.Mutex
	room    sync.Cond // waiting is below maxWaiting, or nobody takes any more
	waiting []change
	held    int // pending at the committer
	running bool
	closed  bool

	wake chan struct{}

	pend []change // the committer's: what the disk did not take
}

func (c *changes) init() {
	c.room.L = &c.mu
	c.wake = make(chan struct{}, 1)
}

// add queues a change, and reports false after the end.
func (c *changes) add(ch change) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) >= maxWaiting && c.running {
		c.room.Wait()
	}
	if c.closed {
		return false
	}
	c.waiting = append(c.waiting, ch)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return true
}

// take appends up to n waiting changes to to.
func (c *changes) take(to []change, n int) []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, len(c.waiting))
	to = append(to, c.waiting[:n]...)
	left := copy(c.waiting, c.waiting[n:])
	clear(c.waiting[left:])
	c.waiting = c.waiting[:left]
	if left == 0 && cap(c.waiting) > batchBans {
		c.waiting = nil
	}
	c.room.Broadcast()
	return to
}

func (c *changes) setRunning(v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = v
	c.room.Broadcast()
}

func (c *changes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *changes) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) + c.held
}

// PutBan writes the ban's state, after all that were put before it, and appends it to the offender's ban log. done is
// called once it survives the end of the process, on the committer's goroutine: it must not block and must not call
// PutBan. While the disk is full or broken, done gets an error that wraps ErrDegraded, and the state waits in memory
// until it can be written. done may be nil. PutBan waits only while 65,536 states do.
func (s *Store) PutBan(b event.Ban, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if !keyable(b.Jail, b.Prefix) {
		done(fmt.Errorf("store: ban of %s in jail %q makes no key", b.Prefix, cut(b.Jail, maxJail)))
		return
	}
	b.Prefix = b.Prefix.Masked()
	if !s.changes.add(change{ban: b, done: done}) {
		done(ErrClosed)
		return
	}
	for old := s.seq.Load(); b.Seq > old && !s.seq.CompareAndSwap(old, b.Seq); old = s.seq.Load() {
	}
}

// Expire drops the running record of a ban that has ended, if its Seq is still seq. The log keeps it.
func (s *Store) Expire(jail string, p netip.Prefix, seq uint64) {
	if keyable(jail, p) {
		s.changes.add(change{ban: event.Ban{Jail: jail, Prefix: p.Masked(), Seq: seq}, ended: true})
	}
}

// retryEvery is how often what a full disk did not take is tried again.
const retryEvery = time.Second

func (s *Store) commitBans(ctx context.Context) {
	c := &s.changes
	c.setRunning(true)
	defer c.setRunning(false)
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		select {
		case <-c.wake:
			s.drainBans()
		case <-retry.C:
			_ = s.flushPending() // health tells
		case <-ctx.Done():
			s.drainBans()
			return
		}
	}
}

func (s *Store) drainBans() {
	var batch []change
	for {
		batch = s.changes.take(batch[:0], batchBans)
		if len(batch) == 0 {
			return
		}
		s.put(batch)
	}
}

// put writes a batch, behind what waits already, and tells how it went.
func (s *Store) put(batch []change) {
	err := s.flushPending()
	if err == nil {
		err = s.commitChanges(batch)
	}
	if err != nil {
		s.hold(batch)
		err = fmt.Errorf("store: %w", err)
	}
	for i := range batch {
		if batch[i].done != nil {
			batch[i].done(err)
		}
	}
}

// hold keeps what could not be written. When there is too much, what is over or overtaken goes first, then what is newest.
func (s *Store) hold(batch []change) {
	c := &s.changes
	pend := append(c.pend, batch...)
	if len(pend) > maxPending {
		before := len(pend)
		pend = newestOnly(pend, time.Now())
		pend = pend[:min(len(pend), maxPending)]
		s.count.droppedBans.Add(uint64(before - len(pend)))
	}
	for i := range pend {
		pend[i].done = nil // told already
	}
	s.setPending(pend)
}

func (s *Store) setPending(pend []change) {
	c := &s.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pend, c.held = pend, len(pend)
}

// newestOnly keeps the last change of each (jail, prefix), and of these what still runs or ends something.
func newestOnly(all []change, now time.Time) []change {
	type key struct {
		jail   string
		prefix netip.Prefix
	}
	seen := make(map[key]bool, len(all))
	var kept []change
	for _, ch := range slices.Backward(all) {
		k := key{ch.ban.Jail, ch.ban.Prefix}
		if !seen[k] && (ch.ended || ch.ban.Lifted || ch.ban.Active(now)) {
			kept = append(kept, ch)
		}
		seen[k] = true
	}
	slices.Reverse(kept)
	return kept
}

// flushPending tries again what the disk did not take.
func (s *Store) flushPending() error {
	for pend := s.changes.pend; len(pend) > 0; {
		n := min(len(pend), batchBans)
		if err := s.commitChanges(pend[:n]); err != nil {
			return err
		}
		if pend = pend[n:]; len(pend) == 0 {
			pend = nil // and with it what it lay in
		}
		s.setPending(pend)
	}
	return nil
}

// finish writes what Run did not, and takes nothing more.
func (s *Store) finish() {
	s.changes.close()
	s.drainGroups()
	s.drainBans()
	_ = s.flushPending()
	if n := len(s.changes.pend); n > 0 {
		s.log.Error().Int("bans", n).Msg("store: closed with bans that could not be written")
	}
	s.sync()
}

// banSize is more than a state takes in both its places.
const banSize = 2048

// commitChanges writes changes in one batch, in order.
func (s *Store) commitChanges(batch []change) error {
	if err := s.space.room(len(batch) * banSize); err != nil {
		return err
	}
	wb := s.bans.NewWriteBatch()
	err := s.fill(wb, batch)
	err = finish(s.bans, wb, err)
	s.health.set(partBans, err)
	if err != nil {
		return err
	}
	for i := range batch {
		if !batch[i].ended {
			s.count.bans.Add(1)
		}
	}
	select {
	case s.dirty <- struct{}{}:
	default:
	}
	return nil
}

func (s *Store) fill(wb *badger.WriteBatch, batch []change) error {
	expires := expiry(s.retention)
	var seq uint64
	latest := make(map[string]uint64) // key of a running ban: its Seq after what the batch holds so far, 0 for none
	for i := range batch {
		b := &batch[i].ban
		key := appendKey(nil, tableBan, b.Jail, b.Prefix)
		if batch[i].ended {
			at, ok := latest[string(key)]
			if !ok {
				at = s.storedSeq(key)
			}
			if at == b.Seq {
				latest[string(key)] = 0
				if err := wb.Delete(key); err != nil {
					return err
				}
			}
			continue
		}
		seq = max(seq, b.Seq)
		val := appendBan(nil, b)
		line := binary.BigEndian.AppendUint64(appendPrefix(nil, tableLog, b.Prefix), b.Seq)
		err := wb.SetEntry(&badger.Entry{Key: line, Value: val, ExpiresAt: expires})
		// No TTL on what runs: a clock that jumps must not lift bans.
		if b.Lifted {
			latest[string(key)] = 0
			err = errors.Join(err, wb.Delete(key))
		} else {
			latest[string(key)] = b.Seq
			err = errors.Join(err, wb.Set(key, val))
		}
		if err != nil {
			return err
		}
	}
	if seq == 0 {
		return nil
	}
	return wb.Set(keySeq, binary.BigEndian.AppendUint64(nil, max(seq, s.seq.Load())))
}

// storedSeq is the Seq of a running ban on disk, 0 where there is none.
func (s *Store) storedSeq(key []byte) uint64 {
	v, err := s.bans.value(key)
	if err == nil && v == nil {
		return 0
	}
	b, err2 := readBan(v)
	if err != nil || err2 != nil {
		s.count.readErrors.Add(1)
		return 0
	}
	return b.Seq
}
