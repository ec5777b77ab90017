package cloudtest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 makes the ETag of a whole object so; nothing is protected by it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// Limits of S3.
const (
	maxObjectKey = 1024 // bytes
	listPage     = 1000 // objects of one List
	deleteBatch  = 1000 // objects of one DeleteObjects
)

// BucketOptions say how a bucket is. The zero value is a bucket without
// versions on the real clock.
type BucketOptions struct {
	Now      func() time.Time
	Versions bool
	// OnPut is called after an object was written, whatever became of the
	// answer, as S3 sends its notifications. It may call the bucket.
	OnPut func(key string, info cloud.ObjectInfo)
	Rand  *rand.Rand // draws what a partial fault concerns
	Hooks Hooks
}

// Bucket is a bucket in memory. Its methods may be called from several
// goroutines.
type Bucket struct {
	hooks Hooks
	state *bucketState
}

var _ cloud.Bucket = (*Bucket)(nil)

// bucketState is what all clients of a bucket share.
type bucketState struct {
	now      func() time.Time
	versions bool
	onPut    func(key string, info cloud.ObjectInfo)

	mu      sync.Mutex
	rand    *rand.Rand
	objects map[string][]object // by key, the newest version last
	keys    []string            // of objects that are there, in order
	written int64               // versions made
}

// object is one version of an object, or the mark that it was deleted.
type object struct {
	cloud.ObjectInfo
	body    []byte
	deleted bool
}

// NewBucket returns an empty bucket.
func NewBucket(o BucketOptions) *Bucket {
	return &Bucket{hooks: o.Hooks, state: &bucketState{
		now: clock(o.Now), versions: o.Versions, onPut: o.OnPut, rand: seeded(o.Rand), objects: map[string][]object{},
	}}
}

// With returns another client of the same bucket.
func (b *Bucket) With(h Hooks) *Bucket { return &Bucket{hooks: h, state: b.state} }

// Get implements cloud.Reader.
func (b *Bucket) Get(ctx context.Context, key, version, ifNoneMatch string) (io.ReadCloser, cloud.ObjectInfo, error) {
	fault, err := b.hooks.enter(ctx, "s3.Get")
	if err != nil {
		return nil, cloud.ObjectInfo{}, err
	}
	o, ok := b.state.find(key, version)
	switch {
	case !ok && fault != nil:
		return nil, cloud.ObjectInfo{}, fault.lost("s3.Get")
	case !ok:
		return nil, cloud.ObjectInfo{}, missing("s3.Get", key, version)
	case ifNoneMatch != "" && ifNoneMatch == o.ETag:
		return nil, cloud.ObjectInfo{}, fmt.Errorf("s3.Get %s: %w", key, cloud.ErrNotModified)
	case fault != nil:
		broken := io.MultiReader(bytes.NewReader(o.body[:len(o.body)/2]), failingReader{fault.lost("s3.Get")})
		return io.NopCloser(broken), o.ObjectInfo, nil
	}
	return io.NopCloser(bytes.NewReader(o.body)), o.ObjectInfo, nil
}

// failingReader is the rest of a body whose connection broke.
type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func missing(op, key, version string) error {
	if version != "" {
		key += " version " + version
	}
	return fmt.Errorf("%s %s: %w", op, key, analyzer.ErrNotFound)
}

// Head implements cloud.Reader.
func (b *Bucket) Head(ctx context.Context, key string) (cloud.ObjectInfo, error) {
	fault, err := b.hooks.enter(ctx, "s3.Head")
	if err != nil {
		return cloud.ObjectInfo{}, err
	}
	o, ok := b.state.find(key, "")
	switch {
	case fault != nil:
		return cloud.ObjectInfo{}, fault.lost("s3.Head")
	case !ok:
		return cloud.ObjectInfo{}, missing("s3.Head", key, "")
	}
	return o.ObjectInfo, nil
}

// find returns an object, the current one if no version is asked for. Bodies
// are never changed, so the caller may read on without the lock.
func (s *bucketState) find(key, version string) (object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version(key, version)
}

func (s *bucketState) version(key, version string) (object, bool) {
	all := s.objects[key]
	at := len(all) - 1
	if version != "" {
		at = slices.IndexFunc(all, func(o object) bool { return o.Version == version })
	}
	if at < 0 || all[at].deleted {
		return object{}, false
	}
	return all[at], true
}

// List implements cloud.Reader.
func (b *Bucket) List(ctx context.Context, prefix, after string) (objects []cloud.ObjectInfo, more bool, err error) {
	fault, err := b.hooks.enter(ctx, "s3.List")
	if err != nil {
		return nil, false, err
	}
	if fault != nil {
		return nil, false, fault.lost("s3.List")
	}
	s := b.state
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := slices.BinarySearch(s.keys, max(prefix, after))
	for _, key := range s.keys[at:] {
		if key == after && after != "" {
			continue
		}
		if len(key) < len(prefix) || key[:len(prefix)] != prefix {
			break
		}
		if len(objects) == listPage {
			return objects, true, nil
		}
		o, _ := s.version(key, "")
		o.Version = "" // a list of the current objects does not say it
		objects = append(objects, o.ObjectInfo)
	}
	return objects, false, nil
}

// Put implements cloud.Bucket. It reads the body twice, as a client does that
// signs it first.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, c cloud.Condition) (cloud.ObjectInfo, error) {
	data, err := readTwice(body)
	if err != nil {
		return cloud.ObjectInfo{}, fmt.Errorf("s3.Put %s: %w", key, err)
	}
	if key == "" || len(key) > maxObjectKey || !utf8.ValidString(key) {
		return cloud.ObjectInfo{}, fmt.Errorf("s3.Put: the key %q is not 1 to %d bytes of UTF-8", key, maxObjectKey)
	}
	if c.IfAbsent && c.IfMatch != "" {
		return cloud.ObjectInfo{}, fmt.Errorf("s3.Put %s: an object cannot be absent and have an ETag", key)
	}
	fault, err := b.hooks.enter(ctx, "s3.Put")
	if err != nil {
		return cloud.ObjectInfo{}, err
	}
	info, err := twice(fault, func() (cloud.ObjectInfo, error) {
		info, err := b.state.put(key, data, c)
		if err == nil && b.state.onPut != nil {
			b.state.onPut(key, info)
		}
		return info, err
	})
	if fault.loses() {
		return cloud.ObjectInfo{}, fault.lost("s3.Put " + key)
	}
	return info, err
}

func readTwice(body io.ReadSeeker) (data []byte, err error) {
	for range 2 {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("rewind the body: %w", err)
		}
		again, err := io.ReadAll(body)
		if err != nil {
			return nil, fmt.Errorf("read the body: %w", err)
		}
		if data != nil && !bytes.Equal(data, again) {
			return nil, errors.New("the body is another when it is read again")
		}
		data = again
	}
	return data, nil
}

func (s *bucketState) put(key string, data []byte, c cloud.Condition) (cloud.ObjectInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := s.version(key, "")
	switch {
	case c.IfAbsent && ok:
		return cloud.ObjectInfo{}, fmt.Errorf("s3.Put %s: %w: there is one", key, analyzer.ErrConflict)
	case c.IfMatch != "" && !ok: // S3 answers 404, not 412
		return cloud.ObjectInfo{}, missing("s3.Put", key, "")
	case c.IfMatch != "" && have.ETag != c.IfMatch:
		return cloud.ObjectInfo{}, fmt.Errorf("s3.Put %s: %w: its ETag is %s and not %s", key, analyzer.ErrConflict, have.ETag, c.IfMatch)
	}
	sum := md5.Sum(data) //nolint:gosec // see the import
	o := object{ObjectInfo: cloud.ObjectInfo{
		Key: key, Size: int64(len(data)), ETag: `"` + hex.EncodeToString(sum[:]) + `"`,
		Modified: s.now().Truncate(time.Second), // Last-Modified has no fractions
	}, body: data}
	s.add(o)
	return s.objects[key][len(s.objects[key])-1].ObjectInfo, nil
}

// add makes o the newest version of its key.
func (s *bucketState) add(o object) {
	s.written++
	switch {
	case s.versions:
		o.Version = fmt.Sprintf("v%08d", s.written)
		s.objects[o.Key] = append(s.objects[o.Key], o)
	case o.deleted:
		delete(s.objects, o.Key)
	default:
		s.objects[o.Key] = []object{o}
	}
	at, listed := slices.BinarySearch(s.keys, o.Key)
	switch {
	case o.deleted && listed:
		s.keys = slices.Delete(s.keys, at, at+1)
	case !o.deleted && !listed:
		s.keys = slices.Insert(s.keys, at, o.Key)
	}
}

// Delete implements cloud.Bucket. With versions it puts a mark, and the
// versions can still be read.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	var failed []error
	for batch := range slices.Chunk(keys, deleteBatch) {
		fault, err := b.hooks.enter(ctx, "s3.Delete")
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		failed = append(failed, b.state.delete(batch, fault)...)
	}
	return errors.Join(failed...)
}

func (s *bucketState) delete(keys []string, fault *Fault) (failed []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failing := fault.failing(s.rand, len(keys))
	for i, key := range keys {
		if failing[i] {
			failed = append(failed, fault.refusal("s3.Delete "+key))
			if !fault.After {
				continue
			}
		}
		if _, ok := s.version(key, ""); ok {
			s.add(object{ObjectInfo: cloud.ObjectInfo{Key: key, Modified: s.now().Truncate(time.Second)}, deleted: true})
		}
	}
	return failed
}
