package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/rs/zerolog"
)

// ErrNewer says that a newer rapsheet wrote the store.
var ErrNewer = errors.New("written by a newer rapsheet")

// schema is the version of keys and values. What reads an older one converts it.
const schema = 1

// A database is one of the two. Its folder is named after it.
type database struct {
	*badger.DB
	name string
	dir  string
}

// A size is what a database may hold in memory. Badger's own defaults are for servers: 530 MB for a million keys.
type size struct{ memtable, cache int64 }

var (
	sizeBans    = size{4 << 20, 1 << 20}
	sizeHistory = size{8 << 20, 4 << 20}
)

func settings(dir string, z size, log zerolog.Logger) badger.Options {
	o := badger.DefaultOptions(dir).
		WithLogger(logger{log}).
		WithMemTableSize(z.memtable).
		WithNumMemtables(2).
		WithBlockCacheSize(z.cache).
		WithIndexCacheSize(z.cache).
		WithBaseTableSize(2 << 20).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithValueThreshold(64 << 10). // nearly nothing goes to the value log: nothing to collect there
		WithValueLogFileSize(4 << 20).
		WithCompression(options.None).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		// Not OnTableAndBlockRead: a block that fails there at open is a nil dereference on a goroutine of Badger's.
		// Tables are checked before, by inspect.
		WithChecksumVerificationMode(options.OnBlockRead)
	o.LmaxCompaction = true // what has expired gives its space back
	return o
}

// open opens the database called name below dir. A damaged one is set aside, under the name that is returned, and a new
// one opened in its place: protection never waits for a disk to be repaired.
func open(dir, name string, z size, now time.Time, log zerolog.Logger) (db *database, aside string, err error) {
	db = &database{name: name, dir: filepath.Join(dir, name)}
	if err := os.MkdirAll(db.dir, 0o700); err != nil {
		return nil, "", err
	}
	if err := accessible(db.dir); err != nil {
		return nil, "", err
	}
	damage, err := db.try(z, log)
	if err != nil {
		return nil, "", err
	}
	why := damage
	if damage != nil {
		aside = setAsideName(db.dir, now)
		if err := os.Rename(db.dir, aside); err != nil {
			return nil, "", fmt.Errorf("%s is damaged (%w) and cannot be set aside: %w", db.dir, damage, err)
		}
		log.Error().Err(damage).Str("database", db.dir).Str("aside", aside).Msg("store: damaged database set aside, starting a new one")
		if err := os.Mkdir(db.dir, 0o700); err != nil {
			return nil, aside, err
		}
		if damage, err = db.try(z, log); err != nil || damage != nil {
			return nil, aside, errors.Join(damage, err)
		}
	}
	if err := db.agree(); err != nil {
		return nil, aside, err
	}
	if errors.Is(why, errBlock) {
		n, err := db.salvage(aside, z, log)
		log.Warn().Err(err).Str("database", db.dir).Int("entries", n).Msg("store: what could be read of the damaged database was copied")
	}
	return db, aside, nil
}

// try opens the database, or says how it is damaged. A mark beside it tells the next start if the process died of the
// attempt: Badger ends it where it finds some nonsense. Killed twice at this very place means the same.
func (db *database) try(z size, log zerolog.Logger) (damage, err error) {
	mark := db.dir + ".opening"
	if fi, err := os.Stat(mark); err == nil && fi.Size() >= 2 {
		return errors.New("the process died twice while opening it"), os.Remove(mark)
	}
	if damage = inspect(db.dir, db.name == nameBans); damage != nil {
		return damage, nil
	}
	if err := addByte(mark); err != nil {
		return nil, err
	}
	db.DB, damage = launch(settings(db.dir, z, log))
	return damage, os.Remove(mark)
}

func launch(o badger.Options) (db *badger.DB, err error) {
	defer guard(&err)
	return badger.Open(o)
}

func addByte(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{'.'})
	return errors.Join(err, f.Close())
}

// agree checks that we know the version of what is stored, and writes ours where there is none.
func (db *database) agree() error {
	v, err := db.value(keyVersion)
	switch {
	case err != nil:
	case v == nil:
		err = db.Update(func(txn *badger.Txn) error { return txn.Set(keyVersion, []byte{schema}) })
	case len(v) != 1 || v[0] > schema:
		err = fmt.Errorf("%s has version %d, this is %d: %w", db.dir, v[0], schema, ErrNewer)
	}
	if err != nil {
		_ = db.Close()
	}
	return err
}

// value returns a copy of the key's value, nil where there is none.
func (db *database) value(key []byte) (v []byte, err error) {
	err = db.View(func(txn *badger.Txn) error {
		v, err = get(txn, key, nil)
		return err
	})
	return v, err
}

// get appends the key's value to buf; nil where there is none. A block that lies about its lengths makes Badger panic:
// that is an error like any other.
func get(txn *badger.Txn, key, buf []byte) (v []byte, err error) {
	defer guard(&err)
	it, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = it.Value(func(b []byte) error {
		if v = append(buf, b...); v == nil {
			v = []byte{}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// guard turns a panic of Badger over nonsense on disk into an error.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errValue, p)
	}
}
