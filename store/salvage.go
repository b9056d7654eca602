package store

import (
	"errors"

	"github.com/dgraph-io/badger/v4"
	"github.com/rs/zerolog"
)

// salvage copies what can be read of a database that was set aside, and returns how many entries that were. A lift whose
// block is gone comes back as the ban that it lifted: that errs on the side of protection, and can be lifted again.
func (db *database) salvage(dir string, z size, log zerolog.Logger) (n int, err error) {
	// No compactors: they run on goroutines of Badger's, where a block that lies about its lengths ends the process.
	old, err := launch(settings(dir, z, log).WithNumCompactors(0))
	if err != nil {
		return 0, err
	}
	wb := db.NewWriteBatch()
	err = copyAll(old, func(e *badger.Entry) error { n++; return wb.SetEntry(e) })
	return n, errors.Join(err, finish(db, wb, nil), old.Close())
}

func copyAll(db *badger.DB, put func(*badger.Entry) error) (err error) {
	defer guard(&err)
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			val, err := item.ValueCopy(nil)
			if err != nil {
				continue
			}
			if err := put(&badger.Entry{Key: item.KeyCopy(nil), Value: val, ExpiresAt: item.ExpiresAt()}); err != nil {
				return err
			}
		}
		return nil
	})
}
