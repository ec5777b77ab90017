package trail

import (
	"errors"
	"io"

	"github.com/keytrail/keytrail/analyzer/trail/inflate"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

const (
	windowSize = 128 << 10
	// readSize is how much is read at once, so that it is still near when it is
	// looked at.
	readSize = 32 << 10
	// A window that had to grow beyond this is not kept for the next file.
	windowKept = 1 << 20
	// indexStep is how many blocks are indexed at a time: 16 KiB of text.
	indexStep = 256
	// windowPad is what the index may need beyond the data.
	windowPad = jsonscan.BlockSize + jsonscan.Lookahead
)

// window is the part of a stream that is in memory, with its index. Positions
// are into buf; more moves them.
type window struct {
	size  int // of buf at first; 0 means windowSize
	src   io.Reader
	onto  onto  // src, when it is read without copying
	err   error // why there is no more: io.EOF or what went wrong
	base  int64 // where buf[0] is in the stream
	buf   []byte
	end   int // of the data
	limit int // of the part of the data that is indexed: what may be looked at

	origin int // the index begins here, outside of strings
	blocks []jsonscan.Block
	state  jsonscan.State
}

// onto is a source that reads behind what it gave before and looks at it again:
// the last inflate.History bytes must stay there.
type onto interface {
	ReadOnto(buf []byte, at int) (n int, err error)
}

func (w *window) reset(src io.Reader) {
	if w.size == 0 {
		w.size = windowSize
	}
	if w.buf == nil {
		w.buf = make([]byte, w.size+windowPad)
	}
	w.src, w.err, w.base, w.end, w.limit, w.origin = src, nil, 0, 0, 0, 0
	w.blocks, w.state = w.blocks[:0], jsonscan.State{}
	w.onto = nil
	if w.size >= windowSize { // a smaller one has no room for the history
		w.onto, _ = src.(onto)
	}
}

// offset returns where a position is in the stream.
func (w *window) offset(p int) int64 { return w.base + int64(p) }

// more brings at least one more byte to look at, or returns false. What comes
// before keep is forgotten when there is need for room; shift is by how much
// positions have become smaller.
func (w *window) more(keep int) (shift int, ok bool) {
	for range 100 {
		if w.index() {
			return shift, true
		}
		if w.err != nil {
			return shift, false
		}
		room := min(readSize, w.size/4)
		if len(w.buf)-windowPad-w.end < room {
			shift += w.forget(keep - shift)
			if len(w.buf)-windowPad-w.end < room {
				w.buf = append(w.buf[:w.end], make([]byte, 2*len(w.buf)-w.end)...)
			}
		}
		w.read()
	}
	if !w.index() {
		w.err = io.ErrNoProgress
		return shift, false
	}
	return shift, true
}

func (w *window) read() {
	var n int
	if room := w.buf[:len(w.buf)-windowPad]; w.onto != nil {
		n, w.err = w.onto.ReadOnto(room[:min(len(room), w.end+readSize)], w.end)
	} else {
		n, w.err = w.src.Read(room[w.end:])
	}
	w.end += n
}

// forget moves the data from keep on to the front, as far as whole blocks and
// the history allow.
func (w *window) forget(keep int) (shift int) {
	if w.onto != nil {
		keep = min(keep, w.end-inflate.History)
	}
	shift = max(0, min(keep, w.origin))
	blocks := min(max(0, keep-w.origin)/jsonscan.BlockSize, len(w.blocks))
	shift += blocks * jsonscan.BlockSize
	if shift == 0 {
		return 0
	}
	copy(w.buf, w.buf[shift:w.end])
	w.blocks = w.blocks[:copy(w.blocks, w.blocks[blocks:])]
	w.end -= shift
	w.limit -= shift
	w.base += int64(shift)
	w.origin -= shift - blocks*jsonscan.BlockSize
	return shift
}

// index indexes some of the data that is not indexed yet, if there is any:
// whole blocks, and at the end of the stream the rest. It takes small steps, so
// that the index is still near when it is used, and little is lost when it
// turns out to be wrong.
func (w *window) index() bool {
	from := w.origin + len(w.blocks)*jsonscan.BlockSize
	rest := w.end - from
	n := (rest - jsonscan.Lookahead) / jsonscan.BlockSize
	if w.err != nil && n < indexStep {
		n = (rest + jsonscan.BlockSize - 1) / jsonscan.BlockSize
		pad := w.buf[w.end : w.end+windowPad]
		for i := range pad {
			pad[i] = ' '
		}
	}
	if n <= 0 {
		return false
	}
	n = min(n, indexStep)
	have := len(w.blocks)
	if cap(w.blocks) < have+n {
		grown := make([]jsonscan.Block, have, max(have+n, len(w.buf)/jsonscan.BlockSize+1))
		copy(grown, w.blocks)
		w.blocks = grown
	}
	w.blocks = w.blocks[:have+n]
	jsonscan.Index(w.blocks[have:], w.buf[from:], &w.state)
	w.limit = min(w.end, w.origin+len(w.blocks)*jsonscan.BlockSize)
	return true
}

// restart begins the index anew at p, which is known to be outside of strings.
func (w *window) restart(p int) {
	w.origin, w.blocks, w.state, w.limit = p, w.blocks[:0], jsonscan.State{}, p
}

// head returns the first bytes of the stream, at most n, to judge what it is.
func (w *window) head(n int) []byte {
	for w.end < n && w.err == nil {
		w.more(0)
	}
	return w.buf[:min(n, w.end)]
}

// failure returns why the stream ended when it was not its proper end.
func (w *window) failure() error {
	if w.err == nil || errors.Is(w.err, io.EOF) && !errors.Is(w.err, io.ErrUnexpectedEOF) {
		return nil
	}
	return w.err
}
