package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// result is what one figure gave.
type result struct {
	Figure int
	Title  string
	Rows   []row
	Times  []times
	Notes  []string
	Facts  facts // of the run that measured it
}

// row is one line of the table.
type row struct {
	What     string
	Measured float64
	Unit     string
	Needed   bound // by this stage of the project
	Design   bound // by its design
}

// bound is what a number should keep to.
type bound struct {
	Kind  string // "≥", "≤" or "<"
	Value float64
}

func atLeast(v float64) bound { return bound{"≥", v} }
func atMost(v float64) bound  { return bound{"≤", v} }
func below(v float64) bound   { return bound{"<", v} }

func (b bound) String() string { return fmt.Sprintf("%s %g", b.Kind, b.Value) }

func (b bound) met(v float64) bool {
	switch b.Kind {
	case "≥":
		return v >= b.Value
	case "≤":
		return v <= b.Value
	default:
		return v < b.Value
	}
}

func (r *result) row(what string, measured float64, unit string, needed, design bound) {
	r.Rows = append(r.Rows, row{what, measured, unit, needed, design})
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// print writes the result for the terminal.
func (r *result) print(w io.Writer) {
	for _, row := range r.Rows {
		_, _ = fmt.Fprintf(w, "  %-48s %9s  %s\n", row.What, row.measured(), row.verdict())
	}
	for _, t := range r.Times {
		_, _ = fmt.Fprintf(w, "  %-36s %7.3f s, CPU %7.3f s, %5.0f MiB\n", t.Name, median(t.Wall), median(t.CPU), float64(t.Peak)/(1<<20))
	}
	for _, n := range r.Notes {
		_, _ = fmt.Fprintln(w, wrap("  "+n, 80, "  "))
	}
}

func (r row) measured() string {
	digits := 2
	if r.Measured >= 10 {
		digits = 1
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", digits, r.Measured, r.Unit))
}

func (r row) verdict() string {
	switch {
	case !r.Needed.met(r.Measured):
		return "not yet"
	case !r.Design.met(r.Measured):
		return "enough"
	default:
		return "met"
	}
}

// page is docs/bench.md: no line of prose longer than 80 columns.
func page(now facts, results map[int]result) string {
	var s strings.Builder
	s.WriteString("# Measured\n\n")
	s.WriteString(introduction + "\n")
	s.WriteString(now.text())
	s.WriteString("\n| figure | measured | needed now | design |\n|---|---:|---:|---:|\n")
	numbers := slices.Sorted(maps.Keys(results))
	earlier := false
	for _, n := range numbers {
		for _, row := range results[n].Rows {
			mark := ""
			if results[n].Facts != now {
				mark, earlier = " \\*", true
			}
			fmt.Fprintf(&s, "| %d. %s%s | %s | %s | %s |\n", n, row.What, mark, row.measured(), row.Needed, row.Design)
		}
	}
	if earlier {
		s.WriteString("\n\\* from an earlier run, of another version or on another machine\n")
	}
	for _, n := range numbers {
		r := results[n]
		fmt.Fprintf(&s, "\n## %d. %s\n\n", n, r.Title)
		if len(r.Times) > 0 {
			s.WriteString("| | wall, s | CPU, s | peak, MiB | runs |\n|---|---:|---:|---:|---:|\n")
		}
		for _, t := range r.Times {
			fmt.Fprintf(&s, "| %s | %.3f | %.3f | %.0f | %d |\n", t.Name, median(t.Wall), median(t.CPU), float64(t.Peak)/(1<<20), len(t.Wall))
		}
		if len(r.Times) > 0 && len(r.Notes) > 0 {
			s.WriteString("\n")
		}
		for _, note := range r.Notes {
			s.WriteString(wrap("- "+note, 80, "  ") + "\n")
		}
	}
	return strings.TrimRight(s.String(), "\n") + "\n"
}

const introduction = "`make bench` writes this page. Each figure runs in turn with its reference on the\n" +
	"same machine, A B A B …, after a warm-up; a ratio is the median over the rounds,\n" +
	"a time the median of the runs. Logs are made by `keytrail simulate traffic`.\n" +
	"Every run is a whole process, and one that loses a record fails.\n"

// facts are what a reader needs to compare with another machine.
type facts struct {
	Cores   int
	CPU     string
	OS      string
	Go      string
	DuckDB  string
	Gzip    string
	Version string // of keytrail
}

func (f facts) text() string {
	return wrap(fmt.Sprintf("Measured with %d cores (%s) on %s: %s, built with %s, DuckDB %s, %s.",
		f.Cores, f.CPU, f.OS, f.Version, f.Go, f.DuckDB, f.Gzip), 80, "") + "\n"
}

func (b *bench) machine(ctx context.Context) (facts, error) {
	f := facts{Cores: b.cores, CPU: processor(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	for _, q := range []struct {
		into    *string
		command []string
	}{
		{&f.DuckDB, []string{b.self, "scan"}},
		{&f.Gzip, []string{"gzip", "--version"}},
		{&f.Version, []string{b.keytrail, "--version"}},
	} {
		out, err := b.output(ctx, q.command[0], q.command[1:]...)
		if err != nil {
			return f, err
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		*q.into = first
	}
	return f, nil
}

// processor is the model that Linux names.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "model unknown"
	}
	defer f.Close() //nolint:errcheck // only read
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "model unknown"
}

// load reads the last result of each figure.
func (b *bench) load() (map[int]result, error) {
	results := map[int]result{}
	text, err := os.ReadFile(filepath.Join(b.cache, "results.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return results, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &results)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last results: %w; remove .cache/bench/results.json", err)
	}
	return results, nil
}

func (b *bench) save(results map[int]result) error {
	text, err := json.MarshalIndent(results, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(b.cache, "results.json"), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	return nil
}

// wrap breaks a text at spaces; further lines begin with indent.
func wrap(text string, width int, indent string) string {
	var lines []string
	line := ""
	lead := text[:len(text)-len(strings.TrimLeft(text, " "))]
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = lead + word
		case len([]rune(line))+1+len([]rune(word)) > width:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return strings.Join(append(lines, line), "\n")
}
