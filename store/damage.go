package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// errBlock says that a table has a block that is damaged, and can be read but for that.
var errBlock = errors.New("damaged block")

// inspect looks for damage that Badger would not report: without its MANIFEST it deletes every table, and it dies of a
// table whose footer is nonsense, or loses it without an error. Data blocks are read only if thorough: those of a year's
// history are checked when they are read, and what is wrong then costs no more than them.
func inspect(dir string, thorough bool) (err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err == nil && len(tables) > 0 {
			err = fmt.Errorf("%s is missing, with %d tables there", badger.ManifestFilename, len(tables))
		}
		return err
	}
	if err != nil {
		return err
	}
	defer f.Close()
	defer guard(&err)
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir))
	if err != nil {
		return fmt.Errorf("%s: %w", badger.ManifestFilename, err)
	}
	// Only what the manifest names: a process that was killed leaves half a table behind that nobody will miss.
	var blocks error
	for id := range m.Tables {
		path := table.NewFilename(id, dir)
		err := inspectTable(path, options.NoVerification)
		if err == nil && thorough && inspectTable(path, options.OnTableRead) != nil {
			blocks = fmt.Errorf("%s: %w", filepath.Base(path), errBlock)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return blocks
}

func inspectTable(path string, mode options.ChecksumVerificationMode) (err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if fi.Size() < 8 { // two lengths, at least
		return errors.New("cut off")
	}
	mf, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer mf.Close(-1)
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("nonsense in the footer or the index")
		}
	}()
	_, err = table.OpenTable(mf, table.Options{ReadOnly: true, ChkMode: mode, Compression: options.None, BlockSize: 4 << 10})
	return err
}

// accessible reports what keeps us from the files of a folder: that is no damage, and must not be treated as such.
func accessible(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range files {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		f.Close()
	}
	f, err := os.CreateTemp(dir, "try-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// setAsideName is where a damaged database goes.
func setAsideName(dir string, now time.Time) string {
	name := fmt.Sprintf("%s.damaged-%d", dir, now.Unix())
	for n := 1; ; n++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s.damaged-%d-%d", dir, now.Unix(), n)
	}
}
