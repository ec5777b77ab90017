package lake

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// fill sets every field of an event to a value that r chooses among a few, and
// to nasty ones now and then.
func fill(r *rand.Rand, ev *analyzer.Event) {
	*ev = analyzer.Event{}
	v := reflect.ValueOf(ev).Elem()
	nasty := []string{"", "\x00", "bad \xff\xfe utf-8", "'; drop table x; --", "ünïcödé 🔑", strings.Repeat("long ", 200), "\u2028\n\r\t"}
	word := func() string {
		if r.IntN(20) == 0 {
			return nasty[r.IntN(len(nasty))]
		}
		return fmt.Sprintf("text-%d", r.IntN(300))
	}
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[time.Time]():
			if r.IntN(3) > 0 {
				f.Set(reflect.ValueOf(day.Add(time.Duration(r.Int64N(1e9)) * time.Millisecond)))
			}
		case f.Kind() == reflect.String:
			f.SetString(word())
		case f.Kind() == reflect.Bool:
			f.SetBool(r.IntN(2) == 0)
		case f.Kind() == reflect.Int:
			f.SetInt(r.Int64N(1000) - 10)
		case f.Kind() == reflect.Slice:
			for range r.IntN(4) {
				f.Set(reflect.Append(f, reflect.ValueOf(word())))
			}
		}
	}
	ev.ID = fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), r.Uint64()>>16)
	ev.Time = day.Add(time.Duration(r.Int64N(3*24*3600*1000)) * time.Millisecond)
	if r.IntN(2) == 0 {
		ev.Source, ev.ReadOnly, ev.Outcome, ev.Type = "kms.amazonaws.com", true, analyzer.OutcomeOK, "AwsApiCall"
	}
}

func open(t *testing.T, dir string) *Lake {
	t.Helper()
	l, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func write(t *testing.T, l *Lake, o WriterOptions, events []analyzer.Event) []analyzer.Object {
	t.Helper()
	w, err := l.NewWriter(o)
	require.NoError(t, err)
	for i := range events {
		require.NoError(t, w.Add(&events[i]))
	}
	objects, err := w.Close()
	require.NoError(t, err)
	return objects
}

func randomEvents(n int) []analyzer.Event {
	r := rand.New(rand.NewPCG(7, 7))
	events := make([]analyzer.Event, n)
	for i := range events {
		fill(r, &events[i])
	}
	return events
}

func duck(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.ExecContext(t.Context(), "set threads = 1; set timezone = 'UTC'")
	require.NoError(t, err)
	return db
}

// readAll reads a table with DuckDB: the events by their ids, as the fields
// that the table has.
func readAll(t *testing.T, db *sql.DB, root string, table analyzer.Table) map[string]analyzer.Event {
	t.Helper()
	columns := Columns(table)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf("select %s from read_parquet('%s/%s/*/*.parquet', hive_types_autocast = false)",
		strings.Join(names, ", "), root, table))
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	want := map[string]string{"varchar": "VARCHAR", "boolean": "BOOLEAN", "integer": "INTEGER", "timestamp": "TIMESTAMP", "varchar[]": "VARCHAR[]"}
	for i, c := range columns {
		require.Equal(t, want[c.SQL], types[i].DatabaseTypeName(), c.Name)
	}
	read := map[string]analyzer.Event{}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, rows.Scan(values...))
		var ev analyzer.Event
		v := reflect.ValueOf(&ev).Elem()
		for i, c := range columns {
			f := fieldOf(v, c.Name)
			switch x := (*values[i].(*any)).(type) {
			case nil:
				require.Equal(t, "timestamp", c.SQL, "%s is null", c.Name)
			case time.Time:
				f.Set(reflect.ValueOf(x.UTC()))
			case string:
				f.SetString(x)
			case bool:
				f.SetBool(x)
			case int32:
				f.SetInt(int64(x))
			case []any:
				for _, e := range x {
					f.Set(reflect.Append(f, reflect.ValueOf(e)))
				}
			default:
				t.Fatalf("%s is a %T", c.Name, x)
			}
		}
		read[ev.ID] = ev
	}
	require.NoError(t, rows.Err())
	return read
}

func fieldOf(v reflect.Value, column string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("col") == column {
			return v.Field(i)
		}
	}
	panic("no field for column " + column)
}

// stored returns what the lake keeps of an event: valid UTF-8, and of uses only
// their columns.
func stored(ev analyzer.Event) analyzer.Event {
	kept := map[string]bool{}
	for _, c := range Columns(ev.Table()) {
		kept[c.Name] = true
	}
	v := reflect.ValueOf(&ev).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case !kept[v.Type().Field(i).Tag.Get("col")]:
			f.SetZero()
		case f.Kind() == reflect.String:
			f.SetString(strings.ToValidUTF8(f.String(), "\uFFFD"))
		case f.Kind() == reflect.Slice:
			for j := range f.Len() {
				f.Index(j).SetString(strings.ToValidUTF8(f.Index(j).String(), "\uFFFD"))
			}
		}
	}
	return ev
}

func TestEveryEventIsReadBackByDuckDBAsItWasWritten(t *testing.T) {
	for rows, n := range map[int]int{1: 30, 7: 100, 300: 900, 4000: 900} {
		t.Run(fmt.Sprintf("row groups of at most %d rows", rows), func(t *testing.T) {
			events := randomEvents(n)
			dir := t.TempDir()
			l := open(t, dir)
			objects := write(t, l, WriterOptions{RowGroupRows: rows, Name: "a"}, events)
			require.NoError(t, l.Commit(t.Context(), Batch{Objects: objects}))

			db := duck(t)
			total := 0
			for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
				read := readAll(t, db, dir, table)
				total += len(read)
				for i := range events {
					if events[i].Table() != table {
						continue
					}
					if diff := cmp.Diff(stored(events[i]), read[events[i].ID]); diff != "" {
						t.Fatalf("event %d differs:\n%s", i, diff)
					}
				}
			}
			require.Equal(t, len(events), total)
		})
	}
}

func TestObjectsSayWhatIsInThem(t *testing.T) {
	events := randomEvents(500)
	dir := t.TempDir()
	l := open(t, dir)
	objects := write(t, l, WriterOptions{Name: "run-0"}, events)
	require.NoError(t, l.Commit(t.Context(), Batch{Name: "run", Objects: objects}))
	require.Len(t, objects, 6, "two tables, three days")
	var rows int64
	for _, o := range objects {
		rows += o.Rows
		var first, last time.Time
		for i := range events {
			if ev := &events[i]; ev.Table() == o.Table && strings.Contains(o.Path, ev.Time.Format(time.DateOnly)) {
				if first.IsZero() || ev.Time.Before(first) {
					first = ev.Time
				}
				if ev.Time.After(last) {
					last = ev.Time
				}
			}
		}
		require.Equal(t, first, o.MinTime)
		require.Equal(t, last, o.MaxTime)
		stat, err := os.Stat(filepath.Join(dir, o.Path))
		require.NoError(t, err)
		require.Equal(t, stat.Size(), o.Bytes)
	}
	require.EqualValues(t, 500, rows)
}

func TestAnotherReaderOfParquetAgreesOnSchemaAndBounds(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	objects := write(t, l, WriterOptions{RowGroupRows: 100}, randomEvents(600))
	require.NoError(t, l.Commit(t.Context(), Batch{Objects: objects}))
	for _, o := range objects {
		f, err := os.Open(filepath.Join(dir, o.Path))
		require.NoError(t, err)
		p, err := parquet.OpenFile(f, o.Bytes)
		require.NoError(t, err)
		require.Equal(t, o.Rows, p.NumRows())
		leaf, ok := p.Schema().Lookup("event_time")
		require.True(t, ok)
		for _, g := range p.RowGroups() {
			rows := parquet.MultiRowGroup(g).Rows()
			buffer := make([]parquet.Row, 200)
			n, _ := rows.ReadRows(buffer)
			require.EqualValues(t, g.NumRows(), n)
			require.NoError(t, rows.Close())
			low, high, ok := g.ColumnChunks()[leaf.ColumnIndex].(*parquet.FileColumnChunk).Bounds()
			require.True(t, ok)
			for _, row := range buffer[:n] {
				at := row[leaf.ColumnIndex].Int64()
				require.LessOrEqual(t, low.Int64(), at)
				require.GreaterOrEqual(t, high.Int64(), at)
			}
		}
		require.NoError(t, f.Close())
	}
}

func TestTheSameEventsGiveTheSameObjects(t *testing.T) {
	events := randomEvents(300)
	first := write(t, open(t, t.TempDir()), WriterOptions{}, events)
	copied := randomEvents(300) // equal texts at other addresses
	second := write(t, open(t, t.TempDir()), WriterOptions{}, copied)
	require.Equal(t, first, second)
}

func TestFewDaysAreOpenAtATime(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	w, err := l.NewWriter(WriterOptions{Name: "x", OpenDays: 3})
	require.NoError(t, err)
	ev := analyzer.Event{Source: "kms.amazonaws.com", Name: "DisableKey"}
	for i := range 50 {
		ev.ID = fmt.Sprint(i)
		ev.Time = day.AddDate(0, 0, i%10)
		require.NoError(t, w.Add(&ev))
		require.LessOrEqual(t, len(w.parts), 3)
	}
	objects, err := w.Close()
	require.NoError(t, err)
	require.NoError(t, l.Commit(t.Context(), Batch{Objects: objects}))
	require.Len(t, readAll(t, duck(t), dir, analyzer.TableControl), 50)
}

func TestDictionariesOfAnySizeAreReadBack(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	w, err := l.NewWriter(WriterOptions{RowGroupRows: 1 << 20, Memory: 1 << 30})
	require.NoError(t, err)
	const distinct = 1<<16 + 100
	for i := range 2*distinct + 3 {
		ev := analyzer.Event{
			Time: day, ID: fmt.Sprint(i), Source: "kms.amazonaws.com", ReadOnly: true, Outcome: analyzer.OutcomeOK,
			SessionName: fmt.Sprint("session-", i%distinct), Name: fmt.Sprint("name-", i%256), Client: fmt.Sprint("client-", i%257),
		}
		require.NoError(t, w.Add(&ev))
	}
	objects, err := w.Close()
	require.NoError(t, err)
	require.NoError(t, l.Commit(t.Context(), Batch{Objects: objects}))
	var wrong, rows int
	require.NoError(t, duck(t).QueryRowContext(t.Context(), fmt.Sprintf(`
		select count(*), count(*) filter (where session_name <> 'session-' || cast(cast(event_id as integer) %% %d as varchar)
			or event_name <> 'name-' || cast(cast(event_id as integer) %% 256 as varchar)
			or client <> 'client-' || cast(cast(event_id as integer) %% 257 as varchar))
		from read_parquet('%s/uses/*/*.parquet')`, distinct, dir)).Scan(&rows, &wrong))
	require.Equal(t, 2*distinct+3, rows)
	require.Zero(t, wrong)
}

func TestWaitingEventsTakeNoMoreThanTheirMemory(t *testing.T) {
	l := open(t, t.TempDir())
	w, err := l.NewWriter(WriterOptions{Memory: 1 << 20})
	require.NoError(t, err)
	for i := range 2000 {
		ev := analyzer.Event{Time: day.Add(time.Duration(i%5) * 24 * time.Hour), ID: fmt.Sprint(i), Source: "s3.amazonaws.com"}
		ev.Request = strings.Repeat(fmt.Sprint(i), 2000)
		require.NoError(t, w.Add(&ev))
		require.Less(t, w.held, int64(1<<20))
	}
	_, err = w.Close()
	require.NoError(t, err)
}

func TestAnEventWithoutATimeIsRefusedAndTheRestGoesOn(t *testing.T) {
	l := open(t, t.TempDir())
	w, err := l.NewWriter(WriterOptions{})
	require.NoError(t, err)
	for _, at := range []time.Time{{}, time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		require.ErrorIs(t, w.Add(&analyzer.Event{Time: at}), ErrNoTime)
	}
	require.NoError(t, w.Add(&analyzer.Event{Time: day, Source: "a"}))
	require.Equal(t, map[string]int64{"a": 1}, w.Sources())
	objects, err := w.Close()
	require.NoError(t, err)
	require.Len(t, objects, 1)
	require.Error(t, w.Add(&analyzer.Event{Time: day}), "the writer is closed")
}

// visible lists the files below the tables.
func visible(t *testing.T, dir string) (files []string) {
	t.Helper()
	for _, table := range []string{"uses", "control"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(dir, table), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, path)
			}
			return err
		}))
	}
	return files
}

func leftovers(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, stagingDir))
	require.NoError(t, err)
	return len(entries)
}

// die lets go of the lake as a killed process does: its lock is freed, its
// files stay.
func (l *Lake) die(t *testing.T) {
	t.Helper()
	if l.lock != nil {
		require.NoError(t, l.lock.Unlock())
		l.lock = nil
	}
}

func TestABatchIsVisibleAsAWholeOrNotAtAll(t *testing.T) {
	ctx := context.Background()
	events := randomEvents(100)

	for _, c := range []struct {
		name    string
		until   func(t *testing.T, l *Lake, b Batch, w *Writer)
		visible bool
	}{
		{"killed while it writes", func(*testing.T, *Lake, Batch, *Writer) {}, false},
		{"killed before the marker", func(t *testing.T, _ *Lake, _ Batch, w *Writer) {
			_, err := w.Close()
			require.NoError(t, err)
		}, false},
		{"killed in the middle of the marker", func(t *testing.T, l *Lake, _ Batch, w *Writer) {
			_, err := w.Close()
			require.NoError(t, err)
			dir, err := l.staging("marker")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "marker.json"), []byte(`{"obj`), 0o600))
		}, false},
		{"killed between the marker and the moves", func(t *testing.T, l *Lake, b Batch, w *Writer) {
			var err error
			b.Objects, err = w.Close()
			require.NoError(t, err)
			require.NoError(t, l.complete(&b))
			marker, err := json.Marshal(b)
			require.NoError(t, err)
			require.NoError(t, l.mark(b.Name, marker))
			require.Empty(t, visible(t, l.root))
		}, true},
		{"killed in the middle of the moves", func(t *testing.T, l *Lake, b Batch, w *Writer) {
			var err error
			b.Objects, err = w.Close()
			require.NoError(t, err)
			require.NoError(t, l.complete(&b))
			marker, err := json.Marshal(b)
			require.NoError(t, err)
			require.NoError(t, l.mark(b.Name, marker))
			half := b
			half.Objects = b.Objects[:2]
			require.NoError(t, l.move(half))
			require.Len(t, visible(t, l.root), 2)
		}, true},
		{"committed", func(t *testing.T, l *Lake, b Batch, w *Writer) {
			var err error
			b.Objects, err = w.Close()
			require.NoError(t, err)
			require.NoError(t, l.Commit(ctx, b))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := Open(dir)
			require.NoError(t, err)
			w, err := l.NewWriter(WriterOptions{Name: "a", RowGroupRows: 10})
			require.NoError(t, err)
			for i := range events {
				require.NoError(t, w.Add(&events[i]))
			}
			c.until(t, l, Batch{Name: "run"}, w)

			open(t, dir)
			require.NotZero(t, leftovers(t, dir), "a living process's files were taken away")
			l.die(t)
			again := open(t, dir)
			require.Zero(t, leftovers(t, dir), "files of a dead process are still there")

			inbox, err := again.Inbox(ctx)
			require.NoError(t, err)
			if !c.visible {
				require.Empty(t, inbox)
				require.Empty(t, visible(t, dir))
				return
			}
			require.Len(t, inbox, 1)
			require.Equal(t, "run", inbox[0].Name)
			require.EqualValues(t, 100, inbox[0].Events)
			require.Len(t, visible(t, dir), len(inbox[0].Objects))
			db := duck(t)
			require.Equal(t, 100, len(readAll(t, db, dir, analyzer.TableUses))+len(readAll(t, db, dir, analyzer.TableControl)))

			require.NoError(t, again.Done(ctx, "run"))
			require.NoError(t, again.Done(ctx, "run"), "done twice is done")
			inbox, err = again.Inbox(ctx)
			require.NoError(t, err)
			require.Empty(t, inbox)
			require.NotEmpty(t, visible(t, dir), "the objects stay")
		})
	}
}

func TestTheSameBatchCommittedAgainReplacesItself(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	events := randomEvents(100)
	for range 3 {
		l, err := Open(dir)
		require.NoError(t, err)
		objects := write(t, l, WriterOptions{Name: "files-1-to-9"}, events)
		require.NoError(t, l.Commit(ctx, Batch{Name: "run", Objects: objects}))
		require.NoError(t, l.Close())
		require.Zero(t, leftovers(t, dir))
		inbox, err := l.Inbox(ctx)
		require.NoError(t, err)
		require.Len(t, inbox, 1)
		require.Len(t, visible(t, dir), len(objects))
	}
}

func TestTwoWritersMustNotMakeTheSameObject(t *testing.T) {
	l := open(t, t.TempDir())
	events := randomEvents(10)
	write(t, l, WriterOptions{Name: "a"}, events)
	w, err := l.NewWriter(WriterOptions{Name: "a"})
	require.NoError(t, err)
	require.NoError(t, w.Add(&events[0]))
	_, err = w.Close()
	require.ErrorContains(t, err, "a name of its own")
}

func TestObjectsLeaveThePendingOnesAsTheyAreAnalysed(t *testing.T) {
	ctx := t.Context()
	l := open(t, t.TempDir())
	for _, name := range []string{"a", "b"} {
		require.NoError(t, l.Commit(ctx, Batch{Name: name, Objects: write(t, l, WriterOptions{Name: name}, randomEvents(100))}))
	}
	require.NoError(t, l.Commit(ctx, Batch{Name: "empty"}))
	pending, err := l.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 12)
	for range 2 {
		require.NoError(t, l.Analysed(ctx, pending[:7]))
		left, err := l.Pending(ctx)
		require.NoError(t, err)
		require.Equal(t, pending[7:], left)
		inbox, err := l.Inbox(ctx)
		require.NoError(t, err)
		require.Len(t, inbox, 1, "markers that name nothing more are gone")
	}
}

func TestAMarkerWhoseObjectIsGoneIsAnErrorThatSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	objects := write(t, l, WriterOptions{}, randomEvents(5))
	require.NoError(t, l.Commit(t.Context(), Batch{Objects: objects}))
	require.NoError(t, os.Remove(filepath.Join(dir, objects[0].Path)))
	_, err := l.Inbox(t.Context())
	require.ErrorIs(t, err, ErrMissing)
	require.ErrorContains(t, err, "ingest its files again")
	open(t, dir) // and the lake still opens
}

func TestAMarkerCannotLeadOutOfTheLake(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	marker := `{"name":"x","objects":[{"table":"uses","path":"../../etc/passwd"}]}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, inboxDir, "x.json"), []byte(marker), 0o600))
	_, err := l.Inbox(t.Context())
	require.ErrorContains(t, err, "out of the lake")
	require.ErrorContains(t, l.Commit(t.Context(), Batch{Name: "../x"}), "name of a batch")
}

func TestHistoryListsTheObjectsOfDays(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	require.NoError(t, l.Commit(t.Context(), Batch{Objects: write(t, l, WriterOptions{Name: "n"}, randomEvents(200))}))
	objects, err := l.History(t.Context(), analyzer.TableUses, day.Add(25*time.Hour), day.Add(30*time.Hour))
	require.NoError(t, err)
	require.Len(t, objects, 1)
	require.Equal(t, "uses/day=2026-03-03/n.parquet", objects[0].Path)
	days, err := l.Days(analyzer.TableControl)
	require.NoError(t, err)
	require.Equal(t, []string{"2026-03-02", "2026-03-03", "2026-03-04"}, days)
}

func TestQuarantineKeepsRejectsAsLines(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for range 2 { // a second run of the same name replaces the first
		q, err := l.Quarantine("run")
		require.NoError(t, err)
		require.NoError(t, q.Add(analyzer.Reject{File: "a.json.gz", Offset: 17, Reason: "cut", Record: []byte(`{"eventName":"De`)}))
		require.NoError(t, q.Add(analyzer.Reject{File: "b\xff", Offset: 1, Reason: "invalid UTF-8", Record: []byte("\xff\xfe")}))
		require.NoError(t, q.Add(analyzer.Reject{File: "c", Reason: "too large", Record: []byte(strings.Repeat("é", MaxQuarantined))}))
		path, n, err := q.Close()
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
		text, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		require.Len(t, lines, 3)
		require.JSONEq(t, `{"file":"a.json.gz","offset":17,"reason":"cut","record":"{\"eventName\":\"De"}`, lines[0])
		var last quarantined
		require.NoError(t, json.Unmarshal([]byte(lines[2]), &last))
		require.True(t, last.Cut)
		require.LessOrEqual(t, len(last.Record), MaxQuarantined)
		require.NotContains(t, last.Record, "\uFFFD")
	}
	q, err := l.Quarantine("nothing")
	require.NoError(t, err)
	path, n, err := q.Close()
	require.NoError(t, err)
	require.Empty(t, path)
	require.Zero(t, n)
}
