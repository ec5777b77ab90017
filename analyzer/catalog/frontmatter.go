package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/keytrail/keytrail/analyzer"
)

const (
	opening = "/* ---"
	closing = "--- */"
)

// frontMatter is the header of a file as written. Each field has its own type
// check, so that one wrong value does not hide the next.
type frontMatter struct {
	ID             string
	Title          string
	Severity       string
	Status         string
	Family         string
	Class          string
	Mitre          []string
	Events         []string
	Entity         []string
	Window         string
	LearnDays      int
	Params         map[string]any
	Suppress       []string
	EvidenceEvents evidenceEvents
	Summary        string
	AtRisk         string
	Undo           string
	Description    string
	FalsePositives string
	Runbook        string
	References     []string
}

type evidenceEvents struct {
	Table string   `yaml:"table"`
	On    []string `yaml:"on"`
	Names []string `yaml:"names"`
}

// file is one detection while it is read.
type file struct {
	path      string
	detection *analyzer.Detection
	front     frontMatter
	sql       []token
	lines     map[string]int // of each key of the header; params as "params.name"
	problems  Problems
}

// problem notes what is wrong with the value of key; "" is the whole file.
func (f *file) problem(key, format string, args ...any) {
	f.problemAt(f.lines[key], format, args...)
}

func (f *file) problemAt(line int, format string, args ...any) {
	f.problems = append(f.problems, Problem{Path: f.path, Line: line, Text: fmt.Sprintf(format, args...)})
}

// parse splits the text and reads the header. The result always has a
// detection; what is wrong with it is in problems.
func parse(path, text string) *file {
	f := &file{path: path, detection: &analyzer.Detection{Path: path}, lines: map[string]int{}}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.HasPrefix(text, opening+"\n") {
		f.problemAt(1, "the first line must be %q, the start of the front matter", opening)
		return f
	}
	header, sql, found := strings.Cut(text, "\n"+closing)
	if !found {
		f.problemAt(1, "the front matter does not end: a line %q is missing", closing)
		return f
	}
	// The opening line is replaced by an empty one: lines of the YAML are then
	// lines of the file.
	f.readHeader(strings.TrimPrefix(header, opening))
	f.readSQL(sql, 2+strings.Count(header, "\n"))
	f.detection.SQL = strings.TrimSpace(sql)
	return f
}

func (f *file) readHeader(text string) {
	tree, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		f.yamlProblem(0, err)
		return
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		f.problemAt(1, "the front matter must be one YAML mapping")
		return
	}
	pairs := pairsOf(tree.Docs[0].Body)
	if pairs == nil {
		f.problemAt(1, "the front matter must be one YAML mapping")
		return
	}

	targets := f.front.targets()
	for _, pair := range pairs {
		key := pair.Key.GetToken()
		name, line := key.Value, key.Position.Line
		target, known := targets[name]
		switch {
		case !known:
			f.problemAt(line, "unknown key %q; known are %s", name, strings.Join(sortedKeys(targets), ", "))
			continue
		case f.lines[name] != 0:
			f.problemAt(line, "key %q is written twice, first in line %d", name, f.lines[name])
			continue
		}
		f.lines[name] = line
		if err := yaml.NodeToValue(pair.Value, target, yaml.Strict()); err != nil {
			f.yamlProblem(line, fmt.Errorf("%s: %w", name, err))
		}
		if name == "params" {
			for _, p := range pairsOf(pair.Value) {
				f.lines["params."+p.Key.GetToken().Value] = p.Key.GetToken().Position.Line
			}
		}
	}
}

// pairsOf returns the entries of a mapping; the parser has a node of its own
// for a mapping with one entry.
func pairsOf(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	default:
		return nil
	}
}

// targets maps each key of the header to where its value goes.
func (m *frontMatter) targets() map[string]any {
	return map[string]any{
		"id": &m.ID, "title": &m.Title, "severity": &m.Severity, "status": &m.Status,
		"family": &m.Family, "class": &m.Class, "mitre": &m.Mitre, "events": &m.Events,
		"entity": &m.Entity, "window": &m.Window, "learn_days": &m.LearnDays, "params": &m.Params,
		"suppress": &m.Suppress, "evidence_events": &m.EvidenceEvents, "summary": &m.Summary,
		"at_risk": &m.AtRisk, "undo": &m.Undo, "description": &m.Description,
		"false_positives": &m.FalsePositives, "runbook": &m.Runbook, "references": &m.References,
	}
}

// yamlProblem notes an error of the YAML library with the line it names.
func (f *file) yamlProblem(line int, err error) {
	var located yaml.Error
	if errors.As(err, &located) {
		if t := located.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
		prefix, _, _ := strings.Cut(err.Error(), located.Error())
		f.problemAt(line, "%s%s", prefix, located.GetMessage())
		return
	}
	f.problemAt(line, "%v", err)
}

// typedParam brings a parameter from YAML to the type it keeps: int64,
// float64, string, time.Duration or []string. Text that reads as a duration
// ("10m", "36h") is one.
func typedParam(v any) (any, error) {
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		if v > 1<<62 {
			return nil, errors.New("the number is too large")
		}
		return int64(v), nil
	case float64:
		return v, nil
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d, nil
		}
		return v, nil
	case time.Duration:
		return v, nil
	case []string:
		return v, nil
	case []any:
		list := make([]string, len(v))
		for i, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("item %d of the list is not text; quote it", i+1)
			}
			list[i] = s
		}
		return list, nil
	default:
		return nil, fmt.Errorf("must be a whole number, a number, text, a duration (\"10m\") or a list of text, not %s", describe(v))
	}
}

// describe names a value's type for people who write YAML.
func describe(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "a boolean"
	case int64, int, uint64:
		return "a whole number"
	case float64:
		return "a number"
	case string:
		return "text"
	case time.Duration:
		return "a duration"
	case []string, []any:
		return "a list of text"
	case map[string]any:
		return "a mapping"
	default:
		return fmt.Sprintf("%T", v)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
