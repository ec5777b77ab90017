package lake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/keytrail/keytrail/analyzer"
)

const (
	inboxDir      = "inbox"
	quarantineDir = "quarantine"
	stagingDir    = "tmp"
	lockSuffix    = ".lock"
)

// Lake is a folder of events. It is safe for concurrent use, also by several
// processes.
type Lake struct {
	root string

	mu      sync.Mutex
	session string       // name of this process's folder under tmp, once it writes
	lock    *flock.Flock // held as long as the session lives
	writers int
	staged  map[string]string // finished objects that no batch has yet, as in Batch
}

// Batch is what one run adds to the lake, and what a marker says.
type Batch struct {
	// Name identifies the batch; committing a batch of a name that is in the
	// inbox replaces it. Without one it is derived from the objects.
	Name    string            `json:"name"`
	Objects []analyzer.Object `json:"objects"`

	Events  int64                 `json:"events"`
	MinTime time.Time             `json:"min_time,omitzero"` // of the earliest event
	MaxTime time.Time             `json:"max_time,omitzero"`
	Sources map[string]int64      `json:"events_by_source,omitempty"`
	Files   analyzer.FileCounts   `json:"files"`
	Records analyzer.RecordCounts `json:"records"`

	// Staged tells from where each object is moved, by its path; both are
	// relative to the lake. Commit fills it in.
	Staged map[string]string `json:"staged,omitempty"`
}

// Open opens the lake in a folder, which is made when it is not there, and
// finishes or clears away what interrupted processes left.
func Open(root string) (*Lake, error) {
	for _, dir := range []string{string(analyzer.TableUses), string(analyzer.TableControl), inboxDir, quarantineDir, stagingDir} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			return nil, fmt.Errorf("make the lake %s: %w", root, err)
		}
	}
	l := &Lake{root: root}
	if err := l.recover(); err != nil {
		return nil, fmt.Errorf("open the lake %s: %w", root, err)
	}
	return l, nil
}

// Root returns the folder of the lake.
func (l *Lake) Root() string { return l.root }

// Close ends the use of the lake and removes what was not committed.
func (l *Lake) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil
	}
	err := errors.Join(
		os.RemoveAll(filepath.Join(l.root, stagingDir, l.session)),
		l.lock.Unlock(),
		removeFile(l.lock.Path()),
	)
	l.lock, l.session = nil, ""
	if err != nil {
		return fmt.Errorf("close the lake %s: %w", l.root, err)
	}
	return nil
}

// NewWriter returns a writer into the lake.
func (l *Lake) NewWriter(o WriterOptions) (*Writer, error) {
	dir, err := l.staging("writer")
	if err != nil {
		return nil, err
	}
	w, err := newWriter(dir, o)
	if err != nil {
		return nil, err
	}
	w.finished = func(object, file string) error { return l.stage(object, file) }
	return w, nil
}

// stage notes a finished object.
func (l *Lake) stage(object, file string) error {
	from, err := filepath.Rel(l.root, file)
	if err != nil {
		return fmt.Errorf("finish %s: %w", object, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, taken := l.staged[object]; taken && other != filepath.ToSlash(from) {
		return fmt.Errorf("finish %s: another writer has made an object of that name; give each writer a name of its own", object)
	}
	if l.staged == nil {
		l.staged = map[string]string{}
	}
	l.staged[object] = filepath.ToSlash(from)
	return nil
}

// staging makes a folder for something that grows. The lock is taken before
// the session's folder exists, so that no one takes it for abandoned.
func (l *Lake) staging(what string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.lock == nil {
		f, err := os.CreateTemp(filepath.Join(l.root, stagingDir), "run-*"+lockSuffix)
		if err != nil {
			return "", fmt.Errorf("begin to write to the lake: %w", err)
		}
		lock := flock.New(f.Name())
		if err := errors.Join(lock.Lock(), f.Close()); err != nil {
			return "", fmt.Errorf("begin to write to the lake: %w", err)
		}
		if _, err := os.Stat(f.Name()); err != nil {
			_ = lock.Unlock() // cleared away by a process that opened the lake just now
			continue
		}
		l.lock, l.session = lock, strings.TrimSuffix(filepath.Base(f.Name()), lockSuffix)
	}
	l.writers++
	dir := filepath.Join(l.root, stagingDir, l.session, fmt.Sprintf("%s-%d", what, l.writers))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("begin to write to the lake: %w", err)
	}
	return dir, nil
}

// Commit adds a batch of objects, which the writers of this Lake returned, to
// the lake. It happens as a whole or not at all.
func (l *Lake) Commit(ctx context.Context, b Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit to the lake: %w", err)
	}
	if err := l.complete(&b); err != nil {
		return err
	}
	marker, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("commit batch %s: %w", b.Name, err)
	}
	if err := l.mark(b.Name, marker); err != nil {
		return fmt.Errorf("commit batch %s: %w", b.Name, err)
	}
	l.mu.Lock()
	for _, o := range b.Objects {
		delete(l.staged, o.Path)
	}
	l.mu.Unlock()
	return l.move(b)
}

// complete fills in what a batch says about its objects.
func (l *Lake) complete(b *Batch) error {
	names := sha256.New()
	b.Events, b.MinTime, b.MaxTime = 0, time.Time{}, time.Time{}
	for _, o := range b.Objects {
		if !fs.ValidPath(o.Path) {
			return fmt.Errorf("commit to the lake: %q is not the path of an object", o.Path)
		}
		_, _ = fmt.Fprintln(names, o.Path, o.Rows) // a hash does not fail
		b.Events += o.Rows
		if b.MinTime.IsZero() || o.MinTime.Before(b.MinTime) {
			b.MinTime = o.MinTime
		}
		if o.MaxTime.After(b.MaxTime) {
			b.MaxTime = o.MaxTime
		}
	}
	if b.Name == "" {
		b.Name = hex.EncodeToString(names.Sum(nil)[:16])
	}
	if !fs.ValidPath(b.Name) || strings.ContainsAny(b.Name, `/\`) || strings.HasPrefix(b.Name, ".") {
		return fmt.Errorf("commit to the lake: %q cannot be the name of a batch", b.Name)
	}
	b.Staged = map[string]string{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range b.Objects {
		from, ok := l.staged[o.Path]
		if !ok {
			return fmt.Errorf("commit batch %s: no writer of this lake has made %s", b.Name, o.Path)
		}
		b.Staged[o.Path] = from
	}
	return nil
}

func (l *Lake) markerPath(name string) string {
	return filepath.Join(l.root, inboxDir, name+".json")
}

// ErrMissing is wrapped by errors about an object that a marker names and that
// is nowhere: somebody removed it by hand.
var ErrMissing = errors.New("object of the lake is missing")

// move brings the objects of a committed batch to their places. It may run
// several times, also at once in several processes.
func (l *Lake) move(b Batch) error {
	for _, o := range b.Objects {
		to := filepath.Join(l.root, filepath.FromSlash(o.Path))
		from := filepath.Join(l.root, filepath.FromSlash(b.Staged[o.Path]))
		if _, err := os.Stat(from); err == nil && b.Staged[o.Path] != "" {
			if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
				return fmt.Errorf("move %s into the lake: %w", o.Path, err)
			}
			err := os.Rename(from, to)
			if err == nil {
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("move %s into the lake: %w", o.Path, err)
			}
		}
		if _, err := os.Stat(to); err != nil {
			return fmt.Errorf("%w: %s of batch %s; ingest its files again", ErrMissing, o.Path, b.Name)
		}
	}
	return nil
}

// Inbox returns the batches that are not analysed yet, ordered by name, with
// all their objects in place.
func (l *Lake) Inbox(ctx context.Context) ([]Batch, error) {
	batches, err := l.markers(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		if err := l.move(b); err != nil {
			return nil, fmt.Errorf("read the inbox: %w", err)
		}
	}
	return batches, nil
}

func (l *Lake) markers(ctx context.Context) ([]Batch, error) {
	entries, err := os.ReadDir(filepath.Join(l.root, inboxDir))
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	var batches []Batch
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read the inbox: %w", err)
		}
		if e.IsDir() || filepath.Ext(e.Name()) != ".json" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(l.root, inboxDir, e.Name())
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // done by another process meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read the inbox: %w", err)
		}
		var b Batch
		if err := json.Unmarshal(text, &b); err != nil {
			return nil, fmt.Errorf("read the marker %s: %w; move it away and ingest again what it named", name, err)
		}
		for _, o := range b.Objects {
			if from, staged := b.Staged[o.Path]; !fs.ValidPath(o.Path) || staged && !fs.ValidPath(from) {
				return nil, fmt.Errorf("read the marker %s: %q leads out of the lake", name, o.Path)
			}
		}
		b.Name = strings.TrimSuffix(e.Name(), ".json")
		batches = append(batches, b)
	}
	return batches, nil
}

// Done takes batches that were analysed out of the inbox; their objects stay.
// A batch that is not there is done already.
func (l *Lake) Done(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("take batch %s out of the inbox: %w", name, err)
		}
		if err := removeFile(l.markerPath(name)); err != nil {
			return fmt.Errorf("take batch %s out of the inbox: %w", name, err)
		}
	}
	return nil
}

// History lists the objects of a table for the days from and to and those
// between. Their rows and sizes are not read; the times are those of the day.
func (l *Lake) History(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error) {
	days, err := os.ReadDir(filepath.Join(l.root, string(table)))
	if err != nil {
		return nil, fmt.Errorf("list the days of %s: %w", table, err)
	}
	from = from.UTC().Truncate(24 * time.Hour)
	var objects []analyzer.Object
	for _, d := range days {
		text, ok := strings.CutPrefix(d.Name(), "day=")
		day, err := time.Parse(time.DateOnly, text)
		if !ok || err != nil || day.Before(from) || day.After(to) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list the days of %s: %w", table, err)
		}
		files, err := os.ReadDir(filepath.Join(l.root, string(table), d.Name()))
		if err != nil {
			return nil, fmt.Errorf("list the objects of a day of %s: %w", table, err)
		}
		for _, f := range files {
			if filepath.Ext(f.Name()) == ".parquet" {
				objects = append(objects, analyzer.Object{
					Table: table, Path: path.Join(string(table), d.Name(), f.Name()),
					MinTime: day, MaxTime: day.Add(24*time.Hour - time.Millisecond),
				})
			}
		}
	}
	return objects, nil
}

// recover finishes the moves of committed batches and clears away the folders
// of processes that are gone.
func (l *Lake) recover() error {
	if err := l.finishMoves(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(l.root, stagingDir))
	if err != nil {
		return fmt.Errorf("look for interrupted writes: %w", err)
	}
	for _, e := range entries {
		session, isLock := strings.CutSuffix(e.Name(), lockSuffix)
		if !isLock {
			continue
		}
		lock := flock.New(filepath.Join(l.root, stagingDir, e.Name()))
		if held, err := lock.TryLock(); err != nil || !held {
			continue // its process lives
		}
		// It may have committed a batch after the look into the inbox above.
		err := l.finishMoves()
		if err == nil {
			err = errors.Join(os.RemoveAll(filepath.Join(l.root, stagingDir, session)), removeFile(lock.Path()))
		}
		if err := errors.Join(err, lock.Unlock()); err != nil {
			return fmt.Errorf("clear away an interrupted write: %w", err)
		}
	}
	return nil
}

// finishMoves moves what committed batches name. Objects that are missing are
// for Inbox to report.
func (l *Lake) finishMoves() error {
	batches, err := l.markers(context.Background())
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := l.move(b); err != nil && !errors.Is(err, ErrMissing) {
			return err
		}
	}
	return nil
}

// mark writes a marker among what grows and renames it into the inbox, so that
// no one sees half of it.
func (l *Lake) mark(name string, text []byte) error {
	dir, err := l.staging("marker")
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, "marker.json")
	if err := os.WriteFile(aside, text, 0o600); err != nil {
		return fmt.Errorf("write the marker: %w", err)
	}
	if err := os.Rename(aside, l.markerPath(name)); err != nil {
		return fmt.Errorf("put the marker into the inbox: %w", err)
	}
	return nil
}

// removeFile removes a file; that it is gone already is fine.
func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err //nolint:wrapcheck // callers say what it was for
	}
	return nil
}

// Days lists the days that a table has objects of, in order.
func (l *Lake) Days(table analyzer.Table) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(l.root, string(table)))
	if err != nil {
		return nil, fmt.Errorf("list the days of %s: %w", table, err)
	}
	var days []string
	for _, e := range entries {
		if day, ok := strings.CutPrefix(e.Name(), "day="); ok {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	return days, nil
}
