// Package catalog reads the detections: files of SQL with a front matter in
// YAML, one detection each.
//
// A file starts with a comment that says what the detection is, and goes on
// with one SELECT over the documented views:
//
//	/* ---
//	id: KMS-D02
//	title: Key disabled
//	severity: medium
//	…
//	--- */
//	select … from control_events …
//
// Load accepts all files or none. It checks everything that can be checked
// without a database, among it that each detection has at least one case that
// it must match and one that it must leave alone, and reports every problem
// with file and line in one go. Render turns a detection and its parameters
// into the statement to run; values become literals of their type, so no text
// from settings or logs can become SQL.
package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
)

// Root is the folder, from the root of the repository, that the detections
// live under. It starts the Path of each.
const Root = "queries"

// Options changes what Load checks.
type Options struct {
	// Cases is the folder of cases: FAMILY/NAME/match_*.yaml and
	// quiet_*.yaml for queries/FAMILY/NAME.sql. A detection without both does
	// not load. Nil leaves the check out, for tests of single files.
	Cases fs.FS
	// Memory names the events that memory reads although no detection may.
	Memory []analyzer.EventName
}

// Catalog is a valid set of detections.
type Catalog struct {
	detections []analyzer.Detection // by id
	memory     []analyzer.EventName
}

// Problem is one thing that is wrong with the catalogue.
type Problem struct {
	Path string // queries/destruction/key_disabled.sql
	Line int    // from 1; 0 when it is about the whole file
	Text string
}

// String returns "path:line: text".
func (p Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text)
}

// Problems is everything that is wrong with the catalogue, by file and line.
// Load returns it as its error.
type Problems []Problem

// Error returns one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads every FAMILY/NAME.sql below queries. The error is of type
// Problems when files could be read but are not valid; then no catalogue is
// returned.
func Load(queries fs.FS, opts Options) (*Catalog, error) {
	names, err := fs.Glob(queries, "*/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list detections: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("no detections found: expected files like destruction/key_disabled.sql")
	}

	c := &Catalog{memory: slices.Clone(opts.Memory)}
	var problems Problems
	firstWithID := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(queries, name)
		if err != nil {
			return nil, fmt.Errorf("read detection: %w", err)
		}
		f := parse(path.Join(Root, name), string(text))
		f.validate()
		if opts.Cases != nil {
			f.requireCases(opts.Cases)
		}
		if id := f.detection.ID; id != "" {
			if first, taken := firstWithID[id]; taken {
				f.problem("id", "id %s is already used by %s", id, first)
			} else {
				firstWithID[id] = f.path
			}
		}
		problems = append(problems, f.problems...)
		c.detections = append(c.detections, *f.detection)
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int {
			if a.Path != b.Path {
				return strings.Compare(a.Path, b.Path)
			}
			return a.Line - b.Line
		})
		return nil, problems
	}
	slices.SortFunc(c.detections, func(a, b analyzer.Detection) int { return strings.Compare(a.ID, b.ID) })
	return c, nil
}

// Detections returns all detections by id. The slice is the caller's; the lists
// in it are shared and must not be changed.
func (c *Catalog) Detections() []analyzer.Detection { return slices.Clone(c.detections) }

// ByID returns the detection with this id.
func (c *Catalog) ByID(id string) (analyzer.Detection, bool) {
	for _, d := range c.detections {
		if d.ID == id {
			return d, true
		}
	}
	return analyzer.Detection{}, false
}

// Events returns what must be kept of the logs: every event that a detection
// or memory reads, once, sorted by source and name. A source's "*" stands
// alone, for it contains the rest.
func (c *Catalog) Events() []analyzer.EventName {
	all := slices.Clone(c.memory)
	for _, d := range c.detections {
		all = append(all, d.Events...)
	}
	whole := map[string]bool{}
	for _, e := range all {
		if e.Name == "*" {
			whole[e.Source] = true
		}
	}
	all = slices.DeleteFunc(all, func(e analyzer.EventName) bool { return whole[e.Source] && e.Name != "*" })
	slices.SortFunc(all, func(a, b analyzer.EventName) int {
		if a.Source != b.Source {
			return strings.Compare(a.Source, b.Source)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Compact(all)
}

// requireCases reports a missing match or quiet case.
func (f *file) requireCases(cases fs.FS) {
	family, name := path.Split(strings.TrimSuffix(strings.TrimPrefix(f.path, Root+"/"), ".sql"))
	folder := path.Join(family, name)
	for _, kind := range []string{"match", "quiet"} {
		found := false
		for _, ext := range []string{"yaml", "json"} {
			names, err := fs.Glob(cases, path.Join(folder, kind+"_*."+ext))
			found = found || (err == nil && len(names) > 0)
		}
		if !found {
			f.problem("", "no %s case: write fixtures/%s/%s_….yaml (every detection needs a case that matches and one that stays quiet)", kind, folder, kind)
		}
	}
}
