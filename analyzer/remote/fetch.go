package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// ErrCacheFull is wrapped by the error of Fetch when what is asked for is larger
// than the cache may become.
var ErrCacheFull = errors.New("the cache is too small")

// cachedFile is a file of the cache.
type cachedFile struct {
	path string // of the object
	size int64
	used time.Time // when it was asked for last
}

// Fetch copies objects from the bucket to their paths under Root. Those that are
// there are not copied again; those that are not asked for are removed, the
// longest unused first, when there is no room. The error wraps ErrCacheFull when
// there is none even so, and lake.ErrMissing when an object is gone.
func (l *Lake) Fetch(ctx context.Context, objects []analyzer.Object) error {
	l.fetching.Lock()
	defer l.fetching.Unlock()
	wanted := map[string]analyzer.Object{}
	for _, o := range objects {
		if !fs.ValidPath(o.Path) {
			return fmt.Errorf("fetch objects: %q leads out of the lake", o.Path)
		}
		wanted[o.Path] = o
	}
	cached, err := l.cached()
	if err != nil {
		return fmt.Errorf("look into the cache of the lake: %w", err)
	}
	var absent []analyzer.Object
	now := l.options.Now()
	for _, o := range wanted {
		if f, ok := cached[o.Path]; ok && f.size == o.Bytes {
			_ = os.Chtimes(l.file(o.Path), now, now) // a failure only makes the choice of what to remove worse
			continue
		}
		absent = append(absent, o)
	}
	slices.SortFunc(absent, func(a, b analyzer.Object) int { return cmp.Compare(a.Path, b.Path) })
	if err := l.sizes(ctx, absent); err != nil {
		return err
	}
	if err := l.makeRoom(cached, wanted, absent); err != nil {
		return err
	}
	return l.each(ctx, len(absent), func(ctx context.Context, i int) error { return l.download(ctx, absent[i]) })
}

// file is the place of an object in the cache.
func (l *Lake) file(objectPath string) string {
	return filepath.Join(l.options.Cache, filepath.FromSlash(objectPath))
}

// cached lists what is in the cache.
func (l *Lake) cached() (map[string]cachedFile, error) {
	files := map[string]cachedFile{}
	for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
		root := l.file(string(table))
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && name == root {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(l.options.Cache, name)
			if err != nil {
				return err
			}
			files[filepath.ToSlash(rel)] = cachedFile{filepath.ToSlash(rel), info.Size(), info.ModTime()}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// sizes asks for the sizes that nobody noted.
func (l *Lake) sizes(ctx context.Context, objects []analyzer.Object) error {
	return l.each(ctx, len(objects), func(ctx context.Context, i int) error {
		if objects[i].Bytes > 0 {
			return nil
		}
		info, err := l.options.Bucket.Head(ctx, objects[i].Path)
		objects[i].Bytes = info.Size
		return fetchError(err, objects[i].Path)
	})
}

func fetchError(err error, objectPath string) error {
	if errors.Is(err, analyzer.ErrNotFound) {
		return fmt.Errorf("%w: %s: %w; put it back, or make memory anew from what is there", lake.ErrMissing, objectPath, err)
	}
	return wrap(err, "fetch %s", objectPath)
}

// makeRoom removes what nobody wants as far as the absent objects need its room.
func (l *Lake) makeRoom(cached map[string]cachedFile, wanted map[string]analyzer.Object, absent []analyzer.Object) error {
	var need, held int64
	for _, o := range absent {
		need += o.Bytes
		delete(cached, o.Path) // one of another size is replaced
	}
	var spare []cachedFile
	for _, f := range cached {
		held += f.size
		if _, ok := wanted[f.path]; !ok {
			spare = append(spare, f)
		}
	}
	limit := l.options.CacheBytes
	if limit <= 0 {
		return nil
	}
	slices.SortFunc(spare, func(a, b cachedFile) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path))
	})
	for _, f := range spare {
		if held+need <= limit {
			break
		}
		if err := os.Remove(l.file(f.path)); err != nil {
			return fmt.Errorf("make room in the cache of the lake: %w", err)
		}
		held -= f.size
	}
	if held+need > limit {
		return fmt.Errorf("fetch %d objects: %w: they have %d bytes and it holds %d; give it more room, or take smaller slices",
			len(wanted), ErrCacheFull, held+need, limit)
	}
	return nil
}

// download copies one object into the cache, under its name once it is whole.
func (l *Lake) download(ctx context.Context, o analyzer.Object) (err error) {
	body, info, err := l.options.Bucket.Get(ctx, o.Path, "", "")
	if err != nil {
		return fetchError(err, o.Path)
	}
	defer func() { _ = body.Close() }() // it was only read
	f, err := os.CreateTemp(l.temp(), "object-")
	if err != nil {
		return fetchError(err, o.Path)
	}
	n, err := io.Copy(f, body)
	if err := errors.Join(err, f.Close()); err != nil {
		return fetchError(errors.Join(err, os.Remove(f.Name())), o.Path)
	}
	if n != info.Size {
		err := fmt.Errorf("%d of %d bytes came", n, info.Size)
		return fetchError(errors.Join(err, os.Remove(f.Name())), o.Path)
	}
	now := l.options.Now()
	_ = os.Chtimes(f.Name(), now, now) // a failure only makes the choice of what to remove worse
	if err := os.MkdirAll(filepath.Dir(l.file(o.Path)), 0o750); err != nil {
		return fetchError(err, o.Path)
	}
	return fetchError(os.Rename(f.Name(), l.file(o.Path)), o.Path)
}
