package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const many = 8000

// filled is the folder of a store with many bans and records, closed or as a kill leaves it.
func filled(t *testing.T, clean bool) string {
	t.Helper()
	dir := t.TempDir()
	s, stop := opened(t, dir)
	for n := range 2 {
		last := make(chan error, 1)
		for i := range many {
			b := ban("ssh", "192.0.2.1", uint64(n*many+i+1), event.Forever)
			b.Prefix = offenderNo(i)
			done := func(error) {}
			if i == many-1 {
				done = func(err error) { last <- err }
			}
			s.PutBan(b, done)
		}
		if err := <-last; err != nil {
			t.Fatal(err)
		}
		commit(t, s, func(g *Group) {
			for i := range many {
				g.Record("ssh", offenderNo(i), fmt.Appendf(nil, "record %090d", i))
			}
		})
	}
	if err := os.Remove(filepath.Join(dir, reserveFile)); err != nil { // not worth copying
		t.Fatal(err)
	}
	if clean {
		stop()
		return dir
	}
	killed := filepath.Join(t.TempDir(), "state")
	poll(t, "a copy with no file going meanwhile", func() bool { // Badger flushes its logs behind us
		if err := os.RemoveAll(killed); err != nil {
			t.Fatal(err)
		}
		err := os.CopyFS(killed, os.DirFS(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return err == nil
	})
	return killed
}

func offenderNo(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

// left opens a damaged store, proves that it works, and returns how much of each kind it still has, and what was set aside.
func left(t *testing.T, dir string) (bans, records int, aside []string) {
	t.Helper()
	s, err := Open(config(dir), zerolog.Nop())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	stop := running(t, s)
	defer stop()
	bans = len(bansOf(t, s))
	for i := range many {
		want := fmt.Sprintf("record %090d", i)
		switch got, _ := s.Record("ssh", offenderNo(i), nil); {
		case string(got) == want:
			records++
		case got != nil:
			t.Errorf("record %d: got %q, want %q or none", i, got, want)
		}
	}
	fresh := ban("manual", "198.51.100.1", 1<<40, event.Forever)
	putBan(t, s, fresh)
	commit(t, s, func(g *Group) { g.Record("new", prefix("198.51.100.1"), []byte("new")) })
	record(t, s, "new", "198.51.100.1", "new")
	if sheets, err := s.Sheets(fresh.Prefix); err != nil || len(sheets) != 1 {
		t.Errorf("sheet: got %v, %v, want one", sheets, err)
	}
	return bans, records, s.Stats().Damaged
}

func files(t *testing.T, dir, name, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, name, pattern))
	if err != nil || len(list) == 0 {
		t.Fatalf("%s in %s: got %v, %v, want some", pattern, name, list, err)
	}
	return list
}

// flip damages length bytes of a file at the place that is this part of it.
func flip(t *testing.T, path string, part float64, length int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := int(part * float64(len(b)-1))
	for i := at; i < min(at+length, len(b)); i++ {
		b[i] ^= 0x55
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUndamaged(t *testing.T) {
	for _, clean := range []bool{true, false} {
		if bans, records, aside := left(t, filled(t, clean)); bans != many || records != many || len(aside) > 0 {
			t.Errorf("clean %v: got %d bans, %d records, aside %v, want all and none", clean, bans, records, aside)
		}
	}
}

// Each kind of damage opens, spares the other database, and what is set aside is kept.
func TestDamage(t *testing.T) {
	dir := filled(t, true)
	f := func(what, name string, setAside bool, damage func(t *testing.T, dir string)) {
		salvaged := strings.HasPrefix(what, "data block") // the rest of the tables is readable
		t.Run(name+" "+what, func(t *testing.T) {
			hurt := filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(hurt, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			damage(t, hurt)
			bans, records, aside := left(t, hurt)
			if setAside != (len(aside) == 1) {
				t.Fatalf("set aside: got %v, want %v", aside, setAside)
			}
			if setAside {
				if !strings.HasPrefix(aside[0], filepath.Join(hurt, name)+".damaged-") || len(files(t, aside[0], ".", "*")) == 0 {
					t.Errorf("set aside: got %v, want %s.damaged-TIME with the files", aside, name)
				}
			}
			hit, spared := records, bans
			if name == nameBans {
				hit, spared = bans, records
			}
			if spared != many {
				t.Errorf("the other database: got %d, want %d", spared, many)
			}
			if setAside && (hit != 0) != salvaged {
				t.Errorf("a new database: got %d, want some: %v", hit, salvaged)
			}
			t.Logf("left of %d: %d", many, hit)
			if again, _, aside := left(t, hurt); len(aside) > 0 || name == nameHistory && again != many+1 {
				t.Errorf("opened again: got %d bans, aside %v, want none", again, aside)
			}
		})
	}
	for _, name := range []string{nameBans, nameHistory} {
		f("MANIFEST removed", name, true, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name, "MANIFEST")); err != nil {
				t.Fatal(err)
			}
		})
		f("MANIFEST flipped", name, true, func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, name, "MANIFEST"), 0.5, 1)
		})
		f("KEYREGISTRY flipped", name, true, func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, name, "KEYREGISTRY"), 0.5, 4)
		})
		f("table removed", name, true, func(t *testing.T, dir string) {
			if err := os.Remove(files(t, dir, name, "*.sst")[0]); err != nil {
				t.Fatal(err)
			}
		})
		f("table cut off", name, true, func(t *testing.T, dir string) {
			if err := os.Truncate(files(t, dir, name, "*.sst")[0], 5); err != nil {
				t.Fatal(err)
			}
		})
		f("table halved", name, true, func(t *testing.T, dir string) {
			path := files(t, dir, name, "*.sst")[0]
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, fi.Size()/2); err != nil {
				t.Fatal(err)
			}
		})
		f("index flipped", name, true, func(t *testing.T, dir string) {
			flip(t, files(t, dir, name, "*.sst")[0], 0.9999, 8)
		})
		f("footer flipped", name, true, func(t *testing.T, dir string) {
			flip(t, files(t, dir, name, "*.sst")[0], 1, 1)
		})
		// Compaction would lose the rest of the table with the block: bans are copied out, history has too much of them.
		f("data block flipped", name, name == nameBans, func(t *testing.T, dir string) {
			flip(t, files(t, dir, name, "*.sst")[0], 0.3, 3)
		})
		f("value log flipped", name, false, func(t *testing.T, dir string) {
			flip(t, files(t, dir, name, "*.vlog")[0], 0.9, 20)
		})
	}
}

// Logs of a killed process with damage in them open too, with what lies before it.
func TestDamagedLog(t *testing.T) {
	dir := filled(t, false)
	for _, name := range []string{nameBans, nameHistory} {
		for _, part := range []float64{0, 0.0001, 0.1, 1} {
			hurt := filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(hurt, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			for _, path := range files(t, hurt, name, "*.mem") {
				flip(t, path, part, 20)
			}
			bans, records, aside := left(t, hurt)
			t.Logf("%s at %g: %d bans, %d records, aside %v", name, part, bans, records, aside)
			if name == nameBans && records != many || name == nameHistory && bans != many {
				t.Errorf("%s at %g: the other database has %d bans, %d records, want all", name, part, bans, records)
			}
		}
	}
}

// Nothing that a disk may have done to any file keeps the store from opening, or the process from living.
func TestRandomDamage(t *testing.T) {
	rounds := 12
	if os.Getenv("RAPSHEET_LONG") != "" {
		rounds = 1000
	}
	dirs := []string{filled(t, true), filled(t, false)}
	for round := range rounds {
		hurt := filepath.Join(t.TempDir(), "state")
		if err := os.CopyFS(hurt, os.DirFS(dirs[round%2])); err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(uint64(round), 1))
		all := append(files(t, hurt, nameBans, "*"), files(t, hurt, nameHistory, "*")...)
		path := all[rnd.IntN(len(all))]
		part, length := rnd.Float64(), 1+rnd.IntN(64)
		if rnd.IntN(2) == 0 {
			part = 1 - part/100 // footers and tails
		}
		flip(t, path, part, length)
		t.Logf("round %d: %s at %g, %d bytes", round, strings.TrimPrefix(path, hurt), part, length)
		left(t, hurt)
		if err := os.RemoveAll(hurt); err != nil {
			t.Fatal(err)
		}
	}
}

// What this account may not touch is no damage.
func TestNoAccess(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may touch everything")
	}
	dir := filled(t, true)
	if err := os.Chmod(filepath.Join(dir, nameBans, "MANIFEST"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(dir), zerolog.Nop()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want permission denied", err)
	}
}

// A database that kills the process that opens it is set aside at the third attempt.
func TestDeadlyDatabase(t *testing.T) {
	dir := t.TempDir()
	s, stop := opened(t, dir)
	putBan(t, s, ban("ssh", "192.0.2.1", 1, event.Forever))
	stop()
	mark := filepath.Join(dir, "bans.opening")
	f := func(size int, aside int) {
		t.Helper()
		if err := os.WriteFile(mark, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		s, stop := opened(t, dir)
		defer stop()
		if got := s.Stats().Damaged; len(got) != aside {
			t.Errorf("after %d deaths: got %v, want %d set aside", size, got, aside)
		}
		if _, err := os.Stat(mark); !os.IsNotExist(err) {
			t.Errorf("mark: got %v, want none", err)
		}
	}
	f(1, 0)
	f(2, 1)
	f(0, 0)
}
