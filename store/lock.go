package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked says that another process has the store open.
var ErrLocked = errors.New("another rapsheet is using it")

// lockFile is locked by flock(2) as long as the store is open. It holds the owner's pid.
const lockFile = "lock"

// acquire locks the state folder. The lock ends with the process, however that ends.
func acquire(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		pid := make([]byte, 20)
		n, _ := io.ReadFull(f, pid)
		if id, err := strconv.Atoi(strings.TrimSpace(string(pid[:n]))); err == nil {
			return nil, fmt.Errorf("%s: %w (pid %d)", dir, ErrLocked, id)
		}
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(pid), 0) // on a full disk the message lacks the pid, no more
	}
	return f, nil
}

// own makes the folder, or makes sure that it is ours alone: what lies in it is believed.
func own(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return fmt.Errorf("%s belongs to uid %d: state must be this account's", dir, st.Uid)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}
