package sinks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A memory is a sink that remembers what it holds. before, if set, may fail a call or make it wait.
type memory struct {
	name   string
	before func(ctx context.Context, bans []event.Ban) error

	mu    sync.Mutex
	held  map[key]uint64 // Seq
	calls int
	seen  []uint64
}

func (m *memory) Name() string { return m.name }

func (m *memory) Apply(ctx context.Context, bans []event.Ban) error {
	m.mu.Lock()
	m.calls++
	m.mu.Unlock()
	var err error
	if m.before != nil {
		err = m.before(ctx, bans)
	}
	left := map[key]bool{}
	var p *partial
	switch {
	case errors.As(err, &p):
		for _, b := range slices.Concat(p.retry, p.refused) {
			left[keyOf(&b)] = true
		}
	case err != nil:
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range bans {
		m.seen = append(m.seen, b.Seq)
		switch {
		case left[keyOf(&b)]:
		case b.Enforced(time.Now()):
			m.held[keyOf(&b)] = b.Seq
		default:
			delete(m.held, keyOf(&b))
		}
	}
	return err
}

func (m *memory) holds() (all []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, seq := range m.held {
		all = append(all, fmt.Sprintf("%s %s %d", k.jail, k.prefix.Addr(), seq))
	}
	slices.Sort(all)
	return all
}

// A syncing memory can be refilled.
type syncing struct {
	*memory
	fail error
}

func (s *syncing) Sync(_ context.Context, bans iter.Seq[event.Ban]) error {
	if err := s.fail; err != nil {
		s.fail = nil
		return err
	}
	held := map[key]uint64{}
	for b := range bans {
		held[keyOf(&b)] = b.Seq
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
	return nil
}

// partial is an error about some bans.
type partial struct {
	retry, refused []event.Ban
	lost           bool
}

func (p *partial) Error() string                           { return "partly" }
func (p *partial) Unapplied() (retry, refused []event.Ban) { return p.retry, p.refused }
func (p *partial) Lost() bool                              { return p.lost }
func newMemory(name string) *memory                        { return &memory{name: name, held: map[key]uint64{}} }
func addr(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)
}

func ban(jail string, i int, seq uint64) event.Ban {
	return event.Ban{Prefix: addr(i), Jail: jail, Seq: seq, Issued: time.Now(), Until: time.Now().Add(time.Hour)}
}

func lifted(b event.Ban) event.Ban   { b.Lifted = true; return b }
func observed(b event.Ban) event.Ban { b.Observed = true; return b }

// start runs a Fanout inside a bubble of synctest, where time passes only while everybody waits.
func start(t *testing.T, cfg Config) *Fanout {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

func flush(t *testing.T, f *Fanout) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, m *memory, want ...string) {
	t.Helper()
	if got := m.holds(); !slices.Equal(got, want) {
		t.Errorf("%s holds: got %q, want %q", m.name, got, want)
	}
}
