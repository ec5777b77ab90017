// Package hunt asks a lake of any size what a detection, or a person's own SQL,
// finds in it, with an engine that the lake's owner has: DuckDB, Trino, Athena.
//
// In the stream the engine keeps the views that detections read, and memory
// holds what is older. A hunt has neither. Build therefore writes one statement
// that carries its views with it: a with-clause computes from the two raw
// tables of the lake, uses and control, those views of docs/views.md that are
// read, as of the end of the hunted time; what memory feeds in the stream is
// computed from all events before it. The statement keeps to the SQL that the
// three engines share, so that its text is the same on all of them but for the
// name of the schema.
//
//	subject := hunt.Of(detection)
//	statement, err := hunt.Build(subject, hunt.Options{Since: since, Until: until, Settings: s, Schema: hunt.Schema("lake")})
//
// This package knows no engine. Packages duckdb, trino and athena below it run
// statements.
package hunt

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
)

// How far before the hunted time a detection sees events one by one. A row
// whose window touches the hunted time is only right when all events of that
// window are there, and those of a window that overlaps it: the longest overlap
// is that of days which begin every 12 hours. It is what the stream keeps.
const (
	controlLookBack = 36 * time.Hour
	usesLookBack    = time.Hour
	// hoursKept and daysKept are how far back use_hours and key_use_days go.
	hoursKept = 35 * 24 * time.Hour
	daysKept  = 95 * 24 * time.Hour
)

// Options say what to hunt through. All but LearnUntil and Params must be set.
type Options struct {
	// Since and Until bound the hunted time: Since <= t < Until.
	Since, Until time.Time
	Settings     *analyzer.Settings
	// Params replace the subject's own and those of the settings, by name.
	Params map[string]any
	// LearnUntil ends the learning of baseline detections; zero lets each learn
	// for its own number of days from the first event of the lake.
	LearnUntil time.Time
	// Schema is where the tables uses and control are, as SQL: see Schema.
	Schema string
}

// Schema quotes the parts of a schema's name, as catalog and schema.
func Schema(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ".")
}

// Statement is one portable select.
type Statement struct {
	SQL string
	// Reads are the days that it reads of each table.
	Reads map[analyzer.Table]Days
	// Others tells that a person's own statement also reads tables that it names
	// with their schema; Reads knows nothing of these.
	Others bool
}

// Days is a span of whole days (UTC), both inclusive. A zero From has no
// beginning.
type Days struct{ From, To time.Time }

// Build writes the statement that finds what the subject finds. The rows of a
// detection are those whose window touches the hunted time, by window_start.
func Build(s Subject, o Options) (Statement, error) {
	if !o.Since.Before(o.Until) {
		return Statement{}, fmt.Errorf("hunt from %s until %s: the end must be after the beginning", o.Since.Format(time.RFC3339), o.Until.Format(time.RFC3339))
	}
	if o.Settings == nil || o.Schema == "" {
		return Statement{}, errors.New("hunt: settings and schema must be given")
	}
	question, err := s.render(o)
	if err != nil {
		return Statement{}, err
	}
	b := newBuilder(s, o)
	var own []string
	if s.Own {
		own = tablesMade(question)
	}
	if err := b.need(question, own...); err != nil {
		return Statement{}, fmt.Errorf("hunt %s: %w", s.ID, err)
	}
	if s.Own {
		question, err = b.splice(question)
		if err != nil {
			return Statement{}, fmt.Errorf("%s: %w", s.ID, err)
		}
		_, others := tablesRead(s.SQL)
		return Statement{SQL: question, Reads: b.reads, Others: others}, nil
	}
	touches := "window_start >= " + timestamp(o.Since)
	if s.Window > 0 {
		touches = "window_start > " + timestamp(o.Since.Add(-s.Window))
	}
	question = fmt.Sprintf("select *\nfrom (\n%s\n) hunted\nwhere %s\n  and window_start < %s\norder by window_start",
		question, touches, timestamp(o.Until))
	return Statement{SQL: b.prologue() + question, Reads: b.reads}, nil
}

// render puts values in the place of parameters. What the stream knows of the
// whole history is asked of the lake, by the statement itself.
func (s Subject) render(o Options) (string, error) {
	learnUntil := fmt.Sprintf("(select oldest + interval '%d' day from clock)", s.LearnDays)
	if !o.LearnUntil.IsZero() {
		learnUntil = timestamp(o.LearnUntil)
	}
	known := map[string]string{
		"now":           "(select newest from clock)",
		"history_start": "(select oldest from clock)",
		"learn_until":   learnUntil,
	}
	if s.Own {
		known["since"], known["until"] = timestamp(o.Since), timestamp(o.Until)
	}
	d := s.Detection
	d.SQL = replaceParameters(d.SQL, known)
	params := map[string]any{"has_org": len(o.Settings.Organisation) > 0}
	if s.Own {
		// A person's own statement declares its parameters by giving them.
		d.Params = map[string]any{}
		for name, value := range o.Params {
			if !usesParameter(d.SQL, name) {
				return "", fmt.Errorf("%s has no parameter :%s", s.ID, name)
			}
			d.Params[name] = value
		}
	} else {
		maps.Copy(params, o.Settings.Detections[s.ID].Params)
		maps.Copy(params, o.Params)
	}
	return catalog.Render(d, params)
}

func timestamp(t time.Time) string {
	return "timestamp '" + t.UTC().Format("2006-01-02 15:04:05.000") + "'"
}

func date(t time.Time) string { return "date '" + t.UTC().Format(time.DateOnly) + "'" }
