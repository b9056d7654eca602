package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// reserveFile takes up disk space that nobody else can have. When others fill the disk it is given up, so that what
// Badger has under way can end, and so that the store can be opened on a full disk.
const (
	reserveFile = "reserve"
	reserveSize = 32 << 20
)

// keep makes the reserve where there is plenty of room for it. Only Open and the housekeeper call keep and giveUp.
func (s *space) keep(free uint64) {
	if s.reserved || free < 2*s.min+reserveSize {
		return
	}
	path := filepath.Join(s.dir, reserveFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, reserveSize), f.Close())
	}
	if err != nil { // a file system that cannot: then there is none
		_ = os.Remove(path)
	}
	s.reserved = true
}

// giveUp frees the reserve where others have taken half of what we leave free.
func (s *space) giveUp(free uint64) {
	if free < s.min/2 {
		_ = os.Remove(filepath.Join(s.dir, reserveFile))
		s.reserved = false
	}
}

// tend does what the free space asks for.
func (s *space) tend() {
	if free, err := s.statfs(s.dir); err == nil {
		s.giveUp(free)
		s.keep(free)
	}
	_ = s.room(0) // health tells
}
