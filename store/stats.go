package store

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// Stats is the state of the store.
type Stats struct {
	BansBytes    int64  `json:"bans_bytes"`    // on disk
	HistoryBytes int64  `json:"history_bytes"` // on disk
	Free         uint64 `json:"free"`          // bytes left on the file system
	MinFree      uint64 `json:"min_free"`      // below this nothing is written

	Degraded bool   `json:"degraded"` // something is not being written
	Reason   string `json:"reason"`   // why

	Commits    uint64 `json:"commits"`     // of history
	Records    uint64 `json:"records"`     // written to history
	Evidence   uint64 `json:"evidence"`    // lines written
	Bans       uint64 `json:"bans"`        // states of bans written, lifts included
	Pending    int    `json:"pending"`     // states of bans that wait for the disk
	ReadErrors uint64 `json:"read_errors"` // what could not be read and counted as empty

	Dropped map[string]uint64 `json:"dropped"`   // never written: records, evidence, bans, audit
	Damaged []string          `json:"set_aside"` // folders of damaged databases set aside at this start
}

type counters struct {
	commits, records, evidence, bans, readErrors atomic.Uint64

	droppedRecords, droppedEvidence, droppedBans, droppedAudit atomic.Uint64
}

// Stats returns the store's state as of now.
func (s *Store) Stats() Stats {
	n := &s.count
	st := Stats{
		BansBytes: diskUse(s.bans.dir), HistoryBytes: diskUse(s.history.dir), MinFree: s.space.min,
		Commits: n.commits.Load(), Records: n.records.Load(), Evidence: n.evidence.Load(), Bans: n.bans.Load(),
		Pending: s.changes.pending(), ReadErrors: n.readErrors.Load(),
		Dropped: map[string]uint64{"records": n.droppedRecords.Load(), "evidence": n.droppedEvidence.Load(), "bans": n.droppedBans.Load(), "audit": n.droppedAudit.Load()},
		Damaged: append([]string{}, s.damaged...),
	}
	st.Free, _ = s.space.statfs(s.dir)
	st.Reason = s.health.reason()
	st.Degraded = st.Reason != ""
	return st
}

// diskUse adds up the blocks that a folder's files occupy. Their sizes say nothing: Badger's logs are sparse.
func diskUse(dir string) int64 {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var n int64
	for _, f := range files {
		if fi, err := os.Lstat(filepath.Join(dir, f.Name())); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512 // st_blocks counts 512 bytes whatever the file system, stat(2)
			}
		}
	}
	return n
}
