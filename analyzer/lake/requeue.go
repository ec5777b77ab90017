package lake

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/keytrail/keytrail/analyzer"
)

// requeued names the batch that holds every object of the lake.
const requeued = "all-objects"

// Requeue puts every object of the lake into the inbox again, as one batch, so
// that the next analysis without memory sees the whole history. Rows and times
// are read from the objects' own footers.
func (l *Lake) Requeue(ctx context.Context) error {
	b := Batch{Name: requeued}
	for _, table := range []analyzer.Table{analyzer.TableControl, analyzer.TableUses} {
		objects, err := l.History(ctx, table, time.Time{}, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := l.describe(&o); err != nil {
				return err
			}
			b.Objects = append(b.Objects, o)
		}
	}
	batches, err := l.markers(ctx)
	if err != nil {
		return err
	}
	if len(b.Objects) > 0 {
		marker, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			return fmt.Errorf("put the whole lake into the inbox: %w", err)
		}
		// The objects are in their places already: the marker is all there is to do.
		if err := l.mark(b.Name, marker); err != nil {
			return fmt.Errorf("put the whole lake into the inbox: %w", err)
		}
	}
	for _, old := range batches { // all their objects are in the new batch
		if old.Name != requeued {
			if err := l.Done(ctx, old.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe reads the rows and the times of an object from its footer.
func (l *Lake) describe(o *analyzer.Object) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read the footer of %s: %w", o.Path, err)
		}
	}()
	f, err := os.Open(filepath.Join(l.root, filepath.FromSlash(o.Path)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	footer, size, err := readFooter(f)
	if err != nil {
		return err
	}
	o.Rows, o.Bytes = footer.NumRows, size
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	for _, g := range footer.RowGroups {
		for _, c := range g.Columns {
			if len(c.MetaData.PathInSchema) != 1 || c.MetaData.PathInSchema[0] != "event_time" {
				continue
			}
			s := c.MetaData.Statistics
			if len(s.MinValue) != 8 || len(s.MaxValue) != 8 {
				return errors.New("it says nothing about its event times")
			}
			from = min(from, int64(binary.LittleEndian.Uint64(s.MinValue))) //nolint:gosec // the bits of a signed number
			to = max(to, int64(binary.LittleEndian.Uint64(s.MaxValue)))     //nolint:gosec // the same
		}
	}
	if from > to {
		return errors.New("it has no event_time")
	}
	o.MinTime, o.MaxTime = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC()
	return nil
}

// maxFooter is the longest footer that is read: one of a thousand row groups has
// some megabytes.
const maxFooter = 256 << 20

// readFooter reads what a Parquet file says about itself: at its end are the
// length of the footer and "PAR1", and before them the footer.
func readFooter(f *os.File) (footer *format.FileMetaData, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	const tail = 8
	end := make([]byte, tail)
	if size = info.Size(); size < tail+4 {
		return nil, 0, errors.New("it is no Parquet file: it is too short")
	}
	if _, err := f.ReadAt(end, size-tail); err != nil {
		return nil, 0, err
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if string(end[4:]) != "PAR1" || length > min(size-tail-4, maxFooter) {
		return nil, 0, errors.New("it is no Parquet file: its end is not that of one")
	}
	text := make([]byte, length)
	if _, err := f.ReadAt(text, size-tail-length); err != nil {
		return nil, 0, err
	}
	footer = new(format.FileMetaData)
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), text, footer); err != nil {
		return nil, 0, err
	}
	return footer, size, nil
}
