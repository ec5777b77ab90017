// Package store keeps findings, alerts and what was said about them in one
// bbolt file beside the lake.
//
// Everything hangs on two orders. Findings lie by detection and start of their
// window, so that a tick reads only the range it computed anew; and each group
// lists its findings in the same order in a short form, so that an alert is
// folded without reading what it does not need. Indexes (touched groups, due
// alerts, what was not printed) are written in the transaction of what they
// index and hold only what is open: their size does not grow with history.
package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/keytrail/keytrail/analyzer"
)

// format is the layout below. A file of a newer one is refused.
const format = "1"

// The buckets, with what leads to what. Parts of a key are joined by a zero byte.
var (
	bucketMeta     = []byte("meta")         // "format" → format
	bucketFindings = []byte("findings")     // detection, window start, id → finding as JSON
	bucketIDs      = []byte("finding_ids")  // id → key in findings
	bucketGroups   = []byte("groups")       // group, window start, id → finding reference as JSON
	bucketTouched  = []byte("touched")      // group → smallest window start that changed
	bucketAlerts   = []byte("alerts")       // id → alert record as JSON
	bucketByGroup  = []byte("group_alerts") // group, alert id
	bucketDue      = []byte("due")          // ids of alerts that are due
	bucketHidden   = []byte("hidden")       // name → number of findings it keeps quiet
	bucketNews     = []byte("unprinted")    // "f"+finding id, "a"+alert id
	bucketPrinted  = []byte("printed")      // the same → mark
	bucketValues   = []byte("values")       // space, key → value
)

var buckets = [][]byte{
	bucketMeta, bucketFindings, bucketIDs, bucketGroups, bucketTouched, bucketAlerts, bucketByGroup,
	bucketDue, bucketHidden, bucketNews, bucketPrinted, bucketValues,
}

// lockWait is how long Open waits for another process to let go: long enough
// for one that is just ending, short enough for a person who waits.
const lockWait = time.Second

// batch is how many findings go into one transaction: few enough that its
// pages fit in some ten megabytes, enough that the sync to disk does not count.
const batch = 5000

// Bolt is a store in one bbolt file. One process at a time may hold it open;
// within it, methods may be called from several goroutines.
type Bolt struct {
	db *bbolt.DB
}

var _ analyzer.Store = (*Bolt)(nil)

// Option changes how Open opens.
type Option func(*bbolt.Options)

// WithoutSync does not wait for the disk at each write: for the state of a
// temporary lake, which nobody needs after a crash.
func WithoutSync() Option { return func(o *bbolt.Options) { o.NoSync = true } }

// Open opens the store at path, creating it when there is none. The error
// wraps analyzer.ErrLocked when another process has it open.
func Open(path string, options ...Option) (*Bolt, error) {
	o := &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true}
	for _, option := range options {
		option(o)
	}
	db, err := bbolt.Open(path, 0o600, o)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open state %s: %w: wait until the other keytrail on this lake has ended, or stop it", path, analyzer.ErrLocked)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("open state %s: the file is damaged or is not a state file (%w): restore it, or move it away to start without state, in which case alerts are sent again", path, err)
	case err != nil:
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	if err := prepare(db); err != nil {
		return nil, errors.Join(fmt.Errorf("open state %s: %w", path, err), db.Close())
	}
	return &Bolt{db: db}, nil
}

// prepare creates the buckets and checks the format. It writes only when
// something is missing, so that opening costs no sync.
func prepare(db *bbolt.DB) error {
	complete := false
	if err := db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return nil
		}
		if have := string(meta.Get([]byte("format"))); have != format {
			return fmt.Errorf("it has format %q and this keytrail reads format %q: use the keytrail that wrote it, or a newer one", have, format)
		}
		complete = !slices.ContainsFunc(buckets, func(name []byte) bool { return tx.Bucket(name) == nil })
		return nil
	}); err != nil || complete {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put([]byte("format"), []byte(format))
	})
}

// Close releases the file. It waits for transactions under way.
func (s *Bolt) Close() error { return s.db.Close() }

func (s *Bolt) view(ctx context.Context, read func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(read)
}

func (s *Bolt) update(ctx context.Context, write func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.Update(write)
}

// Get implements analyzer.ValueStore.
func (s *Bolt) Get(ctx context.Context, space, key string) (value []byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bucketValues).Get(join(space, key)))
		return nil
	})
	return value, err
}

// Put implements analyzer.ValueStore.
func (s *Bolt) Put(ctx context.Context, space, key string, value []byte) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		if value == nil {
			return tx.Bucket(bucketValues).Delete(join(space, key))
		}
		return tx.Bucket(bucketValues).Put(join(space, key), value)
	})
}

// List implements analyzer.ValueStore.
func (s *Bolt) List(ctx context.Context, space string) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		prefix := join(space, "")
		return scan(tx.Bucket(bucketValues), prefix, prefix, func(k, v []byte) error {
			values[string(k[len(prefix):])] = bytes.Clone(v)
			return nil
		})
	})
	return values, err
}

// Unprinted implements analyzer.PrintStore.
func (s *Bolt) Unprinted(ctx context.Context) (findings, alerts map[string]string, err error) {
	findings, alerts = map[string]string{}, map[string]string{}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		printed := tx.Bucket(bucketPrinted)
		return tx.Bucket(bucketNews).ForEach(func(k, _ []byte) error {
			into := findings
			if k[0] == 'a' {
				into = alerts
			}
			into[string(k[1:])] = string(printed.Get(k))
			return nil
		})
	})
	return findings, alerts, err
}

// MarkPrinted implements analyzer.PrintStore. The marks are written in parts,
// so a failure may leave some of them unwritten.
func (s *Bolt) MarkPrinted(ctx context.Context, findings, alerts map[string]string) error {
	marks := make([]printedMark, 0, len(findings)+len(alerts))
	for id, mark := range findings {
		marks = append(marks, printedMark{[]byte("f" + id), mark})
	}
	for id, mark := range alerts {
		marks = append(marks, printedMark{[]byte("a" + id), mark})
	}
	// bbolt parts a page only when a transaction ends: in one transaction, or
	// in the order of a map, the time would grow with the square of the marks.
	slices.SortFunc(marks, func(a, b printedMark) int { return bytes.Compare(a.key, b.key) })
	for part := range slices.Chunk(marks, batch) {
		if err := s.update(ctx, func(tx *bbolt.Tx) error { return markPrinted(tx, part) }); err != nil {
			return err
		}
	}
	return nil
}

// printedMark is what one finding or alert looked like when it was printed.
type printedMark struct {
	key  []byte // "f" or "a", and the id
	mark string
}

func markPrinted(tx *bbolt.Tx, marks []printedMark) error {
	news, printed := tx.Bucket(bucketNews), tx.Bucket(bucketPrinted)
	for _, m := range marks {
		if err := printed.Put(m.key, []byte(m.mark)); err != nil {
			return fmt.Errorf("mark %s as printed: %w", m.key[1:], err)
		}
		if err := news.Delete(m.key); err != nil {
			return fmt.Errorf("mark %s as printed: %w", m.key[1:], err)
		}
	}
	return nil
}

// join makes a key of a name, which has no zero byte, and a rest.
func join(name, rest string) []byte {
	return slices.Concat([]byte(name), []byte{0}, []byte(rest))
}

// ordered makes a key that sorts by name, time and id.
func ordered(name string, t time.Time, id string) []byte {
	return slices.Concat(join(name, ""), sortable(t), []byte(id))
}

// sortable encodes a time in 12 bytes that sort as times do, over all times
// that Go has.
func sortable(t time.Time) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(t.Unix())^1<<63) //nolint:gosec // the sign bit is flipped, nothing overflows
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond())) //nolint:gosec // below 1e9
}

// fromSortable undoes sortable.
func fromSortable(b []byte) time.Time {
	seconds := int64(binary.BigEndian.Uint64(b) ^ 1<<63) //nolint:gosec // undoes the flip
	return time.Unix(seconds, int64(binary.BigEndian.Uint32(b[8:]))).UTC()
}

// scan calls visit for the keys with the prefix, from the key start on.
func scan(b *bbolt.Bucket, prefix, start []byte, visit func(k, v []byte) error) error {
	c := b.Cursor()
	for k, v := c.Seek(start); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := visit(k, v); err != nil {
			return err
		}
	}
	return nil
}

// read decodes what the store wrote; a failure means a damaged file.
func read(what, id string, data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s %s from the state: %w", what, id, err)
	}
	return nil
}

// checkName refuses names that could not be kept apart in keys.
func checkName(what, name string) error {
	if name == "" || strings.Contains(name, "\x00") {
		return fmt.Errorf("%s %q is empty or has a zero byte", what, name)
	}
	return nil
}
