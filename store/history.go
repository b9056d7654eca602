package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Record appends the offender's record in the jail, as of the last commit that ended, to buf. It returns nil where there
// is none. What cannot be read counts as none, and is counted: the error is always nil.
func (s *Store) Record(jail string, p netip.Prefix, buf []byte) ([]byte, error) {
	if !keyable(jail, p) {
		return nil, nil
	}
	key := appendKey(make([]byte, 0, maxKey), tableRecord, jail, p)
	s.snapshot.mu.RLock()
	defer s.snapshot.mu.RUnlock()
	if s.snapshot.txn == nil {
		return nil, nil
	}
	v, err := get(s.snapshot.txn, key, buf)
	if err != nil {
		s.count.readErrors.Add(1)
		return nil, nil
	}
	return v, nil
}

// Group returns an empty group to fill. There are two: while the caller fills one and the committer writes the other,
// it returns nil. Committed tells when to ask again.
func (s *Store) Group() *Group {
	select {
	case g := <-s.free:
		return g
	default:
		return nil
	}
}

// Commit hands the group to the committer, and returns at once. The caller does not touch it again.
func (s *Store) Commit(g *Group) { s.full <- g } // never full: there are no more groups than it holds

// Committed receives when a commit has ended: Record sees what was written, and Group has a group again.
func (s *Store) Committed() <-chan struct{} { return s.committed }

func (s *Store) commitGroups(ctx context.Context) {
	for {
		select {
		case g := <-s.full:
			s.write(g)
		case <-ctx.Done():
			s.drainGroups()
			return
		}
	}
}

func (s *Store) drainGroups() {
	for {
		select {
		case g := <-s.full:
			s.write(g)
		default:
			return
		}
	}
}

// write puts a group on disk. What cannot be written is dropped and counted: holding it back would stop the judge, and
// with it all protection.
func (s *Store) write(g *Group) {
	n := &s.count
	n.droppedRecords.Add(uint64(g.droppedRecords))
	n.droppedEvidence.Add(uint64(g.droppedLines))
	err := s.space.room(len(g.arena))
	if err == nil {
		err = s.history.commit(g, expiry(s.retention))
		s.health.set(partHistory, err)
	}
	if err != nil {
		n.droppedRecords.Add(uint64(g.records))
		n.droppedEvidence.Add(uint64(g.lines))
	} else {
		n.commits.Add(1)
		n.records.Add(uint64(g.records))
		n.evidence.Add(uint64(g.lines))
		s.snapshot.renew(s.history.DB)
	}
	g.Reset()
	s.free <- g
	select {
	case s.committed <- struct{}{}:
	default:
	}
}

// expiry is when Badger forgets what is written now.
func expiry(retention time.Duration) uint64 { return uint64(time.Now().Add(retention).Unix()) }

// pendingTxns bounds the transactions that a batch has under way. Badger's 16 buy nothing, its batch waits for the last
// one before it begins the next, and each may hold 1.2 MB.
const pendingTxns = 2

// commit writes the group in one batch. When it returns, nothing refers to the group's memory.
func (db *database) commit(g *Group, expires uint64) error {
	wb := db.NewWriteBatch()
	wb.SetMaxPendingTxns(pendingTxns)
	if cap(g.entries) < len(g.items) {
		g.entries = make([]badger.Entry, len(g.items))
	}
	g.entries = g.entries[:len(g.items)]
	var err error
	g.each(func(i int, key, val []byte) {
		if err == nil {
			g.entries[i] = badger.Entry{Key: key, Value: val, ExpiresAt: expires}
			err = wb.SetEntry(&g.entries[i])
		}
	})
	err = finish(db, wb, err)
	clear(g.entries)
	return err
}

// finish flushes the batch unless it has failed already, and waits for its transactions in any case.
func finish(db *database, wb *badger.WriteBatch, err error) error {
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		wb.Cancel()
		return fmt.Errorf("%s: %w: %w", db.name, err, ErrDegraded)
	}
	return nil
}
