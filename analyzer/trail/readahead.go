package trail

import (
	"context"
	"io"
)

// readAhead reads in a goroutine of its own. A large file is inflated by it
// while what came before is scanned, which takes two processors; and a pipe is
// read by it that may never give anything more, whatever the context says.
type readAhead struct {
	ctx  context.Context //nolint:containedctx // of the one file
	full chan chunk
	free chan []byte
	quit chan struct{}
	done chan struct{}
	left []byte // of the chunk that is being read
	buf  []byte
	err  error
}

type chunk struct {
	data []byte
	err  error
}

const (
	aheadChunks = 4
	aheadChunk  = 128 << 10
)

func newReadAhead(ctx context.Context, src io.Reader) *readAhead {
	r := &readAhead{
		ctx:  ctx,
		full: make(chan chunk, aheadChunks),
		free: make(chan []byte, aheadChunks),
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range aheadChunks {
		r.free <- make([]byte, aheadChunk)
	}
	go r.run(src)
	return r
}

func (r *readAhead) run(src io.Reader) {
	defer close(r.done)
	for {
		var buf []byte
		select {
		case buf = <-r.free:
		case <-r.quit:
			return
		}
		n, err := 0, error(nil)
		for n < len(buf)/2 && err == nil {
			var got int
			got, err = src.Read(buf[n:])
			n += got
		}
		// There are as many places in full as there are chunks.
		r.full <- chunk{buf[:n], err}
		if err != nil {
			return
		}
	}
}

// Read gives what has been read ahead, until the context ends.
func (r *readAhead) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.buf != nil {
			r.free <- r.buf[:cap(r.buf)]
			r.buf = nil
		}
		if r.err != nil {
			return 0, r.err
		}
		select {
		case c := <-r.full:
			r.buf, r.left, r.err = c.data, c.data, c.err
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// stop ends the goroutine and waits until it no longer reads.
func (r *readAhead) stop() {
	close(r.quit)
	<-r.done
}

// patient reads an input that may keep whoever opens or reads it waiting for
// ever, such as a named pipe that nobody writes to. It ends with the context;
// what waits then is left waiting.
type patient struct {
	ahead *readAhead
}

func newPatient(ctx context.Context, open func() (io.ReadCloser, error)) (*patient, error) {
	type opening struct {
		src io.ReadCloser
		err error
	}
	opened := make(chan opening, 1)
	go func() {
		src, err := open()
		opened <- opening{src, err}
	}()
	select {
	case o := <-opened:
		if o.err != nil {
			return nil, o.err
		}
		p := &patient{ahead: newReadAhead(ctx, o.src)}
		go func() {
			<-p.ahead.done
			o.src.Close() //nolint:errcheck,gosec // only read
		}()
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *patient) Read(b []byte) (int, error) { return p.ahead.Read(b) }

// Close lets go of the input, which is closed when the last read has returned.
func (p *patient) Close() error {
	close(p.ahead.quit)
	return nil
}
