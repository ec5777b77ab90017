package trail_test

import (
	"runtime"
	"sync"
	"time"
)

// peakMemory runs f and returns about how much more memory was in use at the
// same time than before.
func peakMemory(f func()) uint64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak uint64
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapInuse)
			}
		}
	})
	f()
	close(done)
	watching.Wait()
	return peak - min(peak, before.HeapInuse)
}
