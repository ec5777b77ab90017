package awssdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// errEnded is what io.ErrUnexpectedEOF becomes.
var errEnded = errors.New("the connection ended before the object did")

// body is the body of an object. Unlike the HTTP client's it does not wait
// without end for a connection that is silent.
type body struct {
	io.ReadCloser
	address string
	limit   time.Duration
	cancel  context.CancelFunc
	timer   *time.Timer
	stalled atomic.Bool
}

func newBody(r io.ReadCloser, address string, limit time.Duration, cancel context.CancelFunc) *body {
	b := &body{ReadCloser: r, address: address, limit: limit, cancel: cancel}
	b.timer = time.AfterFunc(limit, func() {
		b.stalled.Store(true)
		cancel()
	})
	b.timer.Stop() // it runs during Read only: a slow reader may take its time
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	switch {
	case err == nil || err == io.EOF: //nolint:errorlint // io.Reader's end is io.EOF itself
		return n, err
	case b.stalled.Load():
		err = fmt.Errorf("no byte came for %s", b.limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errEnded
	}
	return n, fmt.Errorf("read %s: %w", b.address, err)
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.timer.Stop()
	defer b.cancel()
	if err := b.ReadCloser.Close(); err != nil {
		return fmt.Errorf("close %s: %w", b.address, err)
	}
	return nil
}
