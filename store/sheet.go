package store

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A Sheet is all that is stored of one offender.
type Sheet struct {
	Prefix   netip.Prefix
	Bans     []event.Ban // every state, oldest first; the last 1000, fewer where many sheets are asked for
	Records  []SheetRecord
	Evidence []Evidence // oldest first
}

// A SheetRecord is the history of an offender in one jail, as package score wrote it.
type SheetRecord struct {
	Jail   string
	Prefix netip.Prefix
	Data   []byte
}

const (
	// maxSheets bounds the answer to one question.
	maxSheets = 1000
	// maxSheetBans bounds the ban log of one sheet, and leastSheetBans what is left of it when there are maxSheets.
	maxSheetBans   = 1000
	leastSheetBans = 20
)

// Sheets returns the rap sheets of every offender whose prefix covers p or lies inside it, in the order of their
// addresses, wide ones first: the first 1000. There is none for offenders of whom nothing is stored.
func (s *Store) Sheets(p netip.Prefix) ([]Sheet, error) {
	if !p.IsValid() {
		return nil, nil
	}
	known := make(map[netip.Prefix]bool)
	for _, t := range []struct {
		db    *database
		table byte
	}{{s.bans, tableBan}, {s.bans, tableLog}, {s.history, tableRecord}, {s.history, tableEvidence}} {
		if err := offenders(t.db, t.table, p.Masked(), known); err != nil {
			return nil, fmt.Errorf("store: sheets of %s: %w", p, err)
		}
	}
	all := make([]netip.Prefix, 0, len(known))
	for q := range known {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	all = all[:min(len(all), maxSheets)]
	sheets := make([]Sheet, len(all))
	for i, q := range all {
		if err := s.sheet(&sheets[i], q, max(leastSheetBans, maxSheetBans/len(all))); err != nil {
			return nil, fmt.Errorf("store: sheet of %s: %w", q, err)
		}
	}
	return sheets, nil
}

// offenders adds to known the offenders of a table that cover p or lie inside it, of the latter the first maxSheets.
func offenders(db *database, table byte, p netip.Prefix, known map[netip.Prefix]bool) (err error) {
	defer guard(&err)
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		var buf [maxKey]byte
		o.PrefetchValues, o.Prefix = false, bytes.Clone(appendPrefix(buf[:0], table, p)[:2])
		it := txn.NewIterator(o)
		defer it.Close()
		for bits := range p.Bits() {
			q := netip.PrefixFrom(p.Addr(), bits).Masked()
			key := appendPrefix(buf[:0], table, q)
			if it.Seek(key); it.ValidForPrefix(key) {
				known[q] = true
			}
		}
		n := 0
		for it.Seek(appendPrefix(buf[:0], table, p)); it.Valid() && n < maxSheets; n++ {
			q, _, ok := splitPrefix(it.Item().Key())
			if !ok || !p.Contains(q.Addr()) {
				return nil
			}
			known[q] = true
			it.Seek(append(appendPrefix(buf[:0], table, q), afterRest))
		}
		return nil
	})
}

// sheet fills in what is stored of one offender.
func (s *Store) sheet(sh *Sheet, p netip.Prefix, bans int) error {
	sh.Prefix = p
	err := last(s.bans, appendPrefix(nil, tableLog, p), bans, func(val []byte) {
		if b, err := readBan(val); err == nil {
			sh.Bans = append(sh.Bans, b)
		} else {
			s.count.readErrors.Add(1)
		}
	})
	slices.Reverse(sh.Bans)
	if err != nil {
		return err
	}
	// A running ban may be older than the log reaches.
	err = scan(s.bans, appendPrefix(nil, tableBan, p), true, func(_, val []byte) bool {
		b, err := readBan(val)
		if err == nil && !slices.ContainsFunc(sh.Bans, func(l event.Ban) bool { return l.Seq == b.Seq && l.Jail == b.Jail }) {
			sh.Bans = slices.Insert(sh.Bans, 0, b)
		}
		return true
	})
	if err != nil {
		return err
	}
	err = scan(s.history, appendPrefix(nil, tableRecord, p), true, func(key, val []byte) bool {
		_, rest, _ := splitPrefix(key)
		if jail, _, ok := splitJail(rest); ok {
			sh.Records = append(sh.Records, SheetRecord{Jail: jail, Prefix: p, Data: bytes.Clone(val)})
		}
		return true
	})
	if err != nil {
		return err
	}
	err = scan(s.history, appendPrefix(nil, tableEvidence, p), true, func(key, val []byte) bool {
		_, rest, _ := splitPrefix(key)
		jail, slot, ok := splitJail(rest)
		e, err := readEvidence(bytes.Clone(val))
		if err != nil || !ok || len(slot) != 1 {
			s.count.readErrors.Add(1)
			return true
		}
		e.Jail, e.Prefix, e.Slot = jail, p, slot[0]
		sh.Evidence = append(sh.Evidence, e)
		return true
	})
	slices.SortStableFunc(sh.Evidence, func(a, b Evidence) int { return a.Time.Compare(b.Time) })
	return err
}
