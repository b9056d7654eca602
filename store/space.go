package store

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/rs/zerolog"
)

// ErrDegraded says that something could not be written to disk for now.
var ErrDegraded = errors.New("not on disk")

// space watches the file system. Badger writes through memory maps of sparse files: where the disk is full, that is a
// SIGBUS, which no program survives. So whoever writes asks before.
type space struct {
	dir    string
	min    uint64
	statfs func(dir string) (free uint64, err error)
	health *health

	reserved bool // the reserve is there, or cannot be
}

// room reports whether size more bytes may be written. Twice the size: once in the log, once in the table it ends up in.
func (s *space) room(size int) error {
	free, err := s.statfs(s.dir)
	need := s.min + 2*uint64(size)
	switch {
	case err != nil:
		err = fmt.Errorf("free space of %s is unknown: %w: %w", s.dir, err, ErrDegraded)
	case free < need:
		err = fmt.Errorf("%d MiB free on %s, %d MiB needed: %w", free>>20, s.dir, (need+1<<20-1)>>20, ErrDegraded)
	}
	s.health.set(partSpace, err)
	return err
}

// available is what an ordinary user may still write: the reserve for root is not ours.
func available(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// The parts whose trouble health knows, the gravest first.
const (
	partSpace = iota
	partBans
	partHistory
	parts
)

// health remembers what is wrong, and logs each change once.
type health struct {
	log zerolog.Logger

	mu  sync.Mutex
	why [parts]error
}

// set notes the state of a part; nil is good.
func (h *health) set(part int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.why[part]
	h.why[part] = err
	switch {
	case was == nil && err != nil:
		h.log.Error().Err(err).Msg("store: not writing, going on in memory")
	case was != nil && err == nil:
		h.log.Info().Msg("store: writing again")
	}
}

func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range h.why {
		if err != nil {
			return err.Error()
		}
	}
	return ""
}
