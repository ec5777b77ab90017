package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/internal/localstack/schedule"
)

// function is a function with a concurrency of one.
type function struct {
	mu    sync.Mutex
	start time.Time
	busy  bool
	ran   []string // when, since the start
	takes time.Duration
	fails int // invocations that fail
}

func (f *function) invoke(ctx context.Context, payload []byte) error {
	f.mu.Lock()
	if f.busy {
		f.mu.Unlock()
		return fmt.Errorf("invoke: %w", schedule.ErrThrottled)
	}
	f.busy = true
	f.ran = append(f.ran, time.Since(f.start).Round(time.Second).String()+string(payload))
	fails := f.fails > 0
	f.fails--
	f.mu.Unlock()
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
	if fails {
		return errors.New("as asked")
	}
	return nil
}

// play runs a schedule for a time, in which nothing really waits.
func play(t *testing.T, r schedule.Rule, f *function, d time.Duration) []string {
	t.Helper()
	f.start = time.Now()
	r.Invoke = f.invoke
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	r.Run(ctx)
	return f.ran
}

func TestItStartsNowAndAtEveryTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := play(t, schedule.Rule{Every: time.Minute, Payload: []byte("!")}, &function{takes: time.Second}, 150*time.Second)
		require.Equal(t, []string{"0s!", "1m0s!", "2m0s!"}, ran)
	})
}

func TestWhatFindsTheFunctionBusyIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1 s, 2 s, 4 s … after it was refused at 1m: the first that is late
		// enough is 31 s later.
		f := &function{takes: 80 * time.Second}
		ran := play(t, schedule.Rule{Every: time.Minute}, f, 100*time.Second)
		require.Equal(t, []string{"0s", "1m31s"}, ran)
	})
}

func TestAFailureIsTriedAgainOnlyWhenTheRuleSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := play(t, schedule.Rule{Every: time.Hour}, &function{fails: 1}, 30*time.Minute)
		require.Equal(t, []string{"0s"}, ran)
	})
	synctest.Test(t, func(t *testing.T) {
		ran := play(t, schedule.Rule{Every: time.Hour, Retries: 2}, &function{fails: 5}, 30*time.Minute)
		require.Equal(t, []string{"0s", "1m0s", "3m0s"}, ran)
	})
	synctest.Test(t, func(t *testing.T) {
		ran := play(t, schedule.Rule{Every: time.Hour, Retries: 2, Minute: time.Second}, &function{fails: 5}, 30*time.Minute)
		require.Equal(t, []string{"0s", "1s", "3s"}, ran, "a minute may be shorter")
	})
}

func TestWhatIsTooOldIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &function{takes: 10 * time.Minute}
		ran := play(t, schedule.Rule{Every: 4 * time.Minute, MaxAge: time.Minute}, f, 13*time.Minute)
		require.Equal(t, []string{"0s", "12m0s"}, ran)
	})
}
