package main

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/integration/mix"
	"github.com/rapsheet/rapsheet/pipeline"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/header"
	"github.com/rapsheet/rapsheet/receiver"
	"github.com/rapsheet/rapsheet/store"
)

// A rig is the daemon as run wires it, with its store on disk, and without kernel and sockets.
func newRig(tb testing.TB) *daemon {
	tb.Helper()
	loaded := configs.Load(configs.Options{Dir: tb.TempDir()})
	if len(loaded.Errors) > 0 {
		tb.Fatal(loaded.Errors)
	}
	loaded.Config.Store.State.S = tb.TempDir()
	d := &daemon{cfg: loaded.Config, jails: loaded.Config.EventJails(), log: zerolog.New(io.Discard), started: time.Now(), warned: map[string]bool{}}
	var err error
	if d.store, err = store.Open(d.cfg.Store, d.log); err != nil {
		tb.Fatal(err)
	}
	if err := d.wire(loaded.Filters); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { d.store.Run(ctx); close(ended) }()
	tb.Cleanup(func() {
		d.drain(time.Now())
		cancel()
		<-ended
		if err := d.store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

const benchLines = 1 << 17

// BenchmarkStages runs a line through every stage on one goroutine: header, filter, session, allow, score, verdict,
// history and evidence on disk. The disk's own goroutines use what other cores there are.
func BenchmarkStages(b *testing.B) {
	for _, name := range []string{mix.Quiet, mix.Auth} {
		for _, format := range []mix.Format{mix.RFC3164, mix.RFC5424} {
			b.Run(name+"/"+map[mix.Format]string{mix.RFC3164: "3164", mix.RFC5424: "5424"}[format], func(b *testing.B) {
				d := newRig(b)
				lines := mix.Spec{Mix: name, Format: format, Lines: benchLines, Seed: 1}.Make()
				bytes := 0
				for _, l := range lines {
					bytes += len(l)
				}
				from := &event.Sender{UID: 0, Trusted: true, Listener: "bench"}
				batch := event.NewBatch(2048, 1<<20)
				first := []pipeline.Stage{header.New(), d.filters}
				batch.Now = mix.Epoch.Add(time.Hour)
				b.SetBytes(int64(bytes / len(lines)))
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; {
					batch.Reset()
					batch.Now = batch.Now.Add(2 * time.Millisecond) // a million lines a second
					for ; n < b.N && batch.Add(lines[n%benchLines], from, false); n++ {
					}
					for _, s := range first {
						s.Process(batch)
					}
					d.pipe.Judge(batch)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			})
		}
	}
}

// A line that is no event costs no memory from the first stage to the last.
func TestQuietLinesDoNotAllocate(t *testing.T) {
	d := newRig(t)
	from := &event.Sender{UID: 0, Trusted: true}
	batch := event.NewBatch(1, 4096)
	batch.Now = time.Now()
	first := []pipeline.Stage{header.New(), d.filters}
	quiet := 0
	for _, l := range (mix.Spec{Mix: mix.Quiet, Format: mix.RFC5424, Lines: 2000, Seed: 3}).Make() {
		line := func() {
			batch.Reset()
			batch.Add(l, from, false)
			for _, s := range first {
				s.Process(batch)
			}
		}
		if line(); len(batch.Events) > 0 {
			continue
		}
		quiet++
		if n := testing.AllocsPerRun(3, func() { line(); d.pipe.Judge(batch) }); n != 0 {
			t.Fatalf("rapsheet: %v allocations for %q", n, l)
		}
	}
	if quiet < 1500 {
		t.Errorf("rapsheet: only %d of 2000 lines were no event", quiet)
	}
}

// BenchmarkTCP sends octet-counted messages over loopback through the whole daemon but the kernel's sets, sender
// included, on all cores. In the same run, bytes/newline is a reader that only counts line feeds: the ceiling.
func BenchmarkTCP(b *testing.B) {
	for _, octet := range []bool{true, false} {
		name := map[bool]string{true: "octet", false: "newline"}[octet]
		block, per := frames(b, octet)
		b.Run("rapsheet/"+name, func(b *testing.B) {
			d := newRig(b)
			cfg := receiver.Config{TCP: value.String{S: "127.0.0.1:0"}}
			cfg.Defaults()
			cfg.UIDs = []value.String{{S: "0"}}
			r, err := receiver.Listen([]receiver.Config{cfg}, d.log)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			batches, ended := make(chan *event.Batch), make(chan struct{})
			go func() { d.pipe.Run(batches); close(ended) }()
			go func() { _ = r.Run(ctx, batches) }()
			sent := send(b, r.Addrs()[0].String(), block, per, func() uint64 { return r.Stats()[0].Processed })
			s := r.Stats()[0]
			if s.Received != sent || s.Processed != s.Received || s.Cut+s.Malformed != 0 {
				b.Errorf("rapsheet: sent %d, %+v", sent, s)
			}
			cancel()
			<-ended
		})
		b.Run("ceiling/"+name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			var read atomic.Uint64
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				buf := make([]byte, 1<<16)
				for {
					n, err := c.Read(buf)
					read.Add(uint64(n))
					if err != nil {
						return
					}
				}
			}()
			total := func() uint64 { return read.Load() * uint64(per) / uint64(len(block)) }
			send(b, l.Addr().String(), block, per, total)
		})
	}
}

// frames makes one block of quiet messages.
func frames(b *testing.B, octet bool) (block []byte, messages int) {
	b.Helper()
	lines := mix.Spec{Mix: mix.Quiet, Format: mix.RFC5424, Lines: 1 << 14, Seed: 5}.Make()
	r, w := io.Pipe()
	go func() { w.CloseWithError(mix.WriteFrames(w, lines, octet)) }()
	block, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	return block, len(lines)
}

// send writes b.N messages, rounded up to whole blocks, waits until done reports them all, and returns how many.
func send(b *testing.B, addr string, block []byte, per int, done func() uint64) (sent uint64) {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	blocks := (b.N + per - 1) / per
	sent = uint64(blocks * per)
	b.SetBytes(int64(len(block) / per))
	b.ReportAllocs()
	b.ResetTimer()
	for range blocks {
		if _, err := c.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	for done() < sent {
		runtime.Gosched()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/op")
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "msg/s")
	return sent
}
