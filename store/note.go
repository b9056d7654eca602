package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// maxNote bounds a note's value.
const maxNote = 64 << 10

// Note returns what SetNote kept under key, empty where there is nothing.
func (s *Store) Note(key string) (string, error) {
	v, err := s.bans.value(append([]byte{tableNote}, key...))
	if err != nil {
		return "", fmt.Errorf("store: note %q: %w", key, err)
	}
	return string(v), nil
}

// SetNote keeps a small setting, such as the mode, and returns when it is on disk, synced. An empty one is removed.
func (s *Store) SetNote(key, val string) error {
	err := errors.New("too long")
	if len(key) <= maxName && len(val) <= maxNote {
		k := append([]byte{tableNote}, key...)
		err = s.update(len(key)+len(val), func(txn *badger.Txn) error {
			if val == "" {
				return txn.Delete(k)
			}
			return txn.Set(k, []byte(val))
		})
	}
	if err == nil {
		err = s.bans.Sync()
	}
	if err != nil {
		return fmt.Errorf("store: set note %q: %w", cut(key, maxName), err)
	}
	return nil
}

func (s *Store) update(size int, f func(*badger.Txn) error) error {
	if err := s.space.room(size); err != nil {
		return err
	}
	return s.bans.Update(f)
}

// An AuditEntry says who changed what.
type AuditEntry struct {
	Time   time.Time `json:"time"`
	UID    int       `json:"uid"`
	Verb   string    `json:"verb"`   // ban, unban, arm
	Object string    `json:"object"` // what it was done to
	Reason string    `json:"reason"` // as given by whoever did it
}

// Audit keeps the entry. One that cannot be written is counted.
func (s *Store) Audit(a AuditEntry) {
	if a.Time.IsZero() {
		a.Time = time.Now()
	}
	a.Verb, a.Object, a.Reason = cut(a.Verb, maxName), cut(a.Object, maxText), cut(a.Reason, maxText)
	val, err := json.Marshal(a)
	if err == nil {
		key := binary.BigEndian.AppendUint64([]byte{tableAudit}, uint64(a.Time.UnixNano()))
		key = binary.BigEndian.AppendUint32(key, s.audits.Add(1))
		err = s.update(len(val), func(txn *badger.Txn) error {
			return txn.SetEntry(&badger.Entry{Key: key, Value: val, ExpiresAt: expiry(s.retention)})
		})
	}
	if err != nil {
		s.count.droppedAudit.Add(1)
	}
}

// Audits returns the last n entries, the newest first.
func (s *Store) Audits(n int) (list []AuditEntry, err error) {
	err = last(s.bans, []byte{tableAudit}, n, func(val []byte) {
		var a AuditEntry
		if json.Unmarshal(val, &a) != nil {
			s.count.readErrors.Add(1)
			return
		}
		list = append(list, a)
	})
	if err != nil {
		return nil, fmt.Errorf("store: audit: %w", err)
	}
	return list, nil
}

// last calls f with the values of the last n keys that begin with prefix, the last one first. A value is valid until f
// returns.
func last(db *database, prefix []byte, n int, f func(val []byte)) (err error) {
	defer guard(&err)
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues, o.Reverse = prefix, false, true
		it := txn.NewIterator(o)
		defer it.Close()
		end := append(append([]byte{}, prefix...), afterRest)
		for it.Seek(end); it.Valid() && n > 0; it.Next() {
			if err := it.Item().Value(func(v []byte) error { f(v); return nil }); err != nil {
				return err
			}
			n--
		}
		return nil
	})
}
