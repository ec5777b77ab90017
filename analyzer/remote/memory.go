package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/memory"
)

// MemoryOptions say where a memory is.
type MemoryOptions struct {
	Bucket cloud.Bucket
	Shard  int
	Dir    string // folder for the files of generations; for one process
	// MaxBytes is how large the files of a generation may be. Default 8 GiB.
	MaxBytes int64
}

// Memory is the memory of a lake in a bucket: a manifest, and an archive with
// the files of the generation that it names. It is not safe for concurrent use;
// of two processes that work on it, one is refused when it commits.
type Memory struct {
	options MemoryOptions
	local   *memory.Dir
	// What was loaded or committed last; without an ETag nothing was.
	current stored
	etag    string
}

// stored is the manifest as it is in the bucket.
type stored struct {
	memory.Manifest
	Archive string `json:"archive"` // key of the files
	SHA256  string `json:"sha256"`  // of the archive, in hex
}

// OpenMemory opens the memory of a bucket; nothing is read yet.
func OpenMemory(o MemoryOptions) *Memory {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 8 << 30
	}
	return &Memory{options: o, local: memory.Open(o.Dir)}
}

// Root is the folder that holds the files of generations.
func (m *Memory) Root() string { return m.local.Root() }

func (m *Memory) prefix() string { return "memory/" + strconv.Itoa(m.options.Shard) + "/" }

func (m *Memory) manifestKey() string { return m.prefix() + "manifest.json" }

// Manifest reads the current manifest without the files of its generation.
func (m *Memory) Manifest(ctx context.Context) (memory.Manifest, error) {
	s, _, err := m.read(ctx, "")
	if errors.Is(err, analyzer.ErrNotFound) {
		return memory.Manifest{Version: memory.Version}, nil
	}
	return s.Manifest, err
}

// read reads the manifest, unless it has a known ETag.
func (m *Memory) read(ctx context.Context, known string) (s stored, etag string, err error) {
	info, err := getJSON(ctx, m.options.Bucket, m.manifestKey(), known, &s)
	if errors.Is(err, analyzer.ErrNotFound) || errors.Is(err, cloud.ErrNotModified) {
		return s, info.ETag, err
	}
	if err != nil {
		return s, "", fmt.Errorf("read the memory's manifest: %w", err)
	}
	if s.Version != memory.Version {
		return s, "", fmt.Errorf("%w: %s has version %d, this is %d; %s", memory.ErrVersion, m.manifestKey(), s.Version, memory.Version, m.remedy())
	}
	return s, info.ETag, nil
}

// remedy says how memory is made anew.
func (m *Memory) remedy() string {
	return "to make memory anew from the lake, put all its objects into the inbox again and then delete " + m.manifestKey()
}

// Load reads the current manifest and brings the files of its generation into
// their folder under Root, unless they are there. Without a manifest the memory
// is empty.
func (m *Memory) Load(ctx context.Context) (memory.Manifest, error) {
	// Files that are not there were deleted because memory moved on, if it did.
	for missing := ""; ; {
		known := m.etag
		if _, err := os.Stat(m.local.Generation(m.current.Generation)); err != nil {
			known = ""
		}
		s, etag, err := m.read(ctx, known)
		switch {
		case errors.Is(err, cloud.ErrNotModified):
			return m.current.Manifest, nil
		case errors.Is(err, analyzer.ErrNotFound):
			m.current, m.etag = stored{}, ""
			return memory.Manifest{Version: memory.Version}, nil
		case err != nil:
			return s.Manifest, err
		}
		err = m.download(ctx, s)
		if errors.Is(err, analyzer.ErrNotFound) && etag != missing {
			missing = etag
			continue
		}
		if errors.Is(err, analyzer.ErrNotFound) || errors.Is(err, errDamaged) {
			return s.Manifest, fmt.Errorf("load memory: %w; %s", err, m.remedy())
		}
		if err != nil {
			return s.Manifest, fmt.Errorf("load memory: %w", err)
		}
		m.current, m.etag = s, etag
		// It also clears away the generations that are over.
		return s.Manifest, m.local.Commit(ctx, s.Manifest)
	}
}

// Commit makes next, whose files lie under Root, the current memory in one step,
// unless another process did since Load: then the error wraps
// analyzer.ErrConflict.
func (m *Memory) Commit(ctx context.Context, next memory.Manifest) error {
	s := stored{Manifest: next, Archive: fmt.Sprintf("%s%08d-%s.tar", m.prefix(), next.Generation, rand.Text())}
	var err error
	if s.SHA256, err = m.upload(ctx, s); err != nil {
		return fmt.Errorf("save memory: %w", err)
	}
	condition := cloud.Condition{IfMatch: m.etag, IfAbsent: m.etag == ""}
	info, err := putJSON(ctx, m.options.Bucket, m.manifestKey(), s, condition)
	if err != nil {
		if info.ETag, err = m.confirm(ctx, s, err); err != nil {
			return fmt.Errorf("save memory: %w", err)
		}
	}
	before := m.current.Archive
	m.current, m.etag = s, info.ETag
	m.clean(ctx, before)
	return m.local.Commit(ctx, next)
}

// confirm finds out whether a write of the manifest that ended in an error took
// effect: whether the manifest names our archive, whose name nobody else has.
func (m *Memory) confirm(ctx context.Context, ours stored, failed error) (etag string, err error) {
	there, etag, err := m.read(ctx, "")
	switch {
	case err == nil && there.Archive == ours.Archive:
		return etag, nil
	case err == nil && etag != m.etag:
		return "", fmt.Errorf("%w: another analyze moved memory on to generation %d", analyzer.ErrConflict, there.Generation)
	case errors.Is(err, analyzer.ErrNotFound) && m.etag != "":
		return "", fmt.Errorf("%w: memory was removed meanwhile", analyzer.ErrConflict)
	case errors.Is(err, analyzer.ErrNotFound):
		return "", failed
	}
	return "", errors.Join(failed, err)
}

// clean removes the archives that no reader needs: all but the current one and
// the one before, which somebody may be reading. Only those are removed that are
// older than the current one, because a younger one may be on its way to its
// manifest. What fails is tried again after the next commit.
func (m *Memory) clean(ctx context.Context, before string) {
	var archives []cloud.ObjectInfo
	var ours time.Time
	err := list(ctx, m.options.Bucket, m.prefix(), "", func(o cloud.ObjectInfo) bool {
		switch {
		case o.Key == m.current.Archive:
			ours = o.Modified
		case o.Key != before && strings.HasSuffix(o.Key, ".tar"):
			archives = append(archives, o)
		}
		return false
	})
	if err != nil {
		return
	}
	var old []string
	for _, o := range archives {
		if o.Modified.Before(ours) {
			old = append(old, o.Key)
		}
	}
	if len(old) > 0 {
		_ = m.options.Bucket.Delete(ctx, old...) // see above
	}
}

// Remove forgets everything: the manifest goes, and the archives with the next
// commit.
func (m *Memory) Remove(ctx context.Context) error {
	if err := m.options.Bucket.Delete(ctx, m.manifestKey()); err != nil {
		return fmt.Errorf("remove the memory: %w", err)
	}
	m.current, m.etag = stored{}, ""
	return nil
}
