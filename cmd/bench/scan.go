package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	_ "github.com/duckdb/duckdb-go/v2" // registers the driver
)

// scan is the reference of figure 5, run as a process of its own: one grouped
// scan over the events of a lake, or without a lake DuckDB's version.
func scan(ctx context.Context, args []string, out io.Writer) (err error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if len(args) == 0 {
		var version string
		if err := db.QueryRowContext(ctx, "select version()").Scan(&version); err != nil {
			return fmt.Errorf("ask DuckDB for its version: %w", err)
		}
		_, err := io.WriteString(out, version)
		return err //nolint:wrapcheck // standard output
	}
	if len(args) != 2 {
		return errors.New("usage: bench scan THREADS LAKE")
	}
	threads, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	if _, err := db.ExecContext(ctx, "set threads = "+strconv.Itoa(threads)+"; set preserve_insertion_order = false"); err != nil { //nolint:gosec // a number
		return fmt.Errorf("set up DuckDB: %w", err)
	}
	var groups, events int64
	const query = `select count(*), cast(sum(n) as bigint) from (
	  select principal, key_arn, count(*) as n from read_parquet([?, ?], hive_partitioning = false) group by all)`
	objects := func(table string) string { return filepath.Join(args[1], table, "*", "*.parquet") }
	if err := db.QueryRowContext(ctx, query, objects("uses"), objects("control")).Scan(&groups, &events); err != nil {
		return fmt.Errorf("scan the lake: %w", err)
	}
	_, err = fmt.Fprintf(out, "%d groups of %d events\n", groups, events)
	return err //nolint:wrapcheck // standard output
}
