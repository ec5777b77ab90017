package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/typed"
)

// errKilled ends a run as the end of its process would.
var errKilled = errors.New("killed")

// boundaries are all the places between two effects of a tick, in their order.
var boundaries = []string{"prepare", "control", "uses", "settings", "views", "detect", "memory", "saved", "committed", "done"}

// handClock stands still but for those who sleep.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Sleep(_ context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return nil
}

// office is a Slack that is told of a world's alerts.
type office struct {
	w      *world
	server *slacktest.Server
	clock  *handClock
	calls  int // of the notifier
}

func newOffice(t *testing.T, w *world) *office {
	t.Helper()
	clock := &handClock{now: time.Date(2026, 3, 20, 9, 0, 0, 0, time.UTC)}
	o := &office{w: w, server: slacktest.New(clock.Now), clock: clock}
	t.Cleanup(o.server.Close)
	o.server.AddChannel(slacktest.Channel{ID: "C0SECURITY", Name: "security", Member: true})
	return o
}

// deliver tells of what is pending, with a notifier that knows no more than the
// store does. It is killed around the call of a number, if any.
func (o *office) deliver(killBefore, killAfter int) error {
	bot, err := slack.NewBot(slack.Options{
		Token: slacktest.Token, BaseURL: o.server.URL, Clock: o.clock, Settings: analyzer.SlackSettings{Channel: "C0SECURITY"},
		Ledger: typed.Space[slack.Posted]{Values: o.w.store, Name: "slack"},
	})
	if err != nil {
		return err
	}
	_, err = alert.Deliver(context.Background(), o.w.store, o.clock.Now(), func(ctx context.Context, a analyzer.Alert) error {
		o.calls++
		if o.calls == killBefore {
			return errKilled
		}
		d, _ := o.w.analysis.Catalog.ByID(a.Detection)
		if _, err := bot.Notify(ctx, slack.BuildNotice(a, d, slack.Names{})); err != nil {
			return err
		}
		if o.calls == killAfter {
			return errKilled // posted, and nobody noted it
		}
		return nil
	})
	return err
}

// pages returns the first lines of the messages that open a thread, in order.
func (o *office) pages() []string {
	var texts []string
	for _, m := range o.server.Messages("C0SECURITY") {
		if m.ThreadTS == "" || m.ThreadTS == m.TS {
			texts = append(texts, m.Text)
		}
	}
	slices.Sort(texts)
	return texts
}

// incident is a history of three days for which people are paged: its first day,
// and the other two.
func incident() (before, after []entry) {
	h := &history{}
	day := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	key := ourKeys[0]
	use := func(at time.Time, who caller, n int) {
		for i := range n {
			h.add(h.kms(at.Add(time.Duration(i)*7*time.Second), who, "Decrypt", ourKeys[i%2], fields{"requestParameters": fields{
				"encryptionContext": fields{"SecretARN": fmt.Sprint("arn:aws:secretsmanager:us-east-1:111122223333:secret:s", i)},
			}}))
		}
	}
	use(day, app, 4)
	h.add(h.kms(day.Add(time.Hour), alice, "DisableKey", ourKeys[1], nil))
	h.add(h.kms(day.Add(2*time.Hour), terraform, "CreateGrant", key, fields{
		"requestParameters": fields{"granteePrincipal": "arn:aws:iam::777788889999:role/intruder", "operations": []any{"Decrypt", "CreateGrant"}},
		"responseElements":  fields{"grantId": "g-1", "keyId": key},
	}))
	first := len(h.entries)
	day = day.Add(24 * time.Hour)
	use(day, app, 3)
	use(day.Add(2*time.Hour), alice, 14)
	h.add(h.kms(day.Add(3*time.Hour), alice, "DisableKey", ourKeys[1], nil))
	day = day.Add(24 * time.Hour)
	h.add(h.kms(day, alice, "ScheduleKeyDeletion", key, fields{"requestParameters": fields{"pendingWindowInDays": 7}}))
	h.add(h.kms(day.Add(time.Minute), app, "Decrypt", key, fields{"errorCode": "KMSInvalidStateException", "errorMessage": key + " is pending deletion."}))
	use(day.Add(2*time.Hour), root, 2)
	return h.entries[:first], h.entries[first:]
}

// story plays the incident: the first day is analysed and told, the other two
// are analysed in two ticks, with what kills it, and told.
func story(t *testing.T, w *world, o *office, kill func(step string) error) {
	t.Helper()
	before, after := incident()
	w.analysis.SliceEvents = 18 // as many as the second day has
	w.ingest(1, pack(asRecords, before))
	w.analyze()
	require.NoError(t, o.deliver(0, 0))

	w.ingest(1, pack(asRecords, after))
	w.analysis.Step = kill
	_, err := w.tryAnalyze()
	w.analysis.Step = nil
	if err != nil {
		require.ErrorIs(t, err, errKilled)
		w.die()
		// The notifier may run before the analysis does it again.
		require.NoError(t, o.deliver(0, 0))
		_, err = w.tryAnalyze()
	}
	require.NoError(t, err)
	require.NoError(t, o.deliver(0, 0))
}

// Invariant 4 of the design: whatever boundary a process dies at, the next one
// finds the same, and nobody is told twice.
func TestAnalysisKilledAtAnyBoundaryFindsAndTellsTheSame(t *testing.T) {
	needShipped(t)
	settings := &analyzer.Settings{}
	settings.Defaults()
	only(settings, "KMS-D01", "KMS-D02", "KMS-D07", "KMS-G01", "KMS-G02", "KMS-U01", "KMS-U05", "KMS-U20")

	// What comes of it when nobody dies.
	var visited []string
	whole := newWorld(t, settings)
	defer whole.close()
	whole.keep()
	told := newOffice(t, whole)
	story(t, whole, told, func(step string) error {
		visited = append(visited, step)
		return nil
	})
	require.Equal(t, slices.Concat(boundaries, boundaries), visited, "two ticks, and every boundary of each")
	require.GreaterOrEqual(t, len(told.pages()), 5, "the incident pages people")
	findings, alerts, pages := whole.findings(), whole.alerts(), told.pages()

	same := func(t *testing.T, w *world, o *office) {
		t.Helper()
		require.Empty(t, differences(findings, w.findings()))
		require.Empty(t, gocmp.Diff(alerts, w.alerts()))
		require.Equal(t, pages, o.pages(), "one message for each alert")
		due, err := alert.Pending(context.Background(), w.store, o.clock.Now())
		require.NoError(t, err)
		require.Empty(t, due, "nothing is left to tell")
		waiting, err := w.lake.Pending(context.Background())
		require.NoError(t, err)
		require.Empty(t, waiting)
		generations, err := filepath.Glob(filepath.Join(w.lake.Root(), "memory", "generation-*"))
		require.NoError(t, err)
		require.Len(t, generations, 1, "no half-written memory is left")
	}
	same(t, whole, told)

	for n, step := range visited {
		t.Run(fmt.Sprintf("killed after %s in tick %d", step, n/len(boundaries)+1), func(t *testing.T) {
			w := newWorld(t, settings)
			defer w.close()
			w.keep()
			o := newOffice(t, w)
			calls := 0
			story(t, w, o, func(string) error {
				if calls++; calls == n+1 {
					return errKilled
				}
				return nil
			})
			same(t, w, o)
		})
	}

	t.Run("killed around each message", func(t *testing.T) {
		w := newWorld(t, settings)
		defer w.close()
		w.keep()
		o := newOffice(t, w)
		before, after := incident()
		w.ingest(1, pack(asRecords, before))
		w.analyze()
		require.NoError(t, o.deliver(0, 0))
		w.ingest(1, pack(asRecords, after))
		w.analyze()
		kills := 0
		for n := o.calls + 1; ; n++ {
			errBefore := o.deliver(n, 0)
			w.die()
			errAfter := o.deliver(0, o.calls+1)
			w.die()
			if errBefore == nil && errAfter == nil {
				break
			}
			kills++
			require.Less(t, kills, 100)
		}
		require.Positive(t, kills)
		same(t, w, o)
	})
}

// The same for every kind of call to the store, before and after its effect.
func TestAnalysisKilledAtACallToTheStoreFindsTheSame(t *testing.T) {
	needShipped(t)
	settings := &analyzer.Settings{}
	settings.Defaults()
	only(settings, "KMS-D01", "KMS-D02", "KMS-U01")
	before, after := incident()
	run := func(t *testing.T, failAt int, lost bool) (*world, int) {
		t.Helper()
		w := newWorld(t, settings)
		kept := &memstore.Store{}
		w.store = kept
		w.ingest(1, pack(asRecords, before))
		w.analyze()
		w.ingest(1, pack(asRecords, after))
		faulty := &storetest.Faulty{Store: kept, FailAt: failAt, After: lost}
		w.store = faulty
		_, err := w.tryAnalyze()
		if failAt > 0 {
			require.ErrorIs(t, err, storetest.ErrCrash)
			w.store = kept
			_, err = w.tryAnalyze()
		}
		require.NoError(t, err)
		w.store = kept
		return w, faulty.Calls
	}
	whole, calls := run(t, 0, false)
	defer whole.close()
	require.Greater(t, calls, 10)
	// Neighbouring calls are alike; package alert tries each.
	for failAt := 1; failAt <= calls; failAt += 1 + calls/8 {
		for _, lost := range []bool{false, true} {
			w, _ := run(t, failAt, lost)
			require.Empty(t, differences(whole.findings(), w.findings()), "call %d of %d", failAt, calls)
			require.Empty(t, gocmp.Diff(whole.alerts(), w.alerts()), "call %d of %d", failAt, calls)
			w.close()
		}
	}
}

// Ingest is one batch or none: what dies before the marker is written leaves
// nothing, what dies after it leaves everything, and reading the same again
// changes nothing.
func TestIngestKilledOnItsWayIsReadAgain(t *testing.T) {
	needShipped(t)
	settings := &analyzer.Settings{}
	settings.Defaults()
	before, after := incident()
	all := pack(asRecords, slices.Concat(before, after))
	whole := newWorld(t, settings)
	defer whole.close()
	whole.ingest(1, all)
	whole.analyze()

	tests := []struct {
		name      string
		kill      func(t *testing.T, w *world)
		committed bool
	}{
		{"while it writes objects", func(t *testing.T, w *world) {
			// A staging folder as a process leaves it that is no more.
			dir := filepath.Join(w.lake.Root(), "tmp", "run-dead", "writer-1", "uses", "day=2026-03-02")
			require.NoError(t, os.MkdirAll(dir, 0o750))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "run-001-0.parquet"), []byte("PAR1 and no more"), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(w.lake.Root(), "tmp", "run-dead.lock"), nil, 0o600))
		}, false},
		{"between the marker's writing and its renaming", func(t *testing.T, w *world) {
			require.NoError(t, os.WriteFile(filepath.Join(w.lake.Root(), "inbox", ".aside-1"), []byte(`{"name":"run-001","objects":[{"table":"us`), 0o600))
		}, false},
		{"between the marker and the objects' moves", func(t *testing.T, w *world) {
			// The days cannot be made where files stand in their way.
			for _, day := range []string{"uses/day=2026-03-03", "control/day=2026-03-02"} {
				require.NoError(t, os.WriteFile(filepath.Join(w.lake.Root(), filepath.FromSlash(day)), nil, 0o600))
			}
			_, err := w.tryIngest(1, all)
			require.Error(t, err)
			for _, day := range []string{"uses/day=2026-03-03", "control/day=2026-03-02"} {
				require.NoError(t, os.Remove(filepath.Join(w.lake.Root(), filepath.FromSlash(day))))
			}
		}, true},
	}
	for _, test := range tests {
		for _, analysed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, analysed before it is read again: %t", test.name, analysed), func(t *testing.T) {
				w := newWorld(t, settings)
				defer w.close()
				w.keep()
				test.kill(t, w)
				w.die()
				if analysed {
					w.analyze()
					if test.committed {
						require.Empty(t, differences(whole.findings(), w.findings()))
					} else {
						require.Zero(t, w.ticks, "what was not committed is not there")
					}
				}
				w.ingest(1, all)
				w.analyze()
				require.Empty(t, differences(whole.findings(), w.findings()))
				require.Equal(t, whole.kept, w.kept)
				if test.committed {
					require.Equal(t, whole.kept, w.repeated)
				}
			})
		}
	}
}
