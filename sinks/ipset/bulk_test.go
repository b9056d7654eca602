package ipset

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// many returns n bans of single addresses, the first of them 10.0.0.1 or 2001:db8:1::1.
func many(n int, f family) []event.Ban {
	now := time.Now()
	bans := make([]event.Ban, n)
	for i := range bans {
		var a netip.Addr
		if f == v4 {
			a = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i)+1)))
		} else {
			b := netip.MustParseAddr("2001:db8:1::").As16()
			binary.BigEndian.PutUint32(b[12:], uint32(i)+1)
			a = netip.AddrFrom16(b)
		}
		bans[i] = event.Ban{Prefix: netip.PrefixFrom(a, a.BitLen()), Jail: "manual", Issued: now, Until: now.Add(24 * time.Hour)}
	}
	return bans
}

func TestSetsGrow(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{MaxElem: value.Int{N: 64}}, sshJail)
		bans := append([]event.Ban{ban("manual", attacker4+"/32"), ban("manual", attacker6+"/128")}, slices.Concat(many(3000, v4), many(300, v6))...)
		apply(t, s, bans[:2]...)
		l.neverThrough(func() { apply(t, s, bans...) })
		count := func(set string) int {
			n, err := s.Count()
			must(t, err)
			return n[set]
		}
		if got4, got6 := count("rapsheet-manual-4"), count("rapsheet-manual-6"); got4 != 3001 || got6 != 301 {
			t.Errorf("entries: got %d and %d, want 3001 and 301", got4, got6)
		}
		if s.Grown() < 6 {
			t.Errorf("grown: got %d, want at least 6 doublings of 64", s.Grown())
		}
		least, most := 24*time.Hour, time.Duration(0)
		must(t, s.Entries(func(e Entry) bool {
			if e.Prefix.Addr().As16()[12] == 10 {
				least, most = min(least, e.Left), max(most, e.Left)
			}
			return true
		}))
		if least < 24*time.Hour-10*time.Second || most > 24*time.Hour+10*time.Second {
			t.Errorf("timeouts after growing: got %v to %v, want 24h", least, most)
		}

		// A refill makes room for what it has counted, and for what came since.
		pass := 0
		must(t, s.Sync(context.Background(), func(yield func(event.Ban) bool) {
			if pass++; pass == 1 {
				yields(many(5000, v4)...)(yield)
			} else {
				yields(many(20000, v4)...)(yield)
			}
		}))
		if got := count("rapsheet-manual-4"); got != 20000 {
			t.Errorf("entries after a refill: got %d, want 20000", got)
		}
		// So does an allow list that is longer than a set.
		var list []netip.Prefix
		for _, b := range many(500, v4) {
			list = append(list, b.Prefix)
		}
		must(t, s.Allow(list))
		if got := count("rapsheet-allow-4"); got != 500 {
			t.Errorf("allowed: got %d, want 500", got)
		}
	})
}

// Adds, refills, growing, listings and re-arming at once: nothing is lost, and nobody waits for ever.
func TestAllAtOnce(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{MaxElem: value.Int{N: 64}}, sshJail)
		base := many(2000, v4)
		must(t, s.Sync(context.Background(), yields(base...)))
		var writers, readers sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					n := 0
					if err := List(func(Entry) bool { n++; return true }); err != nil {
						t.Error(err)
					}
					if err := s.Entries(func(Entry) bool { return true }); err != nil {
						t.Error(err)
					}
					if n < len(base) {
						t.Errorf("list: got %d entries, want at least %d", n, len(base))
					}
				}
			})
		}
		added := many(2000, v6)
		for part := range slices.Chunk(added, 1000) {
			writers.Go(func() {
				for few := range slices.Chunk(part, 10) {
					if err := s.Apply(context.Background(), few); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Go(func() {
			for range 5 {
				if err := s.Allow(prefixes(allowed4 + "/32")); err != nil {
					t.Error(err)
				}
				if err := s.Allow(nil); err != nil {
					t.Error(err)
				}
				s.rearm(context.Background())
				s.guard()
				if _, err := s.Dropped(); err != nil {
					t.Error(err)
				}
			}
		})
		writers.Wait()
		if err := s.Sync(context.Background(), yields(slices.Concat(base, added)...)); err != nil {
			t.Error(err)
		}
		close(stop)
		readers.Wait()
		n, err := s.Count()
		must(t, err)
		if n["rapsheet-manual-4"] != 2000 || n["rapsheet-manual-6"] != 2000 {
			t.Errorf("entries: got %v, want 2000 of each", n)
		}
	})
}

func TestPermission(t *testing.T) {
	inLab(t, func(*lab) {
		s := open(t, Config{})
		done := make(chan error, 3)
		go func() {
			runtime.LockOSThread() // its capabilities go with it
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&head, &none[0]); err != nil {
				t.Error(err)
			}
			_, err := Open(Config{}, nil, zerolog.Nop())
			done <- err
			_, err = Disarm(true)
			done <- err
			_, err = Remove(netip.MustParsePrefix(attacker4 + "/32"))
			done <- err
		}()
		for range cap(done) {
			if err := <-done; !errors.Is(err, ErrPermission) {
				t.Errorf("without CAP_NET_ADMIN: got %v, want %v", err, ErrPermission)
			}
		}
		must(t, s.Apply(context.Background(), []event.Ban{ban("manual", attacker4+"/32")}))
	})
	f := func(in, want error) {
		t.Helper()
		if got := missing(in); !errors.Is(got, want) {
			t.Errorf("missing: got %v, want %v", got, want)
		}
	}
	f(unix.EOPNOTSUPP, ErrModules)
	f(kernelError(4098), ErrModules) // IPSET_ERR_FIND_TYPE
	f(kernelError(unix.ENOENT), ErrModules)
	f(kernelError(unix.EPERM), ErrPermission)
	f(unix.ENOMEM, unix.ENOMEM)
}

func TestClosed(t *testing.T) {
	inLab(t, func(*lab) {
		s := open(t, Config{})
		must(t, s.Close())
		must(t, s.Close())
		f := func(what string, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("%s after close: got no error", what)
			}
		}
		f("apply", s.Apply(context.Background(), []event.Ban{ban("manual", attacker4+"/32")}))
		f("sync", s.Sync(context.Background(), yields()))
		f("allow", s.Allow(nil))
		f("configure", s.Configure(nil))
		f("entries", s.Entries(func(Entry) bool { return true }))
		_, err := s.Count()
		f("count", err)
		_, err = s.Dropped()
		f("dropped", err)
		s.guard()
		s.rearm(context.Background())
	})
}

// Prints how fast bans go in, all at once and one by one.
func TestHundredThousand(t *testing.T) {
	inLab(t, func(*lab) {
		s := open(t, Config{})
		bans := many(100_000, v4)
		rate := func(n int, f func()) float64 {
			began := time.Now()
			f()
			return float64(n) / time.Since(began).Seconds()
		}
		single := rate(5000, func() {
			for i := range 5000 {
				apply(t, s, bans[i])
			}
		})
		batched := rate(len(bans), func() { apply(t, s, bans...) })
		filled := rate(len(bans), func() { must(t, s.Sync(context.Background(), yields(bans...))) })
		n := 0
		listed := rate(len(bans), func() { must(t, s.Entries(func(Entry) bool { n++; return true })) })
		t.Logf("one by one %.0f/s, batched %.0f/s, a refill %.0f/s, listing %.0f/s", single, batched, filled, listed)
		if n != len(bans) {
			t.Errorf("entries: got %d, want %d", n, len(bans))
		}
	})
}
