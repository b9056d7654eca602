package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/rs/zerolog"
)

// ErrClosed answers what comes after Close.
var ErrClosed = errors.New("store: closed")

const (
	nameBans    = "bans"
	nameHistory = "history"
)

// A Store is the open state folder. Its methods may be called on any goroutine.
type Store struct {
	dir       string
	retention time.Duration
	log       zerolog.Logger
	lock      *os.File
	bans      *database
	history   *database
	space     *space
	health    *health
	damaged   []string
	count     counters

	snapshot snapshot

	free      chan *Group // two in all
	full      chan *Group // on their way to disk
	committed chan struct{}

	changes changes
	seq     atomic.Uint64
	dirty   chan struct{} // bans were committed and not yet synced
	audits  atomic.Uint32
}

// Open opens the store, and makes it where there is none. The error is or wraps ErrLocked when another process has it,
// and ErrNewer when a newer rapsheet wrote it. A damaged database is set aside and a new one opened.
func Open(cfg Config, log zerolog.Logger) (*Store, error) {
	s, err := openWith(cfg, log, available)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return s, nil
}

func openWith(cfg Config, log zerolog.Logger, statfs func(string) (uint64, error)) (_ *Store, err error) {
	cfg.Defaults()
	h := &health{log: log}
	s := &Store{
		dir: cfg.State.S, retention: cfg.Retention, log: log, health: h,
		space: &space{dir: cfg.State.S, min: uint64(cfg.MinFree.Bytes), statfs: statfs, health: h},
		free:  make(chan *Group, 2), full: make(chan *Group, 2), committed: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
	}
	s.changes.init()
	for range cap(s.free) {
		s.free <- new(Group)
	}
	if err := own(s.dir); err != nil {
		return nil, err
	}
	if s.lock, err = acquire(s.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	s.space.tend()
	// Opening writes too: a log and a table. Where even that is too much, Badger would die of it.
	if free, err := statfs(s.dir); err == nil && free < leastMinFree/2 {
		return nil, fmt.Errorf("%d MiB free on %s, %d MiB needed to open: %w", free>>20, s.dir, leastMinFree/2>>20, ErrDegraded)
	}
	now := time.Now()
	for _, d := range []struct {
		at   **database
		name string
		size size
	}{{&s.bans, nameBans, sizeBans}, {&s.history, nameHistory, sizeHistory}} {
		db, aside, err := open(s.dir, d.name, d.size, now, log)
		if aside != "" {
			s.damaged = append(s.damaged, aside)
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", d.name, err)
		}
		*d.at = db
	}
	s.snapshot.renew(s.history.DB)
	return s, s.readSeq()
}

// valueLogEvery is how often the value logs are collected. They hold nearly nothing: see settings.
const valueLogEvery = time.Hour

// syncAfter is how long a committed ban may wait for fsync: only a power cut loses it in that time.
const syncAfter = 500 * time.Millisecond

// Run writes what is handed over, until ctx ends and all of it is on disk. What comes later, Close writes.
func (s *Store) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.commitGroups(ctx) })
	wg.Go(func() { s.commitBans(ctx) })
	wg.Go(func() { s.keepHouse(ctx) })
	wg.Wait()
}

func (s *Store) keepHouse(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	hourly := time.NewTicker(valueLogEvery)
	defer hourly.Stop()
	var due <-chan time.Time
	dirty := s.dirty
	for {
		select {
		case <-ctx.Done():
			return
		case <-dirty:
			dirty, due = nil, time.After(syncAfter)
		case <-due:
			dirty, due = s.dirty, nil
			s.sync()
		case <-second.C:
			s.space.tend()
		case <-hourly.C:
			if s.space.room(0) == nil {
				collect(s.bans)
				collect(s.history)
			}
		}
	}
}

func (s *Store) sync() {
	if err := s.bans.Sync(); err != nil {
		s.log.Error().Err(err).Msg("store: bans not synced")
	}
}

// collect frees the value log files that are half empty.
func collect(db *database) {
	for db.RunValueLogGC(0.5) == nil {
	}
}

// Close writes what was handed over since Run ended, and closes the databases.
func (s *Store) Close() error {
	s.finish()
	if err := s.release(); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// release closes what is open. Closing a database writes its memory table out: with no space for that it is left as a
// killed process would leave it, which costs nothing but a slower start.
func (s *Store) release() error {
	var errs []error
	s.snapshot.drop()
	free, err := s.space.statfs(s.dir)
	for _, db := range []*database{s.bans, s.history} {
		switch {
		case db == nil || db.DB == nil:
		case err == nil && free < leastMinFree/2:
			s.log.Warn().Str("database", db.dir).Msg("store: disk is full, database left open")
		default:
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// A snapshot reads the history as of the last commit. Badger's own read transactions wait for commits under way, which
// would stall the judge behind its own writes.
type snapshot struct {
	mu  sync.RWMutex
	txn *badger.Txn
}

func (r *snapshot) renew(db *badger.DB) {
	next := db.NewTransaction(false)
	r.mu.Lock()
	old := r.txn
	r.txn = next
	r.mu.Unlock()
	if old != nil {
		old.Discard()
	}
}

func (r *snapshot) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.txn != nil {
		r.txn.Discard()
		r.txn = nil
	}
}
