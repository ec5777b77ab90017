// Package rows reads objects of the lake back into events. It is apart from
// package lake, which writes them, because reading Parquet takes much more code
// than writing our own: most functions do without.
package rows

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/remote"
)

// File is an object of the lake, open for reading.
type File struct {
	file   *parquet.File
	name   string
	opened *os.File
	// Of each leaf of its schema, by number:
	columns []lake.Column
	fields  []int // in analyzer.Event
}

// Open opens an object of a table. It may lack columns, which are then
// empty, but it must have no others than the lake has.
func Open(name string, table analyzer.Table) (_ remote.Rows, err error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open it: %w", err)
	}
	f := &File{name: filepath.Base(name), opened: opened}
	defer func() {
		if err != nil {
			_ = f.Close() // it was only read
		}
	}()
	info, err := opened.Stat()
	if err != nil {
		return nil, fmt.Errorf("open it: %w", err)
	}
	if f.file, err = parquet.OpenFile(opened, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true)); err != nil {
		return nil, fmt.Errorf("read its footer: %w", err)
	}
	known := map[string]lake.Column{}
	for _, c := range lake.Columns(table) {
		known[c.Name] = c
	}
	fields := map[string]int{}
	event := reflect.TypeFor[analyzer.Event]()
	for i := range event.NumField() {
		fields[event.Field(i).Tag.Get("col")] = i
	}
	kinds := map[string]parquet.Kind{
		"varchar": parquet.ByteArray, "varchar[]": parquet.ByteArray, "boolean": parquet.Boolean,
		"integer": parquet.Int32, "timestamp": parquet.Int64,
	}
	for _, path := range f.file.Schema().Columns() {
		c, ok := known[path[0]]
		leaf, _ := f.file.Schema().Lookup(path...)
		if !ok || kinds[c.SQL] != leaf.Node.Type().Kind() || (len(path) > 1) != (c.SQL == "varchar[]") {
			return nil, fmt.Errorf("%w: %s", remote.ErrForeign, path[0])
		}
		f.columns = append(f.columns, c)
		f.fields = append(f.fields, fields[c.Name])
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error {
	if err := f.opened.Close(); err != nil {
		return fmt.Errorf("close %s: %w", f.name, err)
	}
	return nil
}

// Name is the last part of the file's name.
func (f *File) Name() string { return f.name }

// NumRows is how many events it has.
func (f *File) NumRows() int64 { return f.file.NumRows() }

// batchRows is how many rows are read at once.
const batchRows = 512

// Events calls do with each event, in order. The event is reused; its texts stay.
func (f *File) Events(do func(ev *analyzer.Event) error) error {
	var ev analyzer.Event
	fields := reflect.ValueOf(&ev).Elem()
	texts := shared{}
	buffer := make([]parquet.Row, batchRows)
	for _, group := range f.file.RowGroups() {
		rows := group.Rows()
		err := each(rows, buffer, func(row parquet.Row) error {
			ev = analyzer.Event{}
			for _, v := range row {
				if !v.IsNull() {
					f.set(fields, v, texts)
				}
			}
			return do(&ev)
		})
		if err := errors.Join(err, rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

// each calls do with each row.
func each(rows parquet.RowReader, buffer []parquet.Row, do func(row parquet.Row) error) error {
	for {
		n, err := rows.ReadRows(buffer)
		for _, row := range buffer[:n] {
			if err := do(row); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read its rows: %w", err)
		}
	}
}

// set puts a value into its field of an event.
func (f *File) set(fields reflect.Value, v parquet.Value, texts shared) {
	field := fields.Field(f.fields[v.Column()])
	switch f.columns[v.Column()].SQL {
	case "varchar":
		field.SetString(texts.text(v.ByteArray()))
	case "varchar[]":
		field.Set(reflect.Append(field, reflect.ValueOf(texts.text(v.ByteArray()))))
	case "boolean":
		field.SetBool(v.Boolean())
	case "integer":
		field.SetInt(int64(v.Int32()))
	case "timestamp":
		field.Set(reflect.ValueOf(time.UnixMilli(v.Int64()).UTC()))
	}
}

// shared gives equal texts the same memory, which is what the lake's writer
// knows them by.
type shared map[string]string

// Texts that are longer hardly repeat, and so many are more than a day has of
// those that do.
const (
	maxShared     = 256
	maxSharedSize = 1 << 16
)

func (s shared) text(b []byte) string {
	if len(b) > maxShared {
		return string(b)
	}
	if text, ok := s[string(b)]; ok {
		return text
	}
	text := string(b)
	if len(s) >= maxSharedSize {
		clear(s)
	}
	s[text] = text
	return text
}

// IDs calls do with what tells the events apart and with their times, in order.
func (f *File) IDs(do func(account, id string, millis int64)) error {
	for _, group := range f.file.RowGroups() {
		var columns [3][]parquet.Value
		for i, name := range []string{"account", "event_id", "event_time"} {
			leaf, ok := f.file.Schema().Lookup(name)
			if !ok {
				return fmt.Errorf("it has no column %s", name)
			}
			var err error
			if columns[i], err = values(group.ColumnChunks()[leaf.ColumnIndex], group.NumRows()); err != nil {
				return fmt.Errorf("read the column %s: %w", name, err)
			}
		}
		for i := range columns[0] {
			do(string(columns[0][i].ByteArray()), string(columns[1][i].ByteArray()), columns[2][i].Int64())
		}
	}
	return nil
}

// values reads a column of a row group, which has one value a row.
func values(chunk parquet.ColumnChunk, rows int64) (all []parquet.Value, err error) {
	pages := chunk.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	all = make([]parquet.Value, 0, rows)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		part := make([]parquet.Value, page.NumValues())
		n, err := page.Values().ReadValues(part)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, v := range part[:n] {
			all = append(all, v.Clone())
		}
		parquet.Release(page)
	}
	if int64(len(all)) != rows {
		return nil, fmt.Errorf("it has %d values for %d rows", len(all), rows)
	}
	return all, nil
}
