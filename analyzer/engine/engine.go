// Package engine runs the detections over a slice of the lake with DuckDB.
//
// A tick reads the objects that are new, and of the past only what memory
// holds: control events of the last day, uses of the last hours rolled up by 5
// minutes, and what older events were folded into (see package memory). Its
// cost therefore follows what is new, not how long the history is.
//
// The result does not depend on how events arrive, as long as none is later
// than the allowed lateness. Two frontiers see to that: an event is folded
// only when no window that is still open and no late event can need it one by
// one. A tick recomputes every finding that starts at or after the frontier of
// what the detection reads, and leaves those before it as they are.
package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/macros"
)

//go:embed sql/tables.sql
var tablesSQL string

//go:embed sql/views.sql
var viewsSQL string

//go:embed sql/roll_up_tables.sql
var rollUpTablesSQL string

//go:embed sql/roll_up.sql
var rollUpSQL string

//go:embed sql/sum_up.sql
var sumUpSQL string

// ErrOutOfMemory is returned, wrapped, when DuckDB reaches its memory limit and
// cannot spill to disk. The slice was not analysed; a smaller one may pass.
var ErrOutOfMemory = errors.New("the memory limit of the analysis was reached")

// Config is what an engine needs to know. Zero values have sound defaults
// where the comment names one.
type Config struct {
	LakeRoot    string // folder that the paths of objects are relative to
	MemoryRoot  string // folder of memory's generations
	TempDir     string // where DuckDB spills, made if need be; default os.TempDir
	MemoryLimit int64  // bytes; default 1 GiB
	Threads     int    // default GOMAXPROCS

	Settings   *analyzer.Settings
	Detections []*analyzer.Detection
	// Render fills the parameters of a detection's SQL.
	Render func(d *analyzer.Detection, at Moment) (string, error)
	// LearnUntil ends the learning of baseline detections; zero lets each learn
	// for its own number of days from the first event.
	LearnUntil time.Time
	// History lists the objects of a table that may hold events of the days
	// from and to, to tell a late event from one seen long ago. May be nil when
	// the lake holds nothing but the slice.
	History func(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error)
	// Step, when set, is called between the steps of a tick; an error ends it
	// there, as a crash would.
	Step func(name string) error
}

// Moment is what the engine knows when it runs a detection; each field is a
// parameter of its SQL.
type Moment struct {
	Now          time.Time // newest event time seen
	LearnUntil   time.Time // before it baseline detections only learn
	HistoryStart time.Time // first event time ever seen
	HasOrg       bool      // the settings list the organisation's accounts
}

// Engine is one DuckDB database in memory. It is not safe for concurrent use.
type Engine struct {
	cfg  Config
	db   *sql.DB
	conn *sql.Conn
	tmp  string
	// controlColumns and usesColumns are the lake's columns, in order.
	controlColumns, usesColumns []column
}

type column struct{ name, typ string }

// Open starts an engine. Close it to free the database and its temporary files.
func Open(ctx context.Context, cfg Config) (_ *Engine, err error) {
	if cfg.MemoryLimit == 0 {
		cfg.MemoryLimit = 1 << 30
	}
	if cfg.Threads == 0 {
		cfg.Threads = runtime.GOMAXPROCS(0)
	}
	e := &Engine{cfg: cfg}
	e.controlColumns, e.usesColumns = eventColumns()
	if cfg.TempDir != "" {
		if err := os.MkdirAll(cfg.TempDir, 0o700); err != nil {
			return nil, fmt.Errorf("make a folder for the analysis: %w", err)
		}
	}
	if e.tmp, err = os.MkdirTemp(cfg.TempDir, "keytrail-duckdb-"); err != nil {
		return nil, fmt.Errorf("make a temporary folder for the analysis: %w", err)
	}
	defer func() {
		if err != nil {
			_ = e.Close()
		}
	}()
	dirs := []string{e.tmp}
	for _, d := range []string{cfg.LakeRoot, cfg.MemoryRoot} {
		if d == "" {
			continue
		}
		abs, err := filepath.Abs(d)
		if err != nil {
			return nil, fmt.Errorf("open the analysis: %w", err)
		}
		dirs = append(dirs, abs)
	}
	connector, err := duckdb.NewConnector("", func(ex driver.ExecerContext) error {
		for _, q := range []string{
			"set TimeZone = 'UTC'",
			fmt.Sprintf("set memory_limit = '%d B'", cfg.MemoryLimit),
			fmt.Sprintf("set threads = %d", cfg.Threads),
			"set temp_directory = " + quote(e.tmp),
			"set preserve_insertion_order = false",
			"set allowed_directories = " + quoteList(dirs),
			"set autoinstall_known_extensions = false",
			"set autoload_known_extensions = false",
			"set enable_external_access = false",
		} {
			if _, err := ex.ExecContext(ctx, q, nil); err != nil {
				// Every connection runs this, and what is locked stays set.
				if strings.Contains(err.Error(), "locked") || strings.Contains(err.Error(), "allowed_directories when enable_external_access is disabled") {
					return nil
				}
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	e.db = sql.OpenDB(connector)
	if e.conn, err = e.db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	if err := e.exec(ctx, "set up the macros", macros.SQL+";"+fastKeys()+"; set parquet_metadata_cache = true; set lock_configuration = true"); err != nil {
		return nil, err
	}
	return e, nil
}

// Close frees the database and its temporary files.
func (e *Engine) Close() error {
	var errs []error
	if e.conn != nil {
		errs = append(errs, e.conn.Close())
	}
	if e.db != nil {
		errs = append(errs, e.db.Close())
	}
	if e.tmp != "" {
		errs = append(errs, os.RemoveAll(e.tmp))
	}
	return errors.Join(errs...)
}

// exec runs statements; doing says what for, in an error.
func (e *Engine) exec(ctx context.Context, doing, query string) error {
	if _, err := e.conn.ExecContext(ctx, query); err != nil {
		return wrap(doing, err)
	}
	return nil
}

// fill makes a table anew and appends rows to it. What logs say goes into the
// database this way, never as part of a statement.
func (e *Engine) fill(ctx context.Context, doing, table string, columns []column, rows [][]driver.Value) error {
	if err := e.exec(ctx, doing, "drop table if exists "+table+";"+createTable(table, columns)); err != nil {
		return err
	}
	return e.add(doing, table, rows)
}

// add appends rows to a table.
func (e *Engine) add(doing, table string, rows [][]driver.Value) error {
	if len(rows) == 0 {
		return nil
	}
	err := e.conn.Raw(func(c any) error {
		conn, ok := c.(driver.Conn)
		if !ok {
			return fmt.Errorf("the connection is %T", c)
		}
		a, err := duckdb.NewAppenderFromConn(conn, "", table)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := a.AppendRow(row...); err != nil {
				return errors.Join(err, a.Close())
			}
		}
		return a.Close()
	})
	return wrap(doing, err)
}

// number runs a query that returns one number.
func (e *Engine) number(ctx context.Context, doing, query string) (int64, error) {
	var n sql.NullInt64
	if err := e.conn.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return 0, wrap(doing, err)
	}
	return n.Int64, nil
}

// Row is one row of a result by column name, in Go's plain types: string, bool,
// int64, float64, time.Time, []any, map[string]any or nil.
type Row = map[string]any

// rows runs a query and calls fn for each row.
func (e *Engine) rows(ctx context.Context, doing, query string, fn func(columns []string, values []any) error) (err error) {
	rs, err := e.conn.QueryContext(ctx, query)
	if err != nil {
		return wrap(doing, err)
	}
	defer func() { err = errors.Join(err, rs.Close()) }()
	columns, err := rs.Columns()
	if err != nil {
		return wrap(doing, err)
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rs.Next() {
		if err := rs.Scan(into...); err != nil {
			return wrap(doing, err)
		}
		for i, v := range values {
			values[i] = plain(v)
		}
		if err := fn(columns, values); err != nil {
			return err
		}
	}
	return wrap(doing, rs.Err())
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	var de *duckdb.Error
	if errors.As(err, &de) && de.Type == duckdb.ErrorTypeOutOfMemory {
		return fmt.Errorf("%s: %w: give it more memory or a smaller slice: %s", doing, ErrOutOfMemory, de.Msg)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// eventColumns reads the lake's columns off analyzer.Event.
func eventColumns() (control, uses []column) {
	t := reflect.TypeFor[analyzer.Event]()
	types := map[reflect.Type]string{
		reflect.TypeFor[time.Time](): "timestamp",
		reflect.TypeFor[bool]():      "boolean",
		reflect.TypeFor[int]():       "integer",
		reflect.TypeFor[[]string]():  "varchar[]",
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("col")
		if name == "" {
			continue
		}
		typ, ok := types[f.Type]
		if !ok {
			typ = "varchar"
		}
		control = append(control, column{name, typ})
		// The mass has only the columns that are not tagged for control.
		if f.Tag.Get("table") != string(analyzer.TableControl) {
			uses = append(uses, column{name, typ})
		}
	}
	return control, uses
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func quoteList(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = quote(s)
	}
	return "[" + strings.Join(q, ", ") + "]"
}

func timestamp(t time.Time) string {
	return "timestamp '" + t.UTC().Format("2006-01-02 15:04:05.000") + "'"
}
