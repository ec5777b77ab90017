// Package duckdb runs hunts over a lake in a local folder.
//
// It speaks to DuckDB through database/sql and does not link it: that is up to
// the program, which has the driver from package engine.
package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/macros"
)

// Schema is where statements find the tables of a lake: hunt.Options.Schema.
var Schema = hunt.Schema("lake")

// defaultMemory is what a hunt may take when Options do not say; more goes to
// the temporary folder.
const defaultMemory = 1 << 30

// Options are for Open. Zero values have sound defaults.
type Options struct {
	MemoryLimit int64 // bytes; default 1 GiB
	Threads     int   // default one a processor
	TempDir     string
}

// Lake is a DuckDB in memory that sees one lake and nothing else. Close it to
// remove its temporary files. It is not safe for concurrent use.
type Lake struct {
	db   *sql.DB
	conn *sql.Conn
	temp string
}

// Open starts a DuckDB over the lake in a folder.
func Open(ctx context.Context, folder string, o Options) (_ *Lake, err error) {
	if o.MemoryLimit == 0 {
		o.MemoryLimit = defaultMemory
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return nil, fmt.Errorf("open the lake: %w", err)
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("open the lake: %s is no folder", folder)
	}
	l := &Lake{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.temp, err = os.MkdirTemp(o.TempDir, "keytrail-hunt-"); err != nil {
		return nil, fmt.Errorf("make a temporary folder for the hunt: %w", err)
	}
	if l.db, err = sql.Open("duckdb", ""); err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	// A database in memory lives in its connection.
	if l.conn, err = l.db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	setup := []string{
		"set TimeZone = 'UTC'",
		fmt.Sprintf("set memory_limit = '%d B'", o.MemoryLimit),
		fmt.Sprintf("set threads = %d", o.Threads),
		"set temp_directory = " + quote(l.temp),
	}
	setup = append(setup, macros.SQL, "create schema lake")
	for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
		view, err := tableOf(folder, table)
		if err != nil {
			return nil, err
		}
		setup = append(setup, view)
	}
	setup = append(setup,
		"set allowed_directories = ["+quote(folder)+", "+quote(l.temp)+"]",
		"set autoinstall_known_extensions = false",
		"set autoload_known_extensions = false",
		"set enable_external_access = false",
		"set lock_configuration = true",
	)
	for _, s := range setup {
		if _, err := l.conn.ExecContext(ctx, s); err != nil {
			return nil, fmt.Errorf("set up DuckDB: %w", err)
		}
	}
	return l, nil
}

// tableOf writes the view lake.TABLE over the objects of a table.
func tableOf(folder string, table analyzer.Table) (string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(folder, string(table)), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".parquet") {
			files = append(files, quote(path))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("list the lake: %w", err)
	}
	columns := make([]string, 0, 100)
	if len(files) == 0 {
		for _, c := range lake.Columns(table) {
			columns = append(columns, c.Name+" "+c.SQL)
		}
		return "create table lake." + string(table) + " (" + strings.Join(columns, ", ") + ", day date)", nil
	}
	for _, c := range lake.Columns(table) {
		columns = append(columns, c.Name)
	}
	return "create view lake." + string(table) + " as select " + strings.Join(columns, ", ") + ", day from read_parquet([" +
		strings.Join(files, ", ") + "], hive_partitioning = true, hive_types = {'day': date})", nil
}

// Query runs a statement and calls row for each row, in order.
func (l *Lake) Query(ctx context.Context, statement string, row hunt.Row) error {
	return hunt.Query(ctx, l.conn, statement, row)
}

// Close ends the database and removes its temporary files.
func (l *Lake) Close() error {
	var errs []error
	if l.conn != nil {
		errs = append(errs, l.conn.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.temp != "" {
		errs = append(errs, os.RemoveAll(l.temp))
	}
	return errors.Join(errs...)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
