package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/keytrail/keytrail/internal/localstack"
	"github.com/keytrail/keytrail/internal/localstack/runtimeapi"
)

// logFileMB is the size of a log file, compressed: far more than CloudTrail
// writes into one.
const logFileMB = 5

// invocations measures the programs that are deployed, each on one core, as
// Lambda's Runtime API sees them: the first invocation of a process, and those
// that follow.
func invocations(ctx context.Context, b *bench) (r result, err error) {
	// About 140 bytes a record.
	l, err := b.simulated(ctx, "log-file", "--files", "1", "--file-records", "1000000",
		"--records", strconv.FormatInt(b.sized(logFileMB<<20/140), 10), "--kms-share", "0.05")
	if err != nil {
		return r, err
	}
	file, err := onlyFile(l.Folder)
	if err != nil {
		return r, err
	}
	reports := make(chan runtimeapi.Report, 1000)
	// The first start of a program reads it from disk, which says nothing of it.
	for _, function := range []string{localstack.Ingest, localstack.Analyze} {
		if _, err := os.ReadFile(filepath.Join(b.root, ".cache", "functions", function, "bootstrap")); err != nil {
			return r, fmt.Errorf("read a function, which make functions builds: %w", err)
		}
	}
	s, err := localstack.Start(ctx, localstack.Options{Root: b.root, Cores: 1, Report: func(r runtimeapi.Report) { reports <- r }})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	of := func(function string) (runtimeapi.Report, error) {
		for {
			select {
			case got := <-reports:
				if got.Function != localstack.Name+"-"+function {
					continue
				}
				if got.Failed != nil {
					return got, fmt.Errorf("%s failed: %s", function, got.Failed.Message)
				}
				return got, nil
			case <-ctx.Done():
				return runtimeapi.Report{}, ctx.Err()
			}
		}
	}
	var ingest, analyze calls
	// The bucket's test of its notification is the first message.
	got, err := of(localstack.Ingest)
	if err != nil {
		return r, err
	}
	ingest.add(got)
	for n := range b.rounds(5) {
		if err := s.PutLog(ctx, path.Join("AWSLogs", strconv.Itoa(n), "log.json.gz"), file); err != nil {
			return r, err
		}
		got, err := of(localstack.Ingest)
		if err != nil {
			return r, err
		}
		ingest.add(got)
		if _, err := s.Tick(ctx); err != nil {
			return r, err
		}
		if got, err = of(localstack.Analyze); err != nil {
			return r, err
		}
		analyze.add(got)
		b.say("-")
	}
	b.say("\n")
	r.row(fmt.Sprintf("ingest of a log file of %.1f MB, one core, s", float64(len(file))/(1<<20)), ingest.warm(), "s", atMost(1), atMost(1))
	r.row("ingest, start of the process, s", ingest.start.Seconds(), "s", atMost(1), atMost(1))
	r.row("analyze, start of the process, s", analyze.start.Seconds(), "s", atMost(0.3), atMost(0.3))
	r.note("%d records, %d MB inflated, %.1f : 1; S3 is an emulator on the same machine, and the programs are in its file cache", l.Records, l.RawBytes/1e6, l.compression())
	r.note("ingest took %d MiB at most; a tick of analyze over such a file %.2f s the first time, %.2f s then, %d MiB",
		ingest.peak>>20, analyze.first.Seconds(), analyze.warm(), analyze.peak>>20)
	return r, nil
}

// calls are the invocations of a function.
type calls struct {
	start, first time.Duration
	later        []float64 // seconds
	peak         int64     // bytes
}

func (c *calls) add(r runtimeapi.Report) {
	c.peak = max(c.peak, r.MaxRSS)
	switch {
	case r.Cold && c.start == 0:
		c.start, c.first = r.Init, r.Duration
	case !r.Cold:
		c.later = append(c.later, r.Duration.Seconds())
	}
}

func (c *calls) warm() float64 {
	if len(c.later) == 0 {
		return c.first.Seconds()
	}
	return median(c.later)
}

// onlyFile reads the file that a folder has.
func onlyFile(folder string) (text []byte, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if text != nil {
			return fmt.Errorf("%s has more than one file", folder)
		}
		text, err = os.ReadFile(path) //nolint:gosec // a log that was made here
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return text, nil
}
