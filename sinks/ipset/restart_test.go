package ipset

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// neverThrough floods from the attackers while f runs, and fails if a single datagram arrives.
func (l *lab) neverThrough(f func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a4, a6 := netip.MustParseAddr(attacker4), netip.MustParseAddr(attacker6)
	before4, before6 := l.v4.Seen(a4), l.v6.Seen(a6)
	var sent4, sent6 atomic.Uint64
	done := make(chan error, 2)
	go func() { done <- l.v4.Flood(ctx, a4, &sent4) }()
	go func() { done <- l.v6.Flood(ctx, a6, &sent6) }()
	flows := func() {
		n4, n6 := sent4.Load()+100, sent6.Load()+100
		until(l.t, "the flood flows", func() bool { return sent4.Load() > n4 && sent6.Load() > n6 })
	}
	flows()
	f()
	flows()
	cancel()
	for range cap(done) {
		must(l.t, <-done)
	}
	l.arrives(neighbour4, true) // all that was sent before has arrived, or will not
	l.arrives(neighbour6, true)
	if n4, n6 := l.v4.Seen(a4)-before4, l.v6.Seen(a6)-before6; n4 != 0 || n6 != 0 {
		l.t.Errorf("flood: %d and %d datagrams of the banned got through", n4, n6)
	}
}

func yields(bans ...event.Ban) func(func(event.Ban) bool) {
	return slices.Values(bans)
}

func TestNoGap(t *testing.T) {
	inLab(t, func(l *lab) {
		bans := []event.Ban{ban("ssh", attacker4+"/32"), ban("ssh", attacker6+"/128", portsOnly)}
		s := open(t, Config{}, sshJail)
		must(t, s.Allow(prefixes(allowed4+"/32")))
		apply(t, s, bans...)
		l.neverThrough(func() {
			for range 20 { // a restart
				must(t, s.Close())
				s = open(t, Config{}, sshJail)
			}
			for range 20 { // a reload
				must(t, s.Configure([]*event.Jail{sshJail, mailJail}))
				must(t, s.Configure([]*event.Jail{sshJail}))
			}
			for range 20 { // a refill, and a new allow list
				must(t, s.Sync(context.Background(), yields(bans...)))
				must(t, s.Allow(prefixes(allowed4+"/32")))
				must(t, s.Allow(nil))
			}
		})
		holds(t, s, "ssh 198.51.100.66/32", "ssh 2001:db8:bad::66/128 p")
	})
}

func TestSyncReplaces(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail, mailJail)
		apply(t, s, ban("ssh", attacker4+"/32"), ban("mail", attacker6+"/128"), ban("manual", neighbour4+"/32"))
		must(t, s.Sync(context.Background(), yields(
			ban("ssh", attacker4+"/32", portsOnly), ban("mail", neighbour6+"/128", lasts(365*24*time.Hour)),
			ban("mail", "192.0.2.9/32", observed), ban("mail", "192.0.2.10/32", lifted), ban("gone", "192.0.2.11/32"),
		)))
		holds(t, s, "ssh 198.51.100.66/32 p", "mail 2001:db8:bad::67/128")
		if got := s.Long(); got != 1 {
			t.Errorf("long bans: got %d, want 1", got)
		}
		l.arrives(neighbour4, true)
		l.arrives(neighbour6, false)

		// A refill that is broken off changes nothing and leaves nothing behind.
		ctx, cancel := context.WithCancel(context.Background())
		err := s.Sync(ctx, func(yield func(event.Ban) bool) {
			yield(ban("ssh", "192.0.2.12/32"))
			cancel()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("sync: got %v, want it cancelled", err)
		}
		holds(t, s, "ssh 198.51.100.66/32 p", "mail 2001:db8:bad::67/128")
		n, err := s.Count()
		must(t, err)
		all, err := s.c.headers()
		must(t, err)
		if len(all) != len(n) || n["rapsheet-mail-6"] != 1 || n["rapsheet-ssh-4p"] != 1 {
			t.Errorf("sets: got %v and %d sets in all", n, len(all))
		}
	})
}

func TestVanishedJail(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail, mailJail)
		apply(t, s, ban("mail", attacker4+"/32", lasts(365*24*time.Hour)), ban("ssh", neighbour4+"/32"))
		must(t, s.Close())
		s = open(t, Config{}, sshJail)
		l.arrives(attacker4, true)
		l.arrives(neighbour4, false)
		holds(t, s, "ssh 198.51.100.67/32")
		n, err := s.Count()
		must(t, err)
		if _, there := n["rapsheet-mail-4"]; there || len(n) != 8 {
			t.Errorf("sets: got %v, want 8 without mail's", n)
		}
	})
}

func TestKilledDaemon(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		kept := s.Kept()
		must(t, s.Close())
		kill := l.hold()
		l.arrives(attacker4, false)
		l.arrives(attacker6, false)

		// While it lives nobody else can take its rules away. Disarm empties its sets instead.
		if kept {
			if _, err := Open(Config{}, nil, zerolog.Nop()); !errors.Is(err, ErrOwned) {
				t.Errorf("open beside a daemon: got %v, want %v", err, ErrOwned)
			}
			d, err := Disarm(true)
			must(t, err)
			if d.Rules || !d.Owned || len(d.Sets) == 0 {
				t.Errorf("disarm beside a daemon: got %+v", d)
			}
			l.arrives(attacker4, true)
			n, err := Remove(netip.MustParsePrefix(attacker6 + "/128"))
			if n != 0 || err != nil {
				t.Errorf("remove from emptied sets: got %d, %v, want 0", n, err)
			}
		}
		kill()

		// Killed: its rules and sets stay, and the next daemon adopts them.
		kill = l.hold()
		l.neverThrough(func() {
			kill()
			s := open(t, Config{}, sshJail)
			holds(t, s, "ssh 198.51.100.66/32", "ssh 2001:db8:bad::66/128 p")
			must(t, s.Close())
		})

		// Without a daemon: list, remove, disarm.
		kill = l.hold()
		kill()
		var got []string
		must(t, List(func(e Entry) bool { got = append(got, e.Prefix.String()); return len(got) < 2 }))
		slices.Sort(got)
		if want := []string{"198.51.100.66/32", "2001:db8:bad::66/128"}; !slices.Equal(got, want) {
			t.Errorf("list: got %q, want %q", got, want)
		}
		n, err := Remove(netip.MustParsePrefix(attacker4 + "/32"))
		if n != 1 || err != nil {
			t.Errorf("remove: got %d, %v, want 1", n, err)
		}
		l.arrives(attacker4, true)
		l.arrives(attacker6, false)

		d, err := Disarm(false)
		must(t, err)
		if !d.Rules || d.Owned || len(d.Sets) != 0 {
			t.Errorf("disarm: got %+v, want the rules gone and the sets there", d)
		}
		l.arrives(attacker6, true)
		d, err = Disarm(true)
		must(t, err)
		if !d.Rules || len(d.Sets) != 8 {
			t.Errorf("disarm and remove: got %+v, want 8 sets gone", d)
		}
		d, err = Disarm(true)
		must(t, err)
		if !d.Rules || len(d.Sets) != 0 {
			t.Errorf("disarm of nothing: got %+v", d)
		}
		if _, err := Remove(netip.MustParsePrefix("0.0.0.0/0")); err == nil {
			t.Error("remove of /0: got no error")
		}
	})
}

func TestFlushByOthers(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		if !s.Kept() {
			t.Skip("this kernel has no tables that survive a flush")
		}
		apply(t, s, ban("ssh", attacker4+"/32"), ban("ssh", attacker6+"/128"))
		l.neverThrough(func() {
			c, err := nftables.New()
			must(t, err)
			c.FlushRuleset()
			must(t, c.Flush())
			c.DelTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4})
			if err := c.Flush(); err == nil {
				t.Error("a table that is owned was deleted by somebody else")
			}
		})
		s.guard()
		l.arrives(attacker4, false)
	})
}

// What a kernel before 6.9 holds, or an admin made, is taken over without a gap too.
func TestPlainTables(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		apply(t, s, ban("ssh", attacker4+"/32"), ban("ssh", attacker6+"/128", portsOnly))
		rules := s.rules
		must(t, s.Close())
		_, err := Disarm(false)
		must(t, err)
		l.arrives(attacker4, true)
		c, err := dial()
		must(t, err)
		defer c.close()
		for range 2 { // made, and written once more
			var r request
			must(t, tables(&r, rules, 0, false, nil))
			must(t, c.commit(&r))
			l.arrives(attacker4, false)
			l.arrives(attacker6, false)
			l.arrivesAt(l.other6, attacker6, true)
		}
		l.neverThrough(func() {
			must(t, open(t, Config{}, sshJail).Close())
		})
	})
}

func TestGuardRestores(t *testing.T) {
	inLab(t, func(l *lab) {
		s := open(t, Config{}, sshJail)
		must(t, s.Allow(prefixes(allowed4+"/32")))
		bans := []event.Ban{ban("ssh", attacker4+"/32"), ban("manual", "198.51.100.0/24")}
		apply(t, s, bans...)
		lost := make(chan struct{}, 1)
		s.Lost = func() { lost <- struct{}{} }
		s.every = time.Millisecond
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()

		// Rules alone: on our own socket, for the kernel lets no other.
		deleteTables := func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, f := range families {
				var r request
				r.transaction()
				r.table(unix.NFT_MSG_DELTABLE, 0, f, 0)
				r.conclude()
				s.c.commit(&r)
			}
		}
		deleteTables()
		until(t, "the rules are back", func() bool {
			got, err := l.v4.UDP(netip.MustParseAddr(attacker4))
			return err == nil && !got
		})
		l.arrives(allowed4, true)
		select {
		case <-lost:
			t.Error("no set was missing, but bans are said to be lost")
		default:
		}

		// Rules and sets.
		cancel()
		<-ended
		deleteTables()
		for _, name := range []string{"rapsheet-ssh-4", "rapsheet-manual-4", "rapsheet-allow-4"} {
			must(t, s.reader.destroy(t.Context(), name))
		}
		err := s.Apply(t.Context(), bans[:1])
		var e *Error
		if !errors.As(err, &e) || !e.Lost() || len(e.Retry) != 1 {
			t.Errorf("apply to a set that is gone: got %v, want it lost and to be retried", err)
		}
		s.guard()
		<-lost
		must(t, s.Sync(t.Context(), yields(bans...)))
		l.arrives(attacker4, false)
		l.arrives(neighbour4, false)
		l.arrives(allowed4, true)
	})
}
