package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// leastMemory is what the collector aims to stay below. Badger's caches and tables would otherwise let the heap grow to
// several times what is in use.
const leastMemory = 160 << 20

// keepMemory raises the limit with what is in use: a limit near the live heap would have the collector run all the time.
// GOMEMLIMIT in the environment is the operator's word and stays.
func keepMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // after the last collection
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		metrics.Read(live)
		debug.SetMemoryLimit(max(leastMemory, 2*int64(live[0].Value.Uint64())+leastMemory/2))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
