// Package pipeline turns batches of messages into bans. Stages that keep no state run on several goroutines at once;
// everything that remembers runs on one, the judge, in order of arrival: its sums are exact, it needs no locks, and the
// same input gives the same bans.
package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A Stage works on a batch in place and must not keep it or any slice of it. Stages of the first step run on several
// goroutines, each with its own batch; stages of the second on one.
type Stage interface{ Process(*event.Batch) }

// A Scorer adds up. Score appends to b.Scores what event i of the batch brought its offender to, a Score for each jail.
type Scorer interface {
	Score(b *event.Batch, i int)
}

// A Decider makes bans. Decide appends to b.Bans what follows from b.Scores[from:], all of one event.
type Decider interface {
	Decide(b *event.Batch, from int)
}

// Config says what a pipeline is made of.
type Config struct {
	Workers int     // goroutines of the first step; at least 1
	First   []Stage // header, filter
	Second  []Stage // session, allow
	Scorer  Scorer
	Decider Decider

	// Settle runs on the judge after every batch, with its bans, and with nil when Wake or the clock calls: it hands
	// bans and history over to store and sinks.
	Settle func(b *event.Batch, now time.Time)
	Wake   <-chan struct{} // calls Settle between batches
	Tick   time.Duration   // calls Settle when nothing else does; 1 s unless set
}

// ErrStopped is returned by Do when the pipeline has ended.
var ErrStopped = errors.New("pipeline: stopped")

// A Pipeline is a dispatcher, its workers, and the judge.
type Pipeline struct {
	cfg  Config
	ops  chan func(now time.Time)
	done chan struct{}
}

// New returns a pipeline that Run sets going.
func New(cfg Config) *Pipeline {
	cfg.Workers = max(cfg.Workers, 1)
	if cfg.Tick == 0 {
		cfg.Tick = time.Second
	}
	return &Pipeline{cfg: cfg, ops: make(chan func(time.Time)), done: make(chan struct{})}
}

// A job is a batch on its way through the first step. ready gets a value when the step is done.
type job struct {
	batch *event.Batch
	ready chan struct{}
}

// Run takes batches until in is closed and all of them are judged. Each batch's Done is called once, by the judge.
//
// Order costs two channels: a batch goes into order first and into work second, so the judge meets batches as they
// came while any worker may have any of them.
func (p *Pipeline) Run(in <-chan *event.Batch) {
	defer close(p.done)
	depth := 2 * p.cfg.Workers
	order, work, free := make(chan *job, depth), make(chan *job, depth), make(chan *job, depth+2)
	for range cap(free) {
		free <- &job{ready: make(chan struct{}, 1)}
	}
	var wg sync.WaitGroup
	for range p.cfg.Workers {
		wg.Go(func() {
			for j := range work {
				for _, s := range p.cfg.First {
					s.Process(j.batch)
				}
				j.ready <- struct{}{}
			}
		})
	}
	wg.Go(func() { p.judge(order, free) })
	for b := range in {
		j := <-free
		j.batch = b
		order <- j
		work <- j
	}
	close(order)
	close(work)
	wg.Wait()
}

// judge runs the second step on one batch after the other, and operations between them.
func (p *Pipeline) judge(order <-chan *job, free chan<- *job) {
	tick := time.NewTicker(p.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case j, ok := <-order:
			if !ok {
				p.cfg.Settle(nil, time.Now())
				return
			}
			<-j.ready
			b := j.batch
			j.batch = nil
			free <- j
			p.Judge(b)
			b.Done(b)
		case op := <-p.ops:
			op(time.Now())
		case <-p.cfg.Wake:
			p.cfg.Settle(nil, time.Now())
		case now := <-tick.C:
			p.cfg.Settle(nil, now)
		}
	}
}

// Judge runs the second step on a batch that has been through the first. Score and verdict alternate event by event,
// because what one event fires decides whether the next one scores. Only the judge calls it, or a test without Run.
func (p *Pipeline) Judge(b *event.Batch) {
	for _, s := range p.cfg.Second {
		s.Process(b)
	}
	for i := range b.Events {
		from := len(b.Scores)
		p.cfg.Scorer.Score(b, i)
		if len(b.Scores) > from {
			p.cfg.Decider.Decide(b, from)
		}
	}
	p.cfg.Settle(b, b.Now)
}

// Do runs f on the judge between two batches and returns when it has ended: commands change bans in the same order as
// messages do. After Run it returns ErrStopped.
func (p *Pipeline) Do(ctx context.Context, f func(now time.Time)) error {
	ran := make(chan struct{})
	op := func(now time.Time) { defer close(ran); f(now) }
	select {
	case p.ops <- op:
		<-ran
		return nil
	case <-p.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}
