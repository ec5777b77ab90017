package athena_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/hunt/athena"
	"github.com/keytrail/keytrail/analyzer/hunt/athena/athenatest"
)

// open returns a hunt with a fake, and the pauses that it makes.
func open(t *testing.T, f *athenatest.Fake) (*athena.Athena, *[]time.Duration) {
	t.Helper()
	var pauses []time.Duration
	return &athena.Athena{
		Client: athenatest.Client(f.Start(t)), Workgroup: "keytrail", Database: "lake", MaxScan: 10 << 30,
		Wait: func(ctx context.Context, d time.Duration) error {
			pauses = append(pauses, d)
			return ctx.Err()
		},
	}, &pauses
}

func none([]string, []any) error { return errors.New("no row was expected") }

func TestAQueryIsFollowedToItsRows(t *testing.T) {
	f := &athenatest.Fake{
		States: []athenatest.State{{Name: "QUEUED"}, {Name: "RUNNING", Scanned: 5}, {Name: "RUNNING", Scanned: 6}, {Name: "SUCCEEDED", Scanned: 70_000_000}},
		Columns: [][2]string{
			{"principal", "varchar"},
			{"event_count", "bigint"},
			{"ratio", "double"},
			{"learning", "boolean"},
			{"window_start", "timestamp"},
			{"day", "date"},
			{"event_ids", "array"},
			{"odd", "bigint"},
		},
		Rows: [][]*string{
			athenatest.Text("role/a", "7", "0.5", "true", "2026-03-02 09:00:00.250", "2026-03-02", "[e-1, e-2]", "seven"),
			{nil, nil, nil, nil, nil, nil, nil, nil},
			athenatest.Text("", "-1", "2.0", "false", "2026-03-02 09:00:00.000", "2026-03-03", "[]", "1"),
		},
		PageRows: 2,
	}
	a, pauses := open(t, f)
	var rows [][]any
	u, err := a.Query(t.Context(), "select 1", func(columns []string, values []any) error {
		require.Equal(t, []string{"principal", "event_count", "ratio", "learning", "window_start", "day", "event_ids", "odd"}, columns)
		rows = append(rows, values)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, athena.Usage{Query: "q-1", Scanned: 70_000_000, Charged: true}, u)
	nine := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	require.Equal(t, [][]any{
		{"role/a", int64(7), 0.5, true, nine.Add(250 * time.Millisecond), nine.Truncate(24 * time.Hour), "[e-1, e-2]", "seven"},
		{nil, nil, nil, nil, nil, nil, nil, nil},
		{"", int64(-1), 2.0, false, nine, nine.Truncate(24 * time.Hour).Add(24 * time.Hour), "[]", int64(1)},
	}, rows)
	requireOps(t, f, "StartQueryExecution", "GetQueryExecution", "GetQueryResults")
	require.Equal(t, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, *pauses)

	started := f.Calls()[0].Body
	require.Equal(t, "select 1", started["QueryString"])
	require.Equal(t, "keytrail", started["WorkGroup"])
	require.Equal(t, map[string]any{"Catalog": "AwsDataCatalog", "Database": "lake"}, started["QueryExecutionContext"])
}

func TestManyPagesAreReadWhole(t *testing.T) {
	f := &athenatest.Fake{States: []athenatest.State{{Name: "SUCCEEDED"}}, Columns: [][2]string{{"n", "integer"}}, PageRows: 100}
	for n := range 1234 {
		f.Rows = append(f.Rows, athenatest.Text(fmt.Sprint(n)))
	}
	a, _ := open(t, f)
	next := int64(0)
	_, err := a.Query(t.Context(), "select n", func(_ []string, v []any) error {
		require.Equal(t, next, v[0])
		next++
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, int64(1234), next)
	require.Equal(t, 13, strings.Count(strings.Join(f.Ops(), " "), "GetQueryResults"))

	_, err = a.Query(t.Context(), "select n", func([]string, []any) error { return errors.New("enough") })
	require.EqualError(t, err, "enough")
}

func TestAThrottledCallIsMadeAgain(t *testing.T) {
	f := &athenatest.Fake{
		States: []athenatest.State{{Name: "SUCCEEDED"}}, Columns: [][2]string{{"n", "integer"}}, Rows: [][]*string{athenatest.Text("1")}, PageRows: 10,
		Throttle: map[string]int{"StartQueryExecution": 2, "GetQueryExecution": 3, "GetQueryResults": 1},
	}
	a, pauses := open(t, f)
	rows := 0
	_, err := a.Query(t.Context(), "select 1", func([]string, []any) error { rows++; return nil })
	require.NoError(t, err)
	require.Equal(t, 1, rows)
	require.Len(t, *pauses, 6)

	f.Throttle["StartQueryExecution"] = 1000
	_, err = a.Query(t.Context(), "select 1", none)
	require.ErrorContains(t, err, "start the query: ")
	require.ErrorContains(t, err, "TooManyRequestsException")
}

func TestAFailedQuerySaysWhyAndCostsNothing(t *testing.T) {
	f := &athenatest.Fake{States: []athenatest.State{{Name: "RUNNING", Scanned: 5}, {Name: "FAILED", Reason: "COLUMN_NOT_FOUND: line 1:8: Column 'x' cannot be resolved", Scanned: 7}}}
	a, _ := open(t, f)
	u, err := a.Query(t.Context(), "select x", none)
	require.EqualError(t, err, "query q-1 failed: COLUMN_NOT_FOUND: line 1:8: Column 'x' cannot be resolved")
	require.Equal(t, athena.Usage{Query: "q-1", Scanned: 7}, u)
	requireOps(t, f, "StartQueryExecution", "GetQueryExecution")
}

// Athena cancels a query at the limit of its workgroup; what was read is paid.
func TestACancelledQuerySaysWhyAndIsPaid(t *testing.T) {
	f := &athenatest.Fake{States: []athenatest.State{{Name: "CANCELLED", Reason: "Bytes scanned limit was exceeded", Scanned: 1 << 30}}}
	a, _ := open(t, f)
	u, err := a.Query(t.Context(), "select 1", none)
	require.EqualError(t, err, "query q-1 was cancelled: Bytes scanned limit was exceeded")
	require.Equal(t, athena.Usage{Query: "q-1", Scanned: 1 << 30, Charged: true}, u)

	f.States[0].Reason = ""
	_, err = a.Query(t.Context(), "select 1", none)
	require.EqualError(t, err, "query q-1 was cancelled: Athena gave no reason")
}

func TestAQueryThatReadsTooMuchIsStopped(t *testing.T) {
	f := &athenatest.Fake{States: []athenatest.State{{Name: "RUNNING", Scanned: 10 << 30}, {Name: "RUNNING", Scanned: 11 << 30}, {Name: "RUNNING", Scanned: 12 << 30}}}
	a, _ := open(t, f)
	u, err := a.Query(t.Context(), "select 1", none)
	require.ErrorIs(t, err, athena.ErrStopped)
	require.Equal(t, athena.Usage{Query: "q-1", Scanned: 12 << 30, Charged: true}, u, "with what it read until it stopped")
	require.True(t, f.Stopped())
}

func TestAQueryIsStoppedWhenNobodyWaitsForIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &athenatest.Fake{States: []athenatest.State{{Name: "RUNNING", Scanned: 1}, {Name: "RUNNING", Scanned: 2}, {Name: "RUNNING", Scanned: 3}}}
	f.OnAsk = func(n int) {
		if n == 2 {
			cancel()
		}
	}
	a, _ := open(t, f)
	u, err := a.Query(ctx, "select 1", none)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, f.Stopped())
	require.Equal(t, "q-1", u.Query)
	require.Equal(t, int64(3), u.Scanned)

	f = &athenatest.Fake{}
	a, _ = open(t, f)
	_, err = a.Query(ctx, "select 1", none)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, f.Ops(), "nothing is started any more")
}

// When it cannot be seen how a query is doing, it is not left to run.
func TestAQueryOutOfSightIsStopped(t *testing.T) {
	f := &athenatest.Fake{Refuse: map[string]string{"GetQueryExecution": "AccessDeniedException"}}
	a, _ := open(t, f)
	_, err := a.Query(t.Context(), "select 1", none)
	require.ErrorContains(t, err, "ask how query q-1 is doing: ")
	require.True(t, f.Stopped())

	f.Refuse["StopQueryExecution"] = "AccessDeniedException"
	_, err = a.Query(t.Context(), "select 1", none)
	require.ErrorContains(t, err, "query q-1 may still run, up to the workgroup's limit")
}

func TestAStatementThatAthenaCannotTakeIsNotSent(t *testing.T) {
	f := &athenatest.Fake{}
	a, _ := open(t, f)
	_, err := a.Query(t.Context(), strings.Repeat("x", 262_145), none)
	require.ErrorContains(t, err, "the statement has 262145 bytes, Athena takes 262144")
	require.Empty(t, f.Ops())
}

func TestAWorkgroupWithoutALimitIsRefused(t *testing.T) {
	f := &athenatest.Fake{Throttle: map[string]int{"GetWorkGroup": 1}, Workgroup: map[string]any{
		"Name": "keytrail", "State": "ENABLED", "Configuration": map[string]any{"BytesScannedCutoffPerQuery": 10 << 30},
	}}
	a, _ := open(t, f)
	limit, err := a.Limit(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(10<<30), limit)

	for _, w := range []map[string]any{
		{"Name": "keytrail", "State": "ENABLED"},
		{"Name": "keytrail", "State": "ENABLED", "Configuration": map[string]any{}},
		{"Name": "keytrail", "State": "DISABLED", "Configuration": map[string]any{"BytesScannedCutoffPerQuery": 10 << 30}},
	} {
		f.Workgroup = w
		_, err = a.Limit(t.Context())
		require.ErrorIs(t, err, athena.ErrRefused)
	}
	f.Refuse = map[string]string{"GetWorkGroup": "InvalidRequestException"}
	_, err = a.Limit(t.Context())
	require.ErrorContains(t, err, "look up the workgroup keytrail: ")
	require.NotErrorIs(t, err, athena.ErrRefused)
}

func TestCostsAreRoundedUpAsAthenaDoes(t *testing.T) {
	for scanned, want := range map[int64]float64{
		0: 10 * 1.048576e6 / 1e12 * 5, 1: 10 * 1.048576e6 / 1e12 * 5, 11 << 20: 11 * 1.048576e6 / 1e12 * 5,
		(11 << 20) + 1: 12 * 1.048576e6 / 1e12 * 5, 1 << 40: 5.497558138880,
	} {
		require.InDelta(t, want, athena.Cost(scanned, athena.PricePerTB), 1e-12, scanned)
	}
	require.InDelta(t, 2*athena.Cost(1<<40, 5), athena.Cost(1<<40, 10), 1e-9)
}

// bucket is a listing of objects, as S3 gives it: in order, in pages.
type bucket struct {
	keys []string
	size int64
	page int
	asks int
	err  error
}

func (b *bucket) List(_ context.Context, prefix, after string) ([]cloud.ObjectInfo, bool, error) {
	b.asks++
	var out []cloud.ObjectInfo
	for _, k := range b.keys {
		if strings.HasPrefix(k, prefix) && k > after {
			if len(out) == b.page {
				return out, true, b.err
			}
			out = append(out, cloud.ObjectInfo{Key: k, Size: b.size})
		}
	}
	return out, false, b.err
}

func TestAnEstimateAddsUpTheDaysThatAreRead(t *testing.T) {
	b := &bucket{size: 100, page: 3}
	for _, table := range []string{"control", "uses"} {
		for day := 1; day <= 9; day++ {
			for n := range 2 {
				b.keys = append(b.keys, fmt.Sprintf("lake/%s/day=2026-03-%02d/%d.parquet", table, day, n))
			}
		}
	}
	b.keys = append(b.keys, "lake/uses_of_others/day=2026-03-02/0.parquet")
	at := func(day int) time.Time { return time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC) }
	f := &athenatest.Fake{Location: "s3://bucket/lake/TABLE"}
	a, _ := open(t, f)
	estimate := func(reads map[analyzer.Table]hunt.Days) int64 {
		n, err := a.Estimate(t.Context(), reads, func(name string) athena.Lister {
			require.Equal(t, "bucket", name)
			return b
		})
		require.NoError(t, err)
		return n
	}
	require.Equal(t, int64(600), estimate(map[analyzer.Table]hunt.Days{analyzer.TableUses: {From: at(2), To: at(4)}}))
	require.Equal(t, int64(800), estimate(map[analyzer.Table]hunt.Days{analyzer.TableUses: {To: at(4)}}))
	require.Equal(t, int64(2400), estimate(map[analyzer.Table]hunt.Days{analyzer.TableUses: {From: at(7), To: at(20)}, analyzer.TableControl: {To: at(20)}}))
	require.Zero(t, estimate(nil))
}

func TestAnEstimateThatCannotBeMadeSaysSo(t *testing.T) {
	reads := map[analyzer.Table]hunt.Days{analyzer.TableUses: {To: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}}
	b := &bucket{err: errors.New("denied")}
	f := &athenatest.Fake{Location: "s3://bucket/TABLE/"}
	a, _ := open(t, f)
	estimate := func() error {
		_, err := a.Estimate(t.Context(), reads, func(string) athena.Lister { return b })
		require.ErrorIs(t, err, athena.ErrUnknown)
		return err
	}
	require.ErrorContains(t, estimate(), "denied")
	f.Location = ""
	require.ErrorContains(t, estimate(), "Athena does not say where the table uses is")
	f.Refuse = map[string]string{"GetTableMetadata": "MetadataException"}
	require.ErrorContains(t, estimate(), "MetadataException")

	// A lake of too many objects is not listed to its end.
	f.Refuse, f.Location = nil, "s3://bucket/TABLE"
	b = &bucket{page: 1}
	for n := range 300 {
		b.keys = append(b.keys, fmt.Sprintf("uses/day=2026-02-01/%04d.parquet", n))
	}
	require.ErrorContains(t, estimate(), "there are more than 200000 objects")
	require.Equal(t, 200, b.asks)
}

func requireOps(t *testing.T, f *athenatest.Fake, want ...string) {
	t.Helper()
	require.Equal(t, want, slices.Compact(f.Ops()))
}
