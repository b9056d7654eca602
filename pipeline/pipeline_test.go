package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/pipeline"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

type stage func(*event.Batch)

func (s stage) Process(b *event.Batch) { s(b) }

type scorer func(*event.Batch, int)

func (s scorer) Score(b *event.Batch, i int) { s(b, i) }

type decider func(*event.Batch, int)

func (d decider) Decide(b *event.Batch, from int) { d(b, from) }

// batches are n batches of one message each; the message is the batch's number.
func batches(n int, done func(*event.Batch)) chan *event.Batch {
	in := make(chan *event.Batch)
	go func() {
		for i := range n {
			b := event.NewBatch(1, 16)
			b.Now = time.Unix(int64(i), 0)
			b.Done = done
			b.Add(fmt.Append(nil, i), nil, false)
			in <- b
		}
		close(in)
	}()
	return in
}

// Workers overtake each other; the judge sees the order of arrival, every batch once, after its first step.
func TestJudgeKeepsTheOrder(t *testing.T) {
	var got []string
	var done atomic.Int32
	p := pipeline.New(pipeline.Config{
		Workers: 4,
		First: []pipeline.Stage{stage(func(b *event.Batch) {
			for range b.Now.Unix() % 7 * 1000 { // some take longer
				b.Events = b.Events[:0]
			}
			b.Events = append(b.Events, event.Event{User: b.Messages[0].Raw})
		})},
		Second:  []pipeline.Stage{stage(func(b *event.Batch) { got = append(got, string(b.Events[0].User)) })},
		Scorer:  scorer(func(*event.Batch, int) {}),
		Decider: decider(func(*event.Batch, int) {}),
		Settle:  func(*event.Batch, time.Time) {},
	})
	const n = 2000
	p.Run(batches(n, func(*event.Batch) { done.Add(1) }))
	if len(got) != n || done.Load() != n {
		t.Fatalf("pipeline: judged %d, done %d, want %d", len(got), done.Load(), n)
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) || got[n-1] != fmt.Sprint(n-1) {
		t.Errorf("pipeline: out of order")
	}
	if err := p.Do(context.Background(), func(time.Time) {}); !errors.Is(err, pipeline.ErrStopped) {
		t.Errorf("pipeline: Do after the end: %v, want %v", err, pipeline.ErrStopped)
	}
}

// What one event fires is known when the next one is scored, inside one batch.
func TestScoreAndVerdictAlternate(t *testing.T) {
	var log []string
	p := pipeline.New(pipeline.Config{
		Scorer: scorer(func(b *event.Batch, i int) {
			log = append(log, fmt.Sprint("score ", i))
			b.Scores = append(b.Scores, event.Score{Event: int32(i)})
		}),
		Decider: decider(func(b *event.Batch, from int) { log = append(log, fmt.Sprint("decide ", from)) }),
		Settle:  func(b *event.Batch, _ time.Time) { log = append(log, "settle") },
	})
	b := event.NewBatch(1, 1)
	b.Events = make([]event.Event, 2)
	p.Judge(b)
	if want := []string{"score 0", "decide 0", "score 1", "decide 1", "settle"}; !slices.Equal(log, want) {
		t.Errorf("pipeline: got %v, want %v", log, want)
	}
}

// Operations run on the judge, and Wake calls Settle without a batch.
func TestDoAndWake(t *testing.T) {
	wake, settled := make(chan struct{}), make(chan bool, 1)
	p := pipeline.New(pipeline.Config{Wake: wake, Tick: time.Hour, Settle: func(b *event.Batch, _ time.Time) {
		select {
		case settled <- b == nil:
		default:
		}
	}})
	in, ended := make(chan *event.Batch), make(chan struct{})
	go func() { p.Run(in); close(ended) }()
	ran := false
	if err := p.Do(context.Background(), func(time.Time) { ran = true }); err != nil || !ran {
		t.Errorf("pipeline: Do: %v, ran %v", err, ran)
	}
	wake <- struct{}{}
	if !<-settled {
		t.Errorf("pipeline: Settle after Wake got a batch")
	}
	close(in)
	<-ended
}
