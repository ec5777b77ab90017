package trail

import "io"

// readAhead inflates in a goroutine of its own while what came before is
// scanned: a single large file takes two processors.
type readAhead struct {
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

func newReadAhead(src io.Reader) *readAhead {
	r := &readAhead{
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
		for n < len(buf) && err == nil {
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

// Read gives what has been read ahead.
func (r *readAhead) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.buf != nil {
			r.free <- r.buf[:cap(r.buf)]
			r.buf = nil
		}
		if r.err != nil {
			return 0, r.err
		}
		c := <-r.full
		r.buf, r.left, r.err = c.data, c.data, c.err
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
