package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// runner is one side of a race.
type runner struct {
	name string
	// prepare, when set, makes what a run needs and is not part of it.
	prepare func() error
	command []string
	folder  string // to run in; default the cache, where no keytrail.yaml is
	// check, when set, reads what a run printed: a run that loses something is
	// an error and not a time.
	check func(stdout []byte) error
}

// times are the runs of one side, in order, without the warm-up.
type times struct {
	Name string
	Wall []float64 // seconds
	CPU  []float64 // seconds, user and system, with its children
	Peak int64     // bytes, the most of all runs
}

// race runs the sides in turn, A B A B …, so that whatever else the machine
// does meets all of them. The first round warms up and does not count.
func (b *bench) race(ctx context.Context, rounds int, sides ...runner) ([]times, error) {
	all := make([]times, len(sides))
	for round := range rounds + 1 {
		for i, s := range sides {
			wall, cpu, peak, err := b.once(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if round == 0 {
				all[i].Name = s.name
				continue
			}
			all[i].Wall = append(all[i].Wall, wall)
			all[i].CPU = append(all[i].CPU, cpu)
			all[i].Peak = max(all[i].Peak, peak)
			b.say(".")
		}
	}
	b.say("\n")
	return all, nil
}

// once runs one side once. The peak is the kernel's count of the process that
// used most: it begins with what this program uses when it starts another one,
// which is why this program stays small and never makes logs itself.
func (b *bench) once(ctx context.Context, s runner) (wall, cpu float64, peak int64, err error) {
	if s.prepare != nil {
		if err := s.prepare(); err != nil {
			return 0, 0, 0, err
		}
	}
	printed := filepath.Join(b.cache, "stdout")
	out, err := os.Create(printed)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("keep what it prints: %w", err)
	}
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...) //nolint:gosec // the commands are ours
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.folder, out, &errs
	if cmd.Dir == "" {
		cmd.Dir = b.cache
	}
	start := time.Now()
	err = cmd.Run()
	wall = time.Since(start).Seconds()
	if err := errors.Join(err, out.Close()); err != nil {
		return 0, 0, 0, fmt.Errorf("%w\n%s", err, errs.String())
	}
	cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = u.Maxrss << 10 // Linux counts KiB
	}
	if s.check != nil {
		text, err := tail(printed)
		if err == nil {
			err = s.check(text)
		}
		if err != nil {
			return 0, 0, 0, err
		}
	}
	return wall, cpu, peak, nil
}

// tail reads the end of what a run printed: its summary is the last line.
func tail(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read what it printed: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	from := max(size-64<<10, 0)
	text, err := io.ReadAll(io.NewSectionReader(f, from, size-from))
	return text, errors.Join(err, f.Close())
}

// ratio is how long a took in units of b: the median over the rounds, each of
// which has both under the same conditions.
func ratio(a, b []float64) float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return median(r)
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// gunzip inflates all logs of a folder with one gzip a core. Each gzip gets
// several files where they are small, since starting it costs more than they do.
func (b *bench) gunzip(folder string, filesEach int) runner {
	return runner{
		name: fmt.Sprintf("gzip -dc, xargs -P %d -n %d", b.cores, filesEach),
		command: []string{"/bin/sh", "-c", fmt.Sprintf(
			`find "$1" -name '*.gz' -print0 | xargs -0 -P %d -n %d gzip -dc > /dev/null`, b.cores, filesEach), "sh", folder},
	}
}
