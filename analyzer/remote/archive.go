package remote

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/keytrail/keytrail/analyzer/cloud"
)

// errDamaged is wrapped by the error of an archive that no second try would mend.
var errDamaged = errors.New("the archive is not what was written")

// maxFiles is how many files a generation has at most.
const maxFiles = 1000

// upload writes the files of a generation into the bucket as one archive and
// returns its SHA-256. The archive is made on disk first, because a bucket must
// know the length of what it takes.
func (m *Memory) upload(ctx context.Context, s stored) (sum string, err error) {
	f, err := os.CreateTemp(m.options.Dir, "archive-*.tar")
	if err != nil {
		return "", fmt.Errorf("make an archive: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	hash := sha256.New()
	if err := pack(io.MultiWriter(f, hash), m.local.Generation(s.Generation)); err != nil {
		return "", fmt.Errorf("make an archive: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("make an archive: %w", err)
	}
	if _, err := m.options.Bucket.Put(ctx, s.Archive, f, cloud.Condition{IfAbsent: true}); err != nil {
		return "", fmt.Errorf("write %s: %w", s.Archive, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// pack writes the files of a folder as a tar archive.
func pack(to io.Writer, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	out := tar.NewWriter(to)
	for _, e := range entries {
		if err := packFile(out, filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return out.Close()
}

func packFile(out *tar.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", name)
	}
	if err := out.WriteHeader(&tar.Header{Name: info.Name(), Mode: 0o600, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// download brings the files of a generation into their folder, which is there as
// a whole or not at all.
func (m *Memory) download(ctx context.Context, s stored) (err error) {
	body, _, err := m.options.Bucket.Get(ctx, s.Archive, "", "")
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Archive, err)
	}
	defer func() { _ = body.Close() }() // it was only read
	if err := m.sweep(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(m.options.Dir, "unpack-")
	if err != nil {
		return fmt.Errorf("make room for %s: %w", s.Archive, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source, hash := &watched{from: body}, sha256.New()
	archive := io.TeeReader(source, hash)
	err = unpack(archive, dir, m.options.MaxBytes)
	if err == nil {
		_, err = io.Copy(io.Discard, archive) // what comes after the last file is of the hash, too
	}
	if source.failed != nil {
		return fmt.Errorf("read %s: %w", s.Archive, source.failed)
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", s.Archive, err)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != s.SHA256 {
		return fmt.Errorf("unpack %s: %w: its SHA-256 is %s and should be %s", s.Archive, errDamaged, sum, s.SHA256)
	}
	// A folder of that name is of a run whose memory was not committed.
	to := m.local.Generation(s.Generation)
	if err := errors.Join(os.RemoveAll(to), os.Rename(dir, to)); err != nil {
		return fmt.Errorf("bring %s to its place: %w", s.Archive, err)
	}
	return nil
}

// watched is a reader that remembers why it failed.
type watched struct {
	from   io.Reader
	failed error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed = err
	}
	return n, err
}

// sweep makes the folder, and removes what a process that died was writing.
func (m *Memory) sweep() error {
	if err := os.MkdirAll(m.options.Dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of memory: %w", err)
	}
	for _, pattern := range []string{"archive-*.tar", "unpack-*"} {
		left, err := filepath.Glob(filepath.Join(m.options.Dir, pattern))
		if err != nil {
			return fmt.Errorf("clear the folder of memory: %w", err)
		}
		for _, name := range left {
			if err := os.RemoveAll(name); err != nil {
				return fmt.Errorf("clear the folder of memory: %w", err)
			}
		}
	}
	return nil
}

// unpack writes the files of an archive into a folder: files with plain names
// only, and of no more than limit bytes in all.
func unpack(from io.Reader, folder string, limit int64) (err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	in := tar.NewReader(from)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if h.Typeflag != tar.TypeReg || h.Name != filepath.Base(h.Name) || !filepath.IsLocal(h.Name) || h.Name == "." {
			return fmt.Errorf("%w: it holds %q, which is not a file with a plain name", errDamaged, h.Name)
		}
		if limit -= h.Size; limit < 0 || n >= maxFiles {
			return fmt.Errorf("%w: it is larger than memory may be", errDamaged)
		}
		if err := unpackFile(in, root, h.Name, h.Size); err != nil {
			return err
		}
	}
}

func unpackFile(from io.Reader, root *os.Root, name string, size int64) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, from, size)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it is cut", errDamaged)
	}
	return errors.Join(err, f.Close())
}
