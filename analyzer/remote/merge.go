package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// merge writes the events of objects of one day into one object in the bucket.
// It returns an entry without sources when there is nothing to merge: objects
// that have columns that this version does not know are left as they are.
func (w *compacting) merge(ctx context.Context, f *folder, objects []analyzer.Object, maxRows int64) (made settled, repeated int64, err error) {
	if err := w.Fetch(ctx, objects); err != nil {
		return settled{}, 0, err
	}
	var files []Rows
	defer func() {
		for _, file := range files {
			_ = file.Close() // it was only read
		}
	}()
	etags := map[string]string{}
	for _, o := range f.objects {
		etags[o.Key] = o.ETag
	}
	var sources []source
	var rows int64
	for _, o := range objects {
		file, err := w.Open(w.file(o.Path), f.table)
		if errors.Is(err, ErrForeign) {
			w.options.Log.WarnContext(ctx, "an object is not merged", "object", o.Path, "why", err)
			continue
		}
		if err != nil {
			return settled{}, 0, fmt.Errorf("read %s: %w", o.Path, err)
		}
		files = append(files, file)
		sources = append(sources, source{o.Path, etags[o.Path]})
		rows += file.NumRows()
	}
	if len(sources) < w.MinObjects || rows > maxRows {
		return settled{}, 0, nil
	}
	drop, repeated, err := findRepeated(files)
	if err != nil {
		return settled{}, 0, fmt.Errorf("look for events that are there twice: %w", err)
	}
	o, err := w.writeMerged(ctx, f, mergedName(sources), files, drop)
	return settled{Object: o, Sources: sources, At: w.now}, repeated, err
}

// writeMerged copies the rows of files, but those to drop, into an object of a
// name.
func (w *compacting) writeMerged(ctx context.Context, f *folder, name string, files []Rows, drop []rowSet) (o analyzer.Object, err error) {
	dir, err := os.MkdirTemp(w.temp(), "merge-")
	if err != nil {
		return o, fmt.Errorf("make room for a merge: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	local, err := lake.Open(dir)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, local.Close()) }()
	// What is merged is read more often than written: 122,880 rows are what DuckDB
	// reads as one piece of work.
	out, err := local.NewWriter(lake.WriterOptions{Name: name, RowGroupRows: 122_880})
	if err != nil {
		return o, err
	}
	for i, file := range files {
		row := int64(-1)
		err := file.Events(func(ev *analyzer.Event) error {
			row++
			if drop[i].has(row) {
				return nil
			}
			if row%10_000 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return out.Add(ev)
		})
		if err != nil {
			return o, fmt.Errorf("copy the events of %s: %w", file.Name(), err)
		}
	}
	objects, err := out.Close()
	if err != nil {
		return o, err
	}
	if len(objects) != 1 || filepath.Dir(objects[0].Path) != folderOf(f.table, f.date) {
		return o, fmt.Errorf("the events of %s belong into %v", folderOf(f.table, f.date), objects)
	}
	if err := local.Commit(ctx, lake.Batch{Name: name, Objects: objects}); err != nil {
		return o, err
	}
	o = objects[0]
	file := filepath.Join(dir, filepath.FromSlash(o.Path))
	o.Path = w.objectPath(folderOf(f.table, f.date), name, 0)
	return o, w.uploadMerged(ctx, &o, file)
}

// uploadMerged writes a merged object. One of its name holds the same events,
// though perhaps not the same bytes, if another version wrote it.
func (w *compacting) uploadMerged(ctx context.Context, o *analyzer.Object, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read what was merged: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	_, err = w.options.Bucket.Put(ctx, o.Path, f, cloud.Condition{IfAbsent: true})
	if errors.Is(err, analyzer.ErrConflict) {
		var there cloud.ObjectInfo
		there, err = w.options.Bucket.Head(ctx, o.Path)
		o.Bytes = there.Size
	}
	return wrap(err, "write %s", o.Path)
}

// rowSet is a set of rows of a file.
type rowSet []uint64

func (s rowSet) has(row int64) bool { return s[row/64]&(1<<(row%64)) != 0 }

func (s rowSet) add(row int64) { s[row/64] |= 1 << (row % 64) }

// findRepeated finds the rows whose event another row has, too. Of these the one
// with the earliest time stays, and of several of that time the first, as the
// engine takes them.
func findRepeated(files []Rows) (drop []rowSet, repeated int64, err error) {
	type place struct {
		millis int64
		file   int
		row    int64
	}
	seen := map[[16]byte]place{}
	drop = make([]rowSet, len(files))
	for i, file := range files {
		drop[i] = make(rowSet, file.NumRows()/64+1)
		row := int64(0)
		err := file.IDs(func(account, id string, millis int64) {
			sum := sha256.Sum256([]byte(account + "\x00" + id))
			key := [16]byte(sum[:16])
			at := place{millis, i, row}
			row++
			if first, ok := seen[key]; ok {
				repeated++
				if millis >= first.millis {
					drop[i].add(at.row)
					return
				}
				drop[first.file].add(first.row)
			}
			seen[key] = at
		})
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	return drop, repeated, nil
}
