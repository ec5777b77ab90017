package report

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Explanation is how a finding came about.
type Explanation struct {
	Finding   analyzer.Finding
	Detection analyzer.Detection
	SQL       string         // with the parameters filled in
	Params    map[string]any // by name
	Events    []map[string]any
}

// Text writes the explanation for people: the finding, the events that it
// names, and the SQL that found it.
func (x *Explanation) Text(w io.Writer, l Layout) error {
	p := &page{Layout: l}
	f := &x.Finding
	p.title(&AlertView{Alert: analyzer.Alert{Severity: f.Severity, Detection: f.Detection, Title: f.Title}})
	p.field("Finding", f.ID)
	status := string(f.Status)
	if f.Suppression != "" {
		status += " by " + f.Suppression
	}
	p.field("Status", status)
	for _, name := range slices.Sorted(maps.Keys(f.Entity)) {
		p.field("Entity", name+": "+f.Entity[name])
	}
	p.field("Principal", f.Principal)
	p.field("Key", f.Key)
	p.field("Account", strings.TrimSuffix(f.Account+", "+f.Region, ", "))
	p.field("Window", f.WindowStart.UTC().Format(time.RFC3339)+" to "+f.WindowEnd.UTC().Format(time.RFC3339))
	p.field("Seen", f.FirstTime.UTC().Format(time.RFC3339)+" to "+f.LastTime.UTC().Format(time.RFC3339))
	p.field("Count", count(f.Count, "event", "events"))
	p.evidence(f.Evidence)

	for i, ev := range x.Events {
		p.line("")
		p.line(p.paint(bold, "Event "+number(int64(i+1))))
		for _, column := range slices.Sorted(maps.Keys(ev)) {
			p.field("", column+": "+evidenceValue(ev[column]))
		}
	}
	p.line("")
	p.line(p.paint(bold, "Parameters"))
	for _, name := range slices.Sorted(maps.Keys(x.Params)) {
		p.field("", name+": "+evidenceValue(x.Params[name]))
	}
	p.line("")
	p.line(p.paint(bold, "SQL") + " " + Clean(x.Detection.Path))
	for line := range strings.SplitSeq(strings.Trim(x.SQL, "\n"), "\n") {
		p.line("  " + Clean(strings.ReplaceAll(strings.TrimRight(line, " \t\r"), "\t", "    ")))
	}
	return p.writeTo(w)
}
