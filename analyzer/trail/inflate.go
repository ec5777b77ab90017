package trail

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/keytrail/keytrail/analyzer/trail/inflate"
)

// ErrBomb is wrapped in the error with which a gzip file ends that inflates to
// more than Limits allows.
var ErrBomb = errors.New("gzip bomb")

const gzipMagic = "\x1f\x8b"

// maxLayers is how often a file may be gzipped over itself: twice happens when
// a client has uploaded a gzip file with Content-Encoding gzip.
const maxLayers = 3

// inflater gives the content of a file, gzipped or not.
type inflater struct {
	compressed counter
	buffered   *bufio.Reader
	gzip       inflate.Reader
	limited    limited
}

// reset begins a new file.
func (f *inflater) reset(src io.Reader, limits Limits, read func(int)) io.Reader {
	f.compressed.r, f.compressed.told = src, read
	f.compressed.n.Store(0)
	if f.buffered == nil {
		f.buffered = bufio.NewReaderSize(nil, 64<<10)
	}
	f.buffered.Reset(&f.compressed)
	if magic, _ := f.buffered.Peek(len(gzipMagic)); string(magic) != gzipMagic {
		return f.buffered
	}
	if err := f.gzip.Reset(f.buffered); err != nil {
		return failing{headerError(err)}
	}
	f.limited = limited{r: &f.gzip, in: &f.compressed, limits: limits}
	return &f.limited
}

// release lets go of the file.
func (f *inflater) release() {
	f.compressed.r, f.compressed.told = nil, nil
	if f.buffered != nil {
		f.buffered.Reset(nil)
	}
}

// again returns what a stream inflates to that turned out to be gzip itself;
// head is what it gave so far, and rest the stream.
func again(head []byte, rest io.Reader, limits Limits) io.Reader {
	if outer, ok := rest.(*limited); ok {
		outer.r.Remember(head)
	}
	in := &counter{r: io.MultiReader(bytes.NewReader(bytes.Clone(head)), rest)}
	var inner inflate.Reader
	if err := inner.Reset(in); err != nil {
		return failing{headerError(err)}
	}
	return &limited{r: &inner, in: in, limits: limits}
}

// headerError makes an end within the header what it is.
func headerError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// describe says what went wrong in a stream and what can be done about it.
func describe(err error) string {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, ErrBomb):
		return err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the gzip data is cut off: get the whole file again"
	case errors.Is(err, gzip.ErrChecksum):
		return "the gzip checksum does not match: the file was damaged, and what was read of it may be too"
	case errors.Is(err, gzip.ErrHeader):
		return "the gzip data is damaged: a header is not valid, or something follows that is not gzip"
	case errors.As(err, &corrupt):
		return fmt.Sprintf("the gzip data is damaged near byte %d of the file", int64(corrupt))
	}
	return "reading failed: " + err.Error()
}

// counter counts what is read.
type counter struct {
	r    io.Reader
	n    atomic.Int64
	told func(int) // of each read; may be nil
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if c.told != nil {
		c.told(n)
	}
	return n, err
}

// failing is a reader that only has an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// limited ends a stream that inflates too much.
type limited struct {
	r      *inflate.Reader
	in     *counter
	out    int64
	limits Limits
}

func (l *limited) Read(p []byte) (int, error) { return l.within(l.r.Read(p)) }

// ReadOnto is Read behind what was read before (see inflate.Reader.ReadOnto).
func (l *limited) ReadOnto(buf []byte, at int) (int, error) { return l.within(l.r.ReadOnto(buf, at)) }

func (l *limited) within(n int, err error) (int, error) {
	l.out += int64(n)
	switch {
	case l.out > ratioFree && l.out/l.limits.MaxRatio > l.in.n.Load():
		return n, fmt.Errorf("%w: it inflates to over %d times its size, stopped after %d bytes", ErrBomb, l.limits.MaxRatio, l.out)
	case l.out > l.limits.MaxInflated:
		return n, fmt.Errorf("%w: it inflates to over %d bytes", ErrBomb, l.limits.MaxInflated)
	}
	return n, err
}
