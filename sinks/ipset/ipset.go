// Package ipset makes bans true in this kernel: it holds them in sets of type hash:net, and rules of its own that drop
// what comes from them, before connection tracking. It speaks netlink only and runs no other program.
package ipset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Config is the part of the configuration that belongs to the kernel sets.
type Config struct {
	// MaxElem is how many prefixes a set may hold at first; it doubles when they don't suffice. Default 131072.
	MaxElem value.Int `yaml:"maxelem"`
}

const (
	// maxElem is the default of Config.MaxElem. It limits, it does not allocate.
	maxElem = 131072
	// topElem is where doubling ends: 16 million entries are about 1 GB of kernel memory.
	topElem = 1 << 24
	// chunk is how many messages are sent at once: at 100 an entry costs 1.5 us, at 10 4.7, at 500 6.4 again.
	chunk = 100
	// kernelLimit is the longest timeout of an entry, 2147483 s (linux/netfilter/ipset/ip_set_timeout.h). The kernel
	// shortens longer ones to it and says nothing.
	kernelLimit = 2147483 * time.Second
)

// A Sink holds bans in the kernel, for the network namespace it was opened in. Its methods may be called from several
// goroutines.
type Sink struct {
	// Lost is called after sets of ours were found missing and were made anew, empty, or when nothing is known of what a
	// set is to hold: whoever knows the bans is to call Sync. It is set before Run and runs on Run's goroutine.
	Lost func()

	log      zerolog.Logger
	maxelem  uint32
	now      func() time.Time
	limit    time.Duration // kernelLimit; tests cannot wait for it
	every    time.Duration // between two looks at sets and rules
	whole    time.Duration // between two comparisons of all sets
	revision byte
	kept     atomic.Bool
	grown    atomic.Uint64
	repaired atomic.Uint64

	mu         sync.Mutex // guards what follows, and keeps adds and swaps apart
	c          *conn      // owns the tables: as long as it is open nobody else can change them
	vouches    []Vouch
	configured []*event.Jail
	jails      map[string]*jailSets
	allow      [2]*set
	held       []netip.Prefix // what the allow sets hold, sorted, if allowed
	allowed    bool
	rules      map[family][]rule
	book       *book
	watch      watch
	lastID     uint16
	work       writer

	readMu sync.Mutex // never held while waiting for mu
	reader *conn
}

// A set is one of ours in the kernel. Its names and numbers do not change.
type set struct {
	name   string
	temp   string // its name while it is filled
	family family
	index  uint16 // the kernel's
	id     uint16 // ours, never used again
	known  bool   // the book has all that it holds

	// room is how many more adds are sent before the kernel is asked how full the set is; of what stands under temp,
	// roomTemp.
	room, roomTemp int
}

// jailSets are the sets of one jail.
type jailSets struct {
	all    [2]*set
	ports  [2]*set // nil where the jail has no ports
	closed []uint16
}

func (f family) at() int {
	if f == v4 {
		return 0
	}
	return 1
}

func (j *jailSets) pick(f family, ports bool) *set {
	if ports {
		return j.ports[f.at()]
	}
	return j.all[f.at()]
}

// Open makes the sets and rules for the jails and for the jail "manual", or adopts those that stand: what is banned stays
// banned meanwhile. Sets and rules of jails that are not there any more are removed. The error is ErrPermission,
// ErrModules or ErrOwned where that is the cause. The rules hold the vouches too, as long as the bans'.
func Open(cfg Config, jails []*event.Jail, log zerolog.Logger, vouches ...Vouch) (*Sink, error) {
	if err := sameAccounts(); err != nil && len(vouches) > 0 {
		log.Warn().Err(err).Msg("the kernel vouches for nobody: a local sender that closes its connection at once may be refused")
		vouches = nil
	}
	s := &Sink{
		vouches: vouches,
		log:     log, maxelem: cmp.Or(cfg.MaxElem.N, maxElem), now: time.Now, limit: kernelLimit, every: time.Second, whole: compareAll,
		jails: map[string]*jailSets{}, book: newBook(time.Now()),
	}
	var err error
	if s.c, err = dial(); err != nil {
		return nil, fmt.Errorf("ipset: %w", err)
	}
	if s.reader, err = dial(); err != nil {
		s.c.close()
		return nil, fmt.Errorf("ipset: %w", err)
	}
	if s.revision, err = s.c.probe(); err == nil {
		err = s.configureLocked(jails) // nobody else knows s yet
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("ipset: %w", err)
	}
	log.Info().Bool("survives_flush_ruleset", s.Kept()).Int("jails", len(s.jails)).Msg("kernel sets and rules stand")
	return s, nil
}

// Close lets go of the kernel. Sets and rules stay, and go on banning.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.c == nil {
		return nil
	}
	err := errors.Join(s.c.close(), s.reader.close())
	s.c, s.reader = nil, nil
	return err
}

// Name returns ipset.
func (s *Sink) Name() string { return "ipset" }

// Kept reports whether our tables survive `nft flush ruleset`: kernel 6.9 on.
func (s *Sink) Kept() bool { return s.kept.Load() }

// Grown counts how often a set was full and doubled.
func (s *Sink) Grown() uint64 { return s.grown.Load() }

var errClosed = errors.New("ipset: closed")

// Repaired counts how often others had changed sets or rules of ours, or what the sets hold, and that was put right.
func (s *Sink) Repaired() uint64 { return s.repaired.Load() }

// An Error says which bans of a batch the kernel does not hold.
type Error struct {
	Retry   []event.Ban // may succeed later
	Refused []event.Ban // never will: no prefix, /0, or a jail that is not configured
	Gone    bool        // sets were missing: what else they held is lost too
	Err     error       // the first cause
}

// Error returns the first cause and the number of bans.
func (e *Error) Error() string {
	return fmt.Sprintf("ipset: %d bans not applied, %d refused: %v", len(e.Retry), len(e.Refused), e.Err)
}

// Unwrap returns the first cause.
func (e *Error) Unwrap() error { return e.Err }

// Unapplied returns the bans that are to be tried again, and those that never can be applied.
func (e *Error) Unapplied() (retry, refused []event.Ban) { return e.Retry, e.Refused }

// Lost reports whether only a full Sync makes the kernel whole again.
func (e *Error) Lost() bool { return e.Gone }

// Apply makes the kernel hold what the bans say: it adds or refreshes those that are enforced and removes the others.
// An error is an *Error, which names the bans concerned; all others were applied.
func (s *Sink) Apply(ctx context.Context, bans []event.Ban) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return &Error{Retry: bans, Err: errClosed}
	}
	e := &Error{}
	w, now := &s.work, s.now()
	w.reset(s.c, false, s.book, func(set *set) { s.makeRoomLocked(ctx, set, false) })
	for i := range bans {
		b := &bans[i]
		switch err := s.check(b); {
		case err == nil:
			s.applyLocked(w, b, i, now)
		case b.Enforced(now): // to remove what can't be there is done
			e.Refused = append(e.Refused, *b)
			e.because(err)
		}
	}
	failed := s.settleLocked(ctx, w)
	slices.SortStableFunc(failed, func(a, b failure) int { return cmp.Compare(a.ban, b.ban) })
	for i, f := range failed {
		e.because(fmt.Errorf("%s: %w", f.set.name, f.err))
		e.Gone = e.Gone || gone(f.err)
		if i == 0 || failed[i-1].ban != f.ban {
			e.Retry = append(e.Retry, bans[f.ban])
		}
	}
	if e.Err == nil {
		return nil
	}
	return e
}

func (e *Error) because(err error) {
	if e.Err == nil {
		e.Err = err
	}
}

var (
	errPrefix = errors.New("no prefix, or all of the Internet")
	errJail   = errors.New("no such jail")
)

func (s *Sink) check(b *event.Ban) error {
	if p := b.Prefix; !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() {
		return errPrefix // /0: the kernel takes no length of 0
	}
	if s.jails[b.Jail] == nil {
		return errJail
	}
	return nil
}

// applyLocked writes what one ban asks for. The add goes before the delete: an offender that changes sets is in both
// for a moment, not in none.
func (s *Sink) applyLocked(w *writer, b *event.Ban, i int, now time.Time) {
	p := b.Prefix.Masked()
	hold, other := s.place(b)
	if b.Enforced(now) {
		timeout, long := s.timeout(b.Until, now)
		w.add(hold, p, timeout, long, i)
	} else {
		w.del(hold, p, i)
	}
	if other != nil {
		w.del(other, p, i)
	}
}

// place says which of its jail's sets holds the ban, and which must not; the latter is nil where there is but one.
func (s *Sink) place(b *event.Ban) (hold, other *set) {
	j, f := s.jails[b.Jail], familyOf(b.Prefix)
	hold, other = j.pick(f, false), j.pick(f, true)
	if b.Ports && other != nil {
		hold, other = other, hold
	}
	return hold, other
}

// timeout is what the kernel is told: whole seconds, rounded up, never 0, which would be for ever. What is longer than
// the kernel can count has its end in long.
func (s *Sink) timeout(until, now time.Time) (timeout, long uint32) {
	if left := until.Sub(now); left <= s.limit {
		return seconds(left), 0
	}
	return uint32(s.limit / time.Second), unix32(until)
}

func seconds(d time.Duration) uint32 {
	return uint32(max(1, (d+time.Second-1)/time.Second))
}

// gone reports whether the kernel said that there is no such set.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) }
