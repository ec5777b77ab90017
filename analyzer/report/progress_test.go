package report

import (
	"bytes"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// screen is a terminal's other end.
type screen struct {
	mu    sync.Mutex
	b     bytes.Buffer
	drawn chan struct{}
	once  sync.Once
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(p, []byte("Reading")) {
		s.once.Do(func() { close(s.drawn) })
	}
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestShortWorkShowsNoBar(t *testing.T) {
	s := &screen{drawn: make(chan struct{})}
	p := NewProgress(s, 80, make(chan any)) // the delay never ends
	step := p.Start("Reading", 100, Bytes)
	step.Add(100)
	step.Done()
	p.Close()
	require.NotContains(t, s.String(), "Reading")
}

func TestLongWorkShowsABarWithRateAndTimeLeft(t *testing.T) {
	s := &screen{drawn: make(chan struct{})}
	begin := make(chan any)
	close(begin)
	p := NewProgress(s, 80, begin)
	step := p.Start("Reading", 100<<20, Bytes)
	step.Add(25 << 20)
	<-s.drawn
	step.Done()
	p.Close()
	p.Close() // is no harm
	require.Contains(t, s.String(), "25 MiB/100 MiB")
	require.Contains(t, s.String(), "/s")
	require.Contains(t, s.String(), "left")
}

func TestNoProgressIsNoTrouble(t *testing.T) {
	var p *Progress
	step := p.Start("Reading", 1, Items)
	step.Add(1)
	step.Done()
	var b bytes.Buffer
	require.NoError(t, p.Say(&b, "hello"))
	require.Equal(t, "hello\n", b.String())
	p.Close()
}

// A terminal echoes ^C at the cursor, which is then not in the first column.
func TestABarIsDrawnOverTheLastOneFromTheFirstColumn(t *testing.T) {
	var b bytes.Buffer
	c := &console{out: &b, file: os.Stderr}
	for _, frame := range []string{"one\n", "two\n"} {
		_, err := c.WriteString(frame)
		require.NoError(t, err)
		require.NoError(t, c.Flush(1))
	}
	require.Equal(t, "one\n\r\x1b[1A\x1b[Jtwo\n", b.String())
}
