package lake

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/keytrail/keytrail/analyzer"
)

// WriterOptions say how a Writer writes. Zero values have defaults.
type WriterOptions struct {
	// Name begins the names of the writer's objects; the same name and the same
	// events in the same order give the same objects. Without it an object is
	// named after its content.
	Name string
	// RowGroupRows is the most rows of a row group. Default 20,480: more take more
	// memory, and time for fresh pages of it, and make objects hardly smaller.
	RowGroupRows int
	// Memory is about how many bytes of events wait to be written at most, over
	// all days and both tables. Default 64 MiB.
	Memory int64
	// OpenDays is how many objects are being written at a time at most; when one
	// more is needed, the one not used for longest is finished. Default 64.
	OpenDays int
}

// Writer writes events into objects, one for each table and day of event. It
// is not safe for concurrent use: take one for each worker.
//
// The texts of the events must not change after Add, because equal texts are
// recognised by their address.
type Writer struct {
	staging string // folder in which objects grow
	options WriterOptions
	columns map[analyzer.Table][]Column

	parts   map[partKey]*part
	last    *part
	free    map[analyzer.Table][]*table // of finished parts, to be used again
	held    int64                       // bytes of events that wait, about
	clock   int64                       // counts uses of parts
	encoder encoder
	zstd    *compressor
	numbers map[partKey]int // objects begun so far

	objects []analyzer.Object
	sources map[string]int64
	counted *int64 // of lastSource
	source  string
	failed  error

	finished func(object, file string) error // told of each object
}

// partKey names what goes into one object.
type partKey struct {
	table analyzer.Table
	day   int64 // since 1970-01-01
}

// part is an object being written.
type part struct {
	partKey
	waiting  *table
	rows     int   // waiting
	held     int64 // bytes of them, about
	file     *file // nil until the first row group
	used     int64
	min, max int64 // milliseconds
	perRow   int64
}

const millisOfDay = 24 * 60 * 60 * 1000

// newWriter returns a writer that puts growing objects into a folder.
func newWriter(staging string, o WriterOptions) (*Writer, error) {
	if o.RowGroupRows <= 0 {
		o.RowGroupRows = 20_480
	}
	if o.Memory <= 0 {
		o.Memory = 64 << 20
	}
	if o.OpenDays <= 0 {
		o.OpenDays = 64
	}
	z, err := newCompressor()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		staging: staging, options: o, zstd: z,
		columns: map[analyzer.Table][]Column{},
		parts:   map[partKey]*part{},
		free:    map[analyzer.Table][]*table{},
		numbers: map[partKey]int{},
		sources: map[string]int64{},
	}
	for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
		w.columns[table] = Columns(table)
	}
	return w, nil
}

// ErrNoTime is returned by Add for an event whose time is zero or outside of
// the years 1970 to 9999: no day of the lake can hold it.
var ErrNoTime = errors.New("event has no time that the lake can hold")

// Add takes an event. After an error other than ErrNoTime the writer is of no
// further use and returns the same error again.
func (w *Writer) Add(ev *analyzer.Event) error {
	if w.failed != nil {
		return w.failed
	}
	millis := ev.Time.UnixMilli()
	if ev.Time.IsZero() || millis < 0 || millis >= 253_402_300_800_000 {
		return fmt.Errorf("%w: event %s at %s", ErrNoTime, ev.ID, ev.Time)
	}
	key := partKey{ev.Table(), millis / millisOfDay}
	p := w.last
	if p == nil || p.partKey != key {
		var err error
		if p, err = w.part(key); err != nil {
			return w.fail(err)
		}
		w.last = p
	}
	base := unsafe.Pointer(ev) //nolint:gosec // fields are read by the offsets that reflect gave
	size := p.perRow + int64(p.waiting.add(base))
	if p.rows == 0 && p.file == nil || millis < p.min {
		p.min = millis
	}
	if p.rows == 0 && p.file == nil || millis > p.max {
		p.max = millis
	}
	p.rows++
	p.held += size
	w.held += size
	if ev.Source != w.source || w.counted == nil {
		w.count(ev.Source)
	}
	*w.counted++
	if p.rows >= w.options.RowGroupRows || w.held >= w.options.Memory {
		return w.fail(w.relieve(p))
	}
	return nil
}

// count points counted at the counter of a source. Counters move with the map,
// so each lives apart.
func (w *Writer) count(source string) {
	w.settle()
	w.source, w.counted = strings.Clone(source), new(int64)
}

func (w *Writer) settle() {
	if w.counted != nil {
		w.sources[w.source] += *w.counted
		w.counted = nil
	}
}

// Sources returns how many events of each source were added.
func (w *Writer) Sources() map[string]int64 {
	w.settle()
	return w.sources
}

func (w *Writer) fail(err error) error {
	if w.failed == nil {
		w.failed = err
	}
	return err
}

// part returns the part for a key, beginning it when needed.
func (w *Writer) part(key partKey) (*part, error) {
	w.clock++
	if p := w.parts[key]; p != nil {
		p.used = w.clock
		return p, nil
	}
	if len(w.parts) >= w.options.OpenDays {
		var oldest *part
		for _, p := range w.parts {
			if oldest == nil || p.used < oldest.used {
				oldest = p
			}
		}
		if err := w.finish(oldest); err != nil {
			return nil, err
		}
	}
	p := &part{partKey: key, used: w.clock}
	if free := w.free[key.table]; len(free) > 0 {
		p.waiting, w.free[key.table] = free[len(free)-1], free[:len(free)-1]
	} else {
		p.waiting = newTable(w.columns[key.table])
	}
	p.perRow = 4*int64(len(p.waiting.groups)) + 16*int64(len(p.waiting.other))
	w.parts[key] = p
	return p, nil
}

// relieve writes out what is full: the part, when it has a row group's rows,
// else the part that holds most.
func (w *Writer) relieve(p *part) error {
	if p.rows < w.options.RowGroupRows {
		for _, other := range w.parts {
			if other.held > p.held {
				p = other
			}
		}
	}
	return w.flush(p)
}

// flush writes the waiting rows of a part as a row group.
func (w *Writer) flush(p *part) error {
	if p.rows == 0 {
		return nil
	}
	if p.file == nil {
		name := w.options.Name
		if name == "" {
			name = "unnamed"
		}
		dir := filepath.Join(w.staging, filepath.FromSlash(partition(p.table, p.day)))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("create a day of the lake: %w", err)
		}
		n := w.numbers[p.partKey]
		w.numbers[p.partKey]++
		if n > 0 {
			name += "-" + strconv.Itoa(n)
		}
		f, err := createFile(filepath.Join(dir, name+".parquet"), w.columns[p.table])
		if err != nil {
			return err
		}
		p.file = f
	}
	if err := p.file.rowGroup(p.waiting, p.rows, &w.encoder, w.zstd); err != nil {
		return err
	}
	p.waiting.reset()
	w.held -= p.held
	p.rows, p.held = 0, 0
	return nil
}

// maxFreeParts bounds the buffers kept for parts to come.
const maxFreeParts = 4

// finish completes the object of a part.
func (w *Writer) finish(p *part) error {
	if err := w.flush(p); err != nil {
		return err
	}
	delete(w.parts, p.partKey)
	if w.last == p {
		w.last = nil
	}
	if len(w.free[p.table]) < maxFreeParts {
		w.free[p.table] = append(w.free[p.table], p.waiting)
	}
	if p.file == nil {
		return nil
	}
	o := analyzer.Object{
		Table: p.table, Rows: p.file.rows,
		MinTime: time.UnixMilli(p.min).UTC(), MaxTime: time.UnixMilli(p.max).UTC(),
	}
	if err := p.file.close(o.MinTime, o.MaxTime); err != nil {
		return err
	}
	o.Bytes = p.file.offset
	name := filepath.Base(p.file.path)
	if w.options.Name == "" {
		var err error
		if name, err = contentName(p.file.path); err != nil {
			return err
		}
		to := filepath.Join(filepath.Dir(p.file.path), name)
		if err := os.Rename(p.file.path, to); err != nil {
			return fmt.Errorf("name an object after its content: %w", err)
		}
	}
	o.Path = path.Join(partition(p.table, p.day), name)
	if err := w.finished(o.Path, filepath.Join(filepath.Dir(p.file.path), name)); err != nil {
		return err
	}
	w.objects = append(w.objects, o)
	return nil
}

// Close finishes all objects and returns them, ordered by path. They are not in
// the lake before they are committed (see Lake.Commit).
func (w *Writer) Close() ([]analyzer.Object, error) {
	defer w.abandon()
	if w.failed != nil {
		return nil, w.failed
	}
	open := make([]*part, 0, len(w.parts))
	for _, p := range w.parts {
		open = append(open, p)
	}
	slices.SortFunc(open, func(a, b *part) int { return int(a.day - b.day) })
	for _, p := range open {
		if err := w.finish(p); err != nil {
			return nil, w.fail(err)
		}
	}
	w.failed = errors.New("lake writer is closed")
	slices.SortFunc(w.objects, func(a, b analyzer.Object) int { return strings.Compare(a.Path, b.Path) })
	return w.objects, nil
}

// abandon lets go of files that were not finished.
func (w *Writer) abandon() {
	for _, p := range w.parts {
		if p.file != nil {
			p.file.abandon()
		}
	}
	w.parts, w.last, w.free = nil, nil, nil
	_ = w.zstd.zstd.Close()
}

// partition returns the folder of a table's day, with slashes.
func partition(table analyzer.Table, day int64) string {
	return string(table) + "/day=" + time.Unix(day*millisOfDay/1000, 0).UTC().Format(time.DateOnly)
}

// contentName names a file by the hash of its bytes.
func contentName(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("name an object after its content: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("name an object after its content: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]) + ".parquet", nil
}
