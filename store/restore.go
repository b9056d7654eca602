package store

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const (
	// restoreChunk is how many bans are in memory at once: about 5 MB.
	restoreChunk = 1 << 14
	// forgetAfter is how long after its end a ban that nobody expired, because no daemon ran, is dropped.
	forgetAfter = 7 * 24 * time.Hour
	// maxForget bounds how many of these one start drops.
	maxForget = 10000
)

// Bans yields the bans that run now, until yield returns false: those that last longest first, of these the newest
// first. Beyond 16,384 that order holds within each 16,384, for all of them do not fit into memory.
func (s *Store) Bans(yield func(event.Ban) bool) error {
	now := time.Now()
	chunk := make([]event.Ban, 0, 256)
	var over []event.Ban
	more := true
	flush := func() {
		slices.SortFunc(chunk, func(a, b event.Ban) int {
			return cmp.Or(b.Until.Compare(a.Until), b.Issued.Compare(a.Issued), cmp.Compare(b.Seq, a.Seq))
		})
		for i := range chunk {
			if more = more && yield(chunk[i]); !more {
				return
			}
		}
		chunk = chunk[:0]
	}
	err := s.running(func(b event.Ban) bool {
		switch {
		case b.Active(now):
			chunk = append(chunk, b)
		case now.Sub(b.Until) > forgetAfter && len(over) < maxForget:
			over = append(over, b)
		}
		if len(chunk) == restoreChunk {
			flush()
		}
		return more
	})
	if err == nil && more {
		flush()
	}
	for i := range over {
		s.Expire(over[i].Jail, over[i].Prefix, over[i].Seq)
	}
	return err
}

// running yields the records of running bans, ended ones included, in the order of their keys.
func (s *Store) running(yield func(event.Ban) bool) error {
	return scan(s.bans, []byte{tableBan}, true, func(_, val []byte) bool {
		b, err := readBan(val)
		if err != nil {
			s.count.readErrors.Add(1)
			return true
		}
		return yield(b)
	})
}

// Seq is the highest Seq of any ban ever stored.
func (s *Store) Seq() uint64 { return s.seq.Load() }

func (s *Store) readSeq() error {
	v, err := s.bans.value(keySeq)
	if err != nil {
		return err
	}
	var seq uint64
	if len(v) == 8 {
		seq = binary.BigEndian.Uint64(v)
	}
	s.seq.Store(seq)
	return nil
}

// scan calls f with every key that begins with prefix, and its value if values is set, until f returns false. Both are
// valid until f returns.
func scan(db *database, prefix []byte, values bool, f func(key, val []byte) bool) (err error) {
	defer guard(&err)
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues = prefix, false
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			more := true
			item := it.Item()
			if !values {
				more = f(item.Key(), nil)
			} else if err := item.Value(func(v []byte) error { more = f(item.Key(), v); return nil }); err != nil {
				return err
			}
			if !more {
				return nil
			}
		}
		return nil
	})
}
