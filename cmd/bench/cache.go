package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cached returns the folder that make fills, made anew when the arguments or
// the sources that decide its content have changed. A folder that is half made
// has another name, so that stopping at any time is safe.
func (b *bench) cached(name string, arguments []string, sources []string, make func(folder string) error) (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, arguments)
	for _, s := range sources {
		if err := hashSources(h, filepath.Join(b.root, s)); err != nil {
			return "", fmt.Errorf("tell which code makes %s: %w", name, err)
		}
	}
	folder := filepath.Join(b.cache, name+"-"+hex.EncodeToString(h.Sum(nil)[:6]))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	old, err := filepath.Glob(filepath.Join(b.cache, name+"-*"))
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	if i := slices.IndexFunc(old, func(s string) bool { return !strings.HasSuffix(s, ".new") }); b.stale && i >= 0 {
		b.say("  %s is of other code, as -stale allows\n", name)
		return old[i], nil
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", fmt.Errorf("make room for %s: %w", name, err)
		}
	}
	start := time.Now()
	b.say("  making %s, kept in .cache/bench …", name)
	if err := os.MkdirAll(folder+".new", 0o750); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if err := make(folder + ".new"); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	b.say(" %.0f s\n", time.Since(start).Seconds())
	if err := os.Rename(folder+".new", folder); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	return folder, nil
}

// hashSources adds the code under a path: not its tests.
func hashSources(h io.Writer, path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") {
			return err
		}
		if ext := filepath.Ext(p); ext != ".go" && ext != ".sql" {
			return nil
		}
		text, err := os.ReadFile(p) //nolint:gosec // a source of this repository
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%s %d\n%s", d.Name(), len(text), text)
		return err
	})
}

// What decides the content of logs, of lakes, and of what an analysis leaves.
var (
	logSources  = []string{"analyzer/simulate"}
	lakeSources = append([]string{
		"analyzer/event.go", "analyzer/trail", "analyzer/normalise", "analyzer/policy", "analyzer/lake", "analyzer/intake",
	}, logSources...)
	memorySources = append([]string{"analyzer", "queries"}, logSources...)
)

// logs describes simulated logs.
type logs struct {
	Folder    string  `json:"folder"`
	Files     int64   `json:"files"`
	Records   int64   `json:"records"`
	KMS       int64   `json:"kms_records"`
	RawBytes  int64   `json:"raw_bytes"`
	GzipBytes int64   `json:"gzip_bytes"`
	Seconds   float64 `json:"seconds"`
}

// recordBytes is the size of a record, inflated.
func (l logs) recordBytes() float64 { return float64(l.RawBytes) / float64(l.Records) }

func (l logs) compression() float64 { return float64(l.RawBytes) / float64(l.GzipBytes) }

// simulated makes logs with `keytrail simulate traffic`.
func (b *bench) simulated(ctx context.Context, name string, arguments ...string) (logs, error) {
	var l logs
	folder, err := b.cached(name, arguments, logSources, func(folder string) error {
		return b.simulate(ctx, folder, &l, arguments...)
	})
	if err != nil {
		return l, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "totals.json"))
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return l, fmt.Errorf("read what the logs hold: %w", err)
	}
	l.Folder = filepath.Join(folder, "logs")
	return l, nil
}

func (b *bench) simulate(ctx context.Context, folder string, l *logs, arguments ...string) error {
	arguments = append([]string{"simulate", "traffic", "--format", "json", "--out", filepath.Join(folder, "logs")}, arguments...)
	out, err := b.output(ctx, b.keytrail, arguments...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, l); err != nil {
		return fmt.Errorf("read what was made: %w", err)
	}
	l.Folder = filepath.Join(folder, "logs")
	if err := os.WriteFile(filepath.Join(folder, "totals.json"), out, 0o600); err != nil {
		return fmt.Errorf("keep what was made: %w", err)
	}
	return nil
}

// output runs a command that is not measured.
func (b *bench) output(ctx context.Context, name string, arguments ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, arguments...) //nolint:gosec // the commands are ours
	cmd.Dir = b.cache
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), arguments[0], err, exit.Stderr)
	}
	return out, err //nolint:wrapcheck // says the name already
}

// summary is the last line that keytrail prints for programs.
type summary struct {
	Records struct {
		Read, Kept, Duplicate, Rejected int64
	} `json:"records"`
	Findings map[string]int64 `json:"findings"`
}

func summaryOf(stdout []byte) (s summary, err error) {
	lines := strings.Split(strings.TrimSpace(string(stdout)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		return s, fmt.Errorf("read the summary: %w", err)
	}
	return s, nil
}

// reads checks that a run has read so many records and rejected none.
func reads(records int64) func([]byte) error {
	return func(stdout []byte) error {
		s, err := summaryOf(stdout)
		if err != nil {
			return err
		}
		if s.Records.Read != records || s.Records.Rejected != 0 {
			return fmt.Errorf("it read %d records and rejected %d of %d", s.Records.Read, s.Records.Rejected, records)
		}
		return nil
	}
}

// keeps checks that a run has analysed so many events.
func keeps(events int64) func([]byte) error {
	return func(stdout []byte) error {
		s, err := summaryOf(stdout)
		if err != nil {
			return err
		}
		if s.Records.Kept != events {
			return fmt.Errorf("it kept %d events of %d; %d repeated", s.Records.Kept, events, s.Records.Duplicate)
		}
		return nil
	}
}

// copyLake makes a lake that can be analysed without changing the first: its
// events never change and are linked, the rest is copied.
func copyLake(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("remove the last copy of a lake: %w", err)
	}
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(dest, 0o750)
		case strings.HasPrefix(rel, "uses") || strings.HasPrefix(rel, "control"):
			return os.Link(p, dest) //nolint:gosec // our own cache: nobody else writes there
		default:
			return copyFile(p, dest)
		}
	})
	if err != nil {
		return fmt.Errorf("copy the lake: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, in.Close(), out.Close())
}

// lakeSize counts the Parquet files under a lake.
func lakeSize(lake string) (bytes int64, objects int, err error) {
	for _, table := range []string{"uses", "control"} {
		err := filepath.WalkDir(filepath.Join(lake, table), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			bytes += info.Size()
			objects++
			return nil
		})
		if err != nil {
			return 0, 0, fmt.Errorf("measure the lake: %w", err)
		}
	}
	return bytes, objects, nil
}
