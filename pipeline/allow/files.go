package allow

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// A fileKey is a file in one of the two lists: what an entry may be differs.
type fileKey struct {
	path    string
	proxies bool
}

// A file is what a file: entry stands for: the entries of its last good reading.
type file struct {
	path    string
	entries []entry
	info    os.FileInfo // of that reading
	failed  bool        // can't be read now; said once
}

// readFiles reads the files that have changed since they were last read.
func (l *List) readFiles() {
	l.mu.Lock()
	last := make(map[fileKey]file, len(l.files))
	for key, f := range l.files {
		last[key] = *f
	}
	l.mu.Unlock()
	for key, f := range last {
		info, err := os.Stat(key.path)
		if err == nil && !f.failed && same(info, f.info) {
			continue
		}
		next, err := readFile(key, l)
		switch {
		case err != nil && f.failed:
			continue
		case err != nil:
			l.log.Warn().Err(err).Str("file", key.path).Int("kept", len(f.entries)).Msg("allow file can't be read: what it said last is kept")
			next = f
			next.failed = true
		}
		next.path = key.path
		l.update(func() {
			if p := l.files[key]; p != nil {
				*p = next
			}
		})
	}
}

// readFile reads one file whole, and logs what in it is no entry.
func readFile(key fileKey, l *List) (f file, err error) {
	// Without O_NONBLOCK a pipe would be waited for.
	r, err := os.OpenFile(key.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return f, err
	}
	defer r.Close()
	// Before reading: what is written meanwhile is seen the next time.
	if f.info, err = r.Stat(); err != nil {
		return f, err
	}
	if !f.info.Mode().IsRegular() {
		return f, errors.New("no regular file")
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return f, err
	}
	if len(text) > maxFile {
		return f, fmt.Errorf("longer than %d bytes", maxFile)
	}
	var bad int
	if f.entries, bad, err = parseFile(string(text), key.proxies); bad > 0 {
		l.log.Warn().Err(err).Str("file", key.path).Int("bad", bad).Msg("allow file has lines that are no entries: they are left out")
	}
	return f, nil
}

// same reports whether two readings of a file's state are alike.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
