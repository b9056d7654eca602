package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
)

// Marks are small files in the state folder by which commands reach a daemon that does not run: disarm keeps the next
// one in observe mode, unban is repeated by it.
type marks struct{ dir string }

func (m marks) modeFile() string  { return filepath.Join(m.dir, "mode") }
func (m marks) liftsFile() string { return filepath.Join(m.dir, "lifts") }

// The words in the mode file.
const (
	armed    = "enforce"
	disarmed = "observe"
)

// mode is what arm or disarm said last, empty when the configuration decides.
func (m marks) mode() (string, error) {
	b, err := os.ReadFile(m.modeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// setMode outlives the daemon. It is written beside and moved, so that a full disk leaves the old word.
func (m marks) setMode(mode string) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(m.dir, "mode-")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(mode + "\n")
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), m.modeFile())
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// A lift is an unban that was given while no daemon ran.
type lift struct {
	prefix value.Prefix
	at     time.Time
	by     string
}

// addLift leaves a note for the next daemon.
func (m marks) addLift(prefix, by string, at time.Time) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(m.liftsFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s %s\n", prefix, at.UTC().Format(time.RFC3339Nano), by)
	return errors.Join(err, f.Sync(), f.Close())
}

// lifts reads the notes; a line that says nothing is skipped.
func (m marks) lifts() ([]lift, error) {
	f, err := os.Open(m.liftsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []lift
	for s := bufio.NewScanner(f); s.Scan(); {
		prefix, rest, _ := strings.Cut(s.Text(), " ")
		at, by, _ := strings.Cut(rest, " ")
		l := lift{by: by}
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil || l.prefix.UnmarshalText([]byte(prefix)) != nil {
			continue
		}
		l.at = when
		all = append(all, l)
	}
	return all, nil
}

// clearLifts forgets the notes once they are done.
func (m marks) clearLifts() error {
	if err := os.Remove(m.liftsFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
