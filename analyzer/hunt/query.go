package hunt

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"
)

// Row is called for each row of an answer. Values are of Go's plain types:
// string, bool, int64, float64, time.Time (UTC), []any or nil.
type Row func(columns []string, values []any) error

// Queryer is a database, or one of its connections.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Query runs a statement and calls row for each row, in order. An error of row
// ends it and is returned.
func Query(ctx context.Context, db Queryer, statement string, row Row) (err error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return fmt.Errorf("run the hunt: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return fmt.Errorf("run the hunt: %w", err)
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read a row of the hunt: %w", err)
		}
		of := make([]any, len(values))
		for i, v := range values {
			of[i] = plain(v)
		}
		if err := row(columns, of); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("run the hunt: %w", err)
	}
	return nil
}

// plain turns what drivers give into Go's plain types.
func plain(v any) any {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) { // which JSON cannot say
			return fmt.Sprint(v)
		}
		return v
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC()
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case int8:
		return int64(v)
	case float32:
		return plain(float64(v))
	case *big.Int: // DuckDB's sums of whole numbers
		if v.IsInt64() {
			return v.Int64()
		}
		return v.String()
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case interface{ Float64() float64 }: // DuckDB's decimals
		return v.Float64()
	default:
		return fmt.Sprint(v)
	}
}
