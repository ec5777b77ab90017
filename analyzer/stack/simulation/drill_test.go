package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/simulate"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/analyze"
)

// Drills: nothing fails, but there is more to do than time to do it.

const (
	// How long a slice of sliceBytes takes in a drill, and how large it is: what
	// usual traffic brings in five minutes fits in one.
	perSlice   = 40 * time.Second
	sliceBytes = 192 << 10
)

// drill is an account whose functions run by the clock, minute by minute.
type drill struct {
	*world
	ingest  *environment
	notify  *environment
	analyze *analyze.Handler
	slice   time.Duration // that one takes
	metrics bytes.Buffer
	behind  []behind // after each run of analyze that had something to do, or left something
}

// behind is what a run of analyze said of itself.
type behind struct {
	at      time.Time
	ticks   int
	events  int64
	pending int64         // metric PendingEvents
	oldest  time.Duration // metric OldestPendingSeconds
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{world: newWorld(t, 1, false, nil), slice: perSlice}
	t.Cleanup(d.close)
	d.deliver(newStory(1), false)
	d.ingest, d.notify = d.environment("ingest"), d.environment("notify")
	d.analyze = d.environment("analyze").analyze
	d.analyze.SliceBytes = sliceBytes
	d.analyze.Metrics = &stack.Metrics{Out: &d.metrics, Stack: "drill", Now: d.clock.Now}
	d.analyze.Owner = func(context.Context) string { return d.clock.Now().String() }
	d.analyze.Step = func(name string) error {
		if name == "saved" {
			d.clock.Advance(d.slice)
		}
		return nil
	}
	return d
}

// traffic delivers generated logs, each file five minutes after its name's time.
func (d *drill) traffic(prefix string, o simulate.Options) {
	d.t.Helper()
	var files simulate.Memory
	_, err := simulate.Traffic(context.Background(), o, &files)
	require.NoError(d.t, err)
	for _, name := range files.Names() {
		_, stamp, _ := strings.Cut(path.Base(name), "_CloudTrail_")
		_, stamp, _ = strings.Cut(stamp, "_")
		at, err := time.Parse("20060102T1504Z", stamp[:len("20060102T1504Z")])
		require.NoError(d.t, err, name)
		d.deliveries = append(d.deliveries, delivery{at: at.Add(5 * time.Minute), key: prefix + name, log: files.Data(name)})
	}
	slices.SortFunc(d.deliveries, func(a, b delivery) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
}

// run lets the account live for a time. analyzes says in which minutes analyze
// runs.
func (d *drill) run(duration time.Duration, analyzes func(minute int) bool) {
	d.t.Helper()
	for minute := 0; d.clock.Now().Before(epoch.Add(duration)); minute = int(d.clock.Now().Sub(epoch) / time.Minute) {
		for len(d.deliveries) > 0 && !d.deliveries[0].at.After(d.clock.Now()) {
			d.deliverNext()
		}
		d.drain(d.ingestQueue, ingestTimeout, d.ingest.ingest.Handle)
		if analyzes(minute) {
			d.tick()
		}
		d.drain(d.notifyQueue, notifyTimeout, d.notify.notify.Handle)
		next := epoch.Add(time.Duration(minute+1) * time.Minute)
		d.clock.Advance(max(0, next.Sub(d.clock.Now())))
	}
}

// drain gives a function all that its queue has.
func (d *drill) drain(q cloudQueue, timeout time.Duration, handle func(context.Context, events.SQSEvent) (events.SQSEventResponse, error)) {
	d.t.Helper()
	for q.Waiting() > 0 {
		messages, err := q.Receive(context.Background(), visibility)
		require.NoError(d.t, err)
		ctx := moment{context.Background(), d.clock.Now().Add(timeout)}
		answer, err := handle(ctx, eventOf(messages))
		require.NoError(d.t, err)
		require.Empty(d.t, answer.BatchItemFailures)
		for _, m := range messages {
			require.NoError(d.t, q.Delete(context.Background(), m.Receipt))
		}
	}
}

type cloudQueue interface {
	cloud.Queue
	Waiting() int
}

// tick runs analyze once, as long as Lambda lets it.
func (d *drill) tick() {
	d.t.Helper()
	d.metrics.Reset()
	rep, err := d.analyze.Handle(moment{context.Background(), d.clock.Now().Add(analyzeTimeout)}, analyze.Request{})
	require.NoError(d.t, err)
	require.False(d.t, rep.Held)
	b := behind{at: d.clock.Now(), ticks: rep.Ticks, events: rep.Events}
	for line := range bytes.Lines(d.metrics.Bytes()) {
		var m struct {
			PendingEvents        *int64
			OldestPendingSeconds *float64
		}
		require.NoError(d.t, json.Unmarshal(line, &m))
		if m.PendingEvents != nil {
			b.pending = *m.PendingEvents
		}
		if m.OldestPendingSeconds != nil {
			b.oldest = time.Duration(*m.OldestPendingSeconds * float64(time.Second))
		}
	}
	if b.events > 0 || b.pending > 0 {
		d.behind = append(d.behind, b)
	}
}

// asUsual is the traffic that all drills have.
var asUsual = simulate.Options{
	Seed: 1, Start: epoch, Duration: 7 * time.Hour, PerDay: 24_000, Accounts: 2, Regions: []string{"eu-west-1"},
}

func TestASixHourOutageIsCaughtUpWith(t *testing.T) {
	const from, until, length = 45, 45 + 6*60, 8 * time.Hour
	undisturbed := newDrill(t)
	undisturbed.traffic("", asUsual)
	undisturbed.run(length, func(minute int) bool { return minute%30 == 0 })

	d := newDrill(t)
	d.traffic("", asUsual)
	d.run(length, func(minute int) bool { return minute < from || minute >= until })

	after := slices.IndexFunc(d.behind, func(b behind) bool { return !b.at.Before(epoch.Add(until * time.Minute)) })
	require.Positive(t, after)
	for _, b := range d.behind[:after] {
		require.Zero(t, b.pending, "it keeps up with traffic as usual")
	}
	first := d.behind[after]
	require.Greater(t, first.ticks, 1, "one run takes more than in a minute of every day")
	require.Positive(t, first.pending, "it is too much for one run")
	require.Greater(t, first.oldest, 4*time.Hour, "and the metric says how far it is behind")
	caughtUp := slices.IndexFunc(d.behind[after:], func(b behind) bool { return b.pending == 0 })
	require.Positive(t, caughtUp)
	for i := after + 1; i <= after+caughtUp; i++ {
		require.Less(t, d.behind[i].pending, d.behind[i-1].pending, "each run gets closer")
	}
	require.Zero(t, d.behind[after+caughtUp].oldest)
	require.Less(t, d.behind[after+caughtUp].at, epoch.Add((until+60)*time.Minute), "an hour makes up for six")
	require.Equal(t, undisturbed.outcome(), d.outcome())
}

func TestATenfoldBurstIsCaughtUpWith(t *testing.T) {
	const length = 4 * time.Hour
	usual, burst := asUsual, asUsual
	usual.Duration = 3 * time.Hour
	burst.Seed, burst.Start, burst.Duration, burst.PerDay = 2, epoch.Add(time.Hour), time.Hour, 9*usual.PerDay
	begin := func() *drill {
		d := newDrill(t)
		d.traffic("", usual)
		d.traffic("burst/", burst)
		return d
	}
	atOnce := begin()
	atOnce.analyze.SliceBytes = 0 // no limit: what a replay would find
	atOnce.run(length, func(minute int) bool { return minute == int(length/time.Minute)-1 })

	d := begin()
	d.slice, d.analyze.SliceBytes = 100*time.Second, 48<<10 // ten times as much takes longer than it lasts
	d.run(length, func(int) bool { return true })
	worst := slices.MaxFunc(d.behind, func(a, b behind) int { return int(a.pending - b.pending) })
	require.Positive(t, worst.pending, "it is too much for its minutes")
	require.Greater(t, worst.oldest, 10*time.Minute, "as the alarm Behind wants to know")
	end := burst.Start.Add(burst.Duration)
	for _, b := range d.behind {
		if b.at.After(end.Add(time.Hour)) {
			require.Zero(t, b.pending, "an hour later it keeps up again")
		}
	}
	require.Equal(t, atOnce.outcome(), d.outcome())
}
