package store

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const crashDir = "RAPSHEET_STORE_CRASH"

// TestCrashChild is the process that TestCrash kills: it writes bans and history as fast as it can, and prints the Seq
// of every ban and the number of every group when it has been told that they are on disk.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("only TestCrash runs it")
	}
	s, err := Open(config(dir), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(t.Context())
	acks := make(chan string, 1000)
	go func() {
		for seq := s.Seq() + 1; ; seq++ {
			b := ban("ssh", "192.0.2.1", seq, event.Forever)
			b.Prefix = offenderNo(int(seq) % many)
			s.PutBan(b, func(err error) {
				if err == nil {
					acks <- fmt.Sprint("ban ", seq)
				}
			})
		}
	}()
	go func() {
		g := s.Group()
		for n := 0; ; n++ {
			for i := range 500 {
				g.Record("ssh", offenderNo(n*500+i), fmt.Appendf(nil, "%d", n))
				g.Evidence(Evidence{Jail: "ssh", Prefix: offenderNo(i), Slot: uint8(n % Slots), Time: t0, Line: []byte("line")})
			}
			s.Commit(g)
			<-s.Committed()
			acks <- fmt.Sprint("group ", n)
			g = s.Group()
		}
	}()
	for a := range acks {
		fmt.Println(a)
	}
}

// Whatever the instant of the kill: a ban that was reported, and a group whose commit had ended, are there afterwards.
func TestCrash(t *testing.T) {
	rounds := 20
	if os.Getenv("RAPSHEET_LONG") != "" {
		rounds = 500
	}
	dir := t.TempDir()
	acked := make([]uint64, many) // by offender, the Seq of its last ban that was reported
	for round := range rounds {
		groups := crash(t, dir, acked)
		s, err := Open(config(dir), zerolog.Nop())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got, want := s.Seq(), slices.Max(acked); got < want {
			t.Errorf("round %d: seq: got %d, want at least %d", round, got, want)
		}
		have := make(map[netip.Prefix]uint64)
		for _, b := range bansOf(t, s) {
			have[b.Prefix] = b.Seq
		}
		lost := 0
		for i, seq := range acked {
			if have[offenderNo(i)] < seq { // a later one that was not reported may be in its place
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("round %d: %d reported bans are lost", round, lost)
		}
		for n := range groups {
			for i := range 500 {
				if got, _ := s.Record("ssh", offenderNo(n*500+i), nil); string(got) != fmt.Sprint(n) {
					t.Fatalf("round %d: record %d of group %d: got %q", round, i, n, got)
				}
			}
		}
		if st := s.Stats(); len(st.Damaged) > 0 || st.ReadErrors > 0 {
			t.Errorf("round %d: got %v set aside, %d read errors, want none", round, st.Damaged, st.ReadErrors)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds, %d bans", rounds, slices.Max(acked))
}

// crash runs the child until a random instant, notes the bans that it reported, and returns the number of groups.
func crash(t *testing.T, dir string, acked []uint64) (groups int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.v=false")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // it hangs
	armed := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if !armed { // not before it works: opening has a test of its own
			armed = true
			kill.Reset(time.Duration(rand.Int64N(int64(150 * time.Millisecond))))
		}
		what, n, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "ban":
			var seq uint64
			if _, err := fmt.Sscan(n, &seq); err == nil {
				acked[seq%many] = max(acked[seq%many], seq)
			}
		case "group":
			fmt.Sscan(n, &groups)
			groups++
		default:
			t.Errorf("child: %s", lines.Text())
		}
	}
	kill.Stop()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("child: got %v, want killed", err)
	}
	return groups
}
