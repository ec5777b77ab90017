package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// ProgressDelay is how long work goes on before a bar appears: what is over
// sooner needs none.
const ProgressDelay = time.Second

// Unit is what a step of the work is counted in.
type Unit int

// The units there are.
const (
	Bytes Unit = iota // shown as MiB and MiB/s
	Items             // shown as plain numbers
)

// Progress shows bars with rate and time left for one step of work after the
// other. A nil Progress shows nothing, so that callers need not ask whether
// anybody looks on.
type Progress struct {
	container *mpb.Progress
}

// NewProgress returns bars on w, usually stderr, that appear when begin is
// closed (see After). width is that of the terminal. Call NewProgress only for
// a terminal; in pipes leave the Progress nil.
func NewProgress(w io.Writer, width int, begin <-chan any) *Progress {
	return &Progress{container: mpb.New(
		mpb.WithConsoleWriter(newConsole(w)),
		mpb.WithWidth(min(max(width, MinWidth), MaxWidth)),
		mpb.WithRenderDelay(begin),
		mpb.WithAutoRefresh(),
	)}
}

// console puts bars over the ones it wrote before. Unlike the writer that mpb
// brings along it does not take for granted that the cursor is where it was
// left: a terminal echoes ^C there, and the bar would begin behind it and be
// too wide for its line.
type console struct {
	bytes.Buffer
	out  io.Writer
	file *os.File // out, when that is a terminal
	up   int      // lines that the last bars took
}

func newConsole(out io.Writer) *console {
	c := &console{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.file = f
	}
	return c
}

// IsTerminal implements mpb.ConsoleWriter.
func (c *console) IsTerminal() bool { return c.file != nil }

// GetTermSize implements mpb.ConsoleWriter.
func (c *console) GetTermSize() (width, height int, err error) {
	return term.GetSize(int(c.file.Fd())) //nolint:wrapcheck // for mpb only
}

// Flush implements mpb.ConsoleWriter: what was written since the last call
// takes so many lines and replaces what the last call wrote.
func (c *console) Flush(lines int) error {
	frame := c.Bytes()
	if c.up > 0 {
		frame = fmt.Appendf(nil, "\r\x1b[%dA\x1b[J%s", c.up, frame)
	}
	if c.file != nil {
		c.up = lines
	}
	defer c.Reset()
	if _, err := c.out.Write(frame); err != nil {
		return fmt.Errorf("show progress: %w", err)
	}
	return nil
}

// After returns a channel that is closed after d, for NewProgress.
func After(d time.Duration) <-chan any {
	ch := make(chan any)
	time.AfterFunc(d, func() { close(ch) })
	return ch
}

// Step is one bar.
type Step struct {
	bar   *mpb.Bar
	total int64
}

// Start begins a step. Its bar goes away when the step is done.
func (p *Progress) Start(name string, total int64, unit Unit) *Step {
	if p == nil {
		return nil
	}
	counters, speed := decor.CountersNoUnit("%d/%d"), decor.AverageSpeed(0, "%.0f/s")
	if unit == Bytes {
		counters, speed = decor.CountersKibiByte("% .0f/% .0f"), decor.AverageSpeed(decor.SizeB1024(0), "% .0f")
	}
	bar := p.container.AddBar(total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(pad(Clean(name), 10))),
		mpb.AppendDecorators(
			counters, decor.Name("  "), speed, decor.Name("  "),
			decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO), ""), decor.Name(" left"),
		),
	)
	return &Step{bar: bar, total: total}
}

// Add counts work that is done.
func (s *Step) Add(n int64) {
	if s != nil {
		s.bar.IncrInt64(n)
	}
}

// Done ends the step, at whatever it has reached.
func (s *Step) Done() {
	if s != nil {
		s.bar.SetTotal(-1, true)
	}
}

// Close removes every bar and waits until the terminal is as it was. It may be
// called again.
func (p *Progress) Close() {
	if p != nil {
		p.container.Shutdown()
	}
}

// Say writes a line above the bars, so that the two do not mix.
func (p *Progress) Say(w io.Writer, text string) error {
	if p != nil {
		w = p.container
	}
	if _, err := fmt.Fprintln(w, text); err != nil {
		return fmt.Errorf("write to the terminal: %w", err)
	}
	return nil
}
