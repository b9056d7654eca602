package allow

import (
	"context"
	"sync"
	"time"
)

const (
	filePoll = 3 * time.Second  // how soon a changed file is seen
	factPoll = 5 * time.Minute  // how soon a change is seen that Follow could not know of
	slowPoll = 10 * time.Second // the same where there is no Follow

	// A host with the whole Internet's routes takes seconds to list them: asking it may take a tenth of the time.
	restFactor = 10
)

// Run keeps the list true until ctx ends: it follows the host, reads changed files again, and looks names up. Process
// never waits for it.
func (l *List) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	moved := make(chan struct{}, 1)
	poke := func() {
		select {
		case moved <- struct{}{}:
		default:
		}
	}
	wg.Go(func() { l.resolve(ctx) })
	if l.sys.Facts != nil && l.sys.Follow != nil {
		wg.Go(func() { l.follow(ctx, poke) })
	}
	files := time.NewTicker(filePoll)
	defer files.Stop()
	facts := time.NewTicker(factPoll)
	defer facts.Stop()
	var rest <-chan time.Time // not nil: too soon to ask again
	asked := false
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-files.C:
			l.readFiles()
		case <-moved:
			due = true
		case <-facts.C:
			due = true
		case <-rest:
			rest = nil
		}
		asked = asked || due
		if asked && rest == nil {
			asked = false
			start := time.Now()
			l.readFacts()
			rest = time.After(restFactor * time.Since(start))
		}
	}
}

// follow asks for changes of the host; where that is not possible it says so and looks often instead.
func (l *List) follow(ctx context.Context, poke func()) {
	err := l.sys.Follow(ctx, poke)
	if ctx.Err() != nil {
		return
	}
	l.log.Warn().Err(err).Dur("every", slowPoll).Msg("changes of this host's addresses can't be followed: they are looked at from time to time")
	tick := time.NewTicker(slowPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			poke()
		}
	}
}

// readFacts asks the host what it is, and makes that the list.
func (l *List) readFacts() {
	l.askFacts()
	l.update(func() {})
}

// askFacts asks the host what it is. Where part of the answer is missing, the former facts stay.
func (l *List) askFacts() {
	if l.sys.Facts == nil {
		return
	}
	facts, err := l.sys.Facts()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		facts = l.facts.join(facts)
		if !l.partial {
			l.log.Warn().Err(err).Msg("what this host depends on can't be read whole: what was known before is kept")
		}
	}
	l.facts, l.partial = facts, err != nil
}

// join returns what is in either.
func (f Facts) join(g Facts) Facts {
	return Facts{
		Own: union(f.Own, g.Own), Links: union(f.Links, g.Links), Gateways: union(f.Gateways, g.Gateways),
		Resolvers: union(f.Resolvers, g.Resolvers), Sessions: union(f.Sessions, g.Sessions),
	}
}

func union[T comparable](a, b []T) []T {
	seen := map[T]bool{}
	var list []T
	for _, s := range [][]T{a, b} {
		for _, v := range s {
			if !seen[v] {
				seen[v] = true
				list = append(list, v)
			}
		}
	}
	return list
}
