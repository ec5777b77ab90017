package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// listedEvents is how many events of a detection the table names.
const listedEvents = 3

// DetectionTable lists detections for people, in the order given.
func DetectionTable(w io.Writer, l Layout, detections []analyzer.Detection) error {
	p := &page{Layout: l}
	const gap = 2
	idW, eventsW, nameW := len("DETECTION"), 0, 0
	for i := range detections {
		d := &detections[i]
		idW = max(idW, width(cutEnd(Clean(d.ID), longestID)))
		eventsW = max(eventsW, width(eventNames(d.Events)))
		for _, name := range strings.Fields(eventNames(d.Events)) {
			nameW = max(nameW, width(name))
		}
	}
	class := "CLASS"
	if p.width() < 100 {
		class = "C"
	}
	const severityW, statusW, narrowTitle = len("severity"), len("active"), 18
	classW := len(class)
	rest := p.width() - idW - severityW - classW - statusW - 5*gap
	eventsW = min(eventsW, max(nameW, rest*2/5), rest-narrowTitle)
	titleW := rest - eventsW

	space := strings.Repeat(" ", gap)
	p.line(p.paint(dim, pad("DETECTION", idW)+space+pad("SEVERITY", severityW)+space+class+space+
		pad("STATUS", statusW)+space+pad("TITLE", titleW)+space+cutEnd("EVENTS", eventsW)))
	for i := range detections {
		d := &detections[i]
		titles, events := wrap(Clean(d.Title), titleW), wrap(eventNames(d.Events), max(eventsW, 1))
		for n := range max(len(titles), len(events), 1) {
			left := strings.Repeat(" ", idW+gap+severityW+gap+classW+gap+statusW)
			if n == 0 {
				left = p.paint(bold, pad(cutEnd(Clean(d.ID), longestID), idW)) + space +
					p.paint(severityStyle(d.Severity), d.Severity.String()) + strings.Repeat(" ", severityW-len(d.Severity.String())) + space +
					pad(string(d.Class), classW) + space + pad(Clean(string(d.Status)), statusW)
			}
			p.line(left + space + pad(nth(titles, n), titleW) + space + nth(events, n))
		}
	}
	return p.writeTo(w)
}

// eventNames lists events; a source stands before the first of its own, and KMS
// alone is not said. Long lists end in how many more there are.
func eventNames(events []analyzer.EventName) string {
	const kms = "kms.amazonaws.com"
	source := kms
	names := make([]string, 0, len(events))
	for _, e := range events {
		name := e.Name
		if e.Source != source {
			source = e.Source
			name = strings.TrimSuffix(source, ".amazonaws.com") + ": " + name
		}
		names = append(names, Clean(name))
	}
	if more := len(names) - listedEvents; more > 1 {
		return strings.Join(names[:listedEvents], ", ") + " and " + number(int64(more)) + " more"
	}
	return strings.Join(names, ", ")
}

func nth(lines []string, n int) string {
	if n < len(lines) {
		return lines[n]
	}
	return ""
}

// DetectionDetails writes all that one detection says about itself, and its
// SQL as it is in its file.
func DetectionDetails(w io.Writer, l Layout, d *analyzer.Detection) error {
	p := &page{Layout: l}
	p.title(&AlertView{Alert: analyzer.Alert{Severity: d.Severity, Detection: d.ID, Title: d.Title}})
	if d.Description != "" {
		p.paragraph(d.Description, 2, plain)
		p.line("")
	}
	p.field("Status", string(d.Status))
	p.field("Family", d.Family+", class "+string(d.Class)+classMeaning(d.Class))
	p.field("Mitre", strings.Join(d.Mitre, ", "))
	p.field("Events", joinEvents(d.Events))
	p.field("Entity", strings.Join(d.Entity, ", "))
	p.field("Window", windowMeaning(d.Window))
	if d.LearnDays > 0 {
		p.field("Learns", count(int64(d.LearnDays), "day", "days")+" before it speaks")
	}
	for i, name := range slices.Sorted(maps.Keys(d.Params)) {
		label := "Params"
		if i > 0 {
			label = ""
		}
		p.field(label, name+": "+evidenceValue(d.Params[name]))
	}
	p.field("Suppress", strings.Join(d.Suppress, ", "))
	if e := d.EvidenceEvents; e != nil {
		p.field("Evidence", fmt.Sprintf("events of table %s with the same %s", e.Table, strings.Join(e.On, ", ")))
	}
	p.field("File", d.Path)
	p.section("Says", d.Summary)
	p.section("At risk", d.AtRisk)
	p.section("False positives", d.FalsePositives)
	p.section("Runbook", d.Runbook)
	if strings.TrimSpace(d.Undo) != "" {
		p.line("")
		p.line(p.paint(bold, "Undo"))
		for one := range strings.SplitSeq(strings.TrimSpace(d.Undo), "\n") {
			for _, line := range wrapCommand(Clean(strings.TrimSpace(one)), p.width()-2) {
				p.place(line, 2, green)
			}
		}
	}
	if len(d.References) > 0 {
		p.section("References", strings.Join(d.References, "\n"))
	}
	p.line("")
	p.line(p.paint(bold, "SQL"))
	for line := range strings.SplitSeq(strings.Trim(d.SQL, "\n"), "\n") {
		// Not wrapped: SQL is copied, and its indents and line comments matter.
		p.line("  " + Clean(strings.ReplaceAll(strings.TrimRight(line, " \t\r"), "\t", "    ")))
	}
	return p.writeTo(w)
}

// section writes a heading with paragraphs below it.
func (p *page) section(heading, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	p.line("")
	p.line(p.paint(bold, heading))
	p.paragraph(text, 2, plain)
}

func joinEvents(events []analyzer.EventName) string {
	names := make([]string, 0, len(events))
	for _, e := range events {
		names = append(names, e.String())
	}
	return strings.Join(names, ", ")
}

func classMeaning(c analyzer.DetectionClass) string {
	switch c {
	case analyzer.ClassEvent:
		return " (one event)"
	case analyzer.ClassState:
		return " (remembered state)"
	case analyzer.ClassBaseline:
		return " (what is new)"
	case analyzer.ClassVolume:
		return " (how much in a window)"
	case analyzer.ClassSequence:
		return " (a sequence of events)"
	}
	return ""
}

func windowMeaning(d time.Duration) string {
	if d == 0 {
		return "single event"
	}
	return "looks back " + long(d)
}

// DetectionLine is one detection for programs: its front matter.
type DetectionLine struct {
	ID             string              `json:"id"`
	Title          string              `json:"title"`
	Severity       analyzer.Severity   `json:"severity"`
	Status         string              `json:"status"`
	Family         string              `json:"family"`
	Class          string              `json:"class"`
	Mitre          []string            `json:"mitre"`
	Events         []string            `json:"events"`
	Entity         []string            `json:"entity"`
	Window         string              `json:"window"` // "0" or a duration such as "1h0m0s"
	LearnDays      int                 `json:"learn_days"`
	Params         map[string]any      `json:"params"`
	Suppress       []string            `json:"suppress"`
	EvidenceEvents *EvidenceEventsLine `json:"evidence_events,omitempty"`
	Summary        string              `json:"summary"`
	AtRisk         string              `json:"at_risk"`
	Description    string              `json:"description"`
	FalsePositives string              `json:"false_positives"`
	Runbook        string              `json:"runbook"`
	Undo           string              `json:"undo"`
	References     []string            `json:"references"`
	Path           string              `json:"path"`
}

// EvidenceEventsLine tells from which events a roll-up's finding was counted.
type EvidenceEventsLine struct {
	Table analyzer.Table `json:"table"`
	On    []string       `json:"on"`
	Names []string       `json:"names"`
}

// NewDetectionLine gives a detection the shape that programs read. Lists and
// maps are empty, never null.
func NewDetectionLine(d *analyzer.Detection) DetectionLine {
	line := DetectionLine{
		ID: d.ID, Title: d.Title, Severity: d.Severity, Status: string(d.Status), Family: d.Family, Class: string(d.Class),
		Mitre: listOf(d.Mitre), Events: make([]string, 0, len(d.Events)), Entity: listOf(d.Entity), Window: "0",
		LearnDays: d.LearnDays, Params: d.Params, Suppress: listOf(d.Suppress), Summary: d.Summary, AtRisk: d.AtRisk,
		Description: d.Description, FalsePositives: d.FalsePositives, Runbook: d.Runbook, Undo: d.Undo,
		References: listOf(d.References), Path: d.Path,
	}
	for _, e := range d.Events {
		line.Events = append(line.Events, e.String())
	}
	if d.Window != 0 {
		line.Window = d.Window.String()
	}
	if line.Params == nil {
		line.Params = map[string]any{}
	}
	if e := d.EvidenceEvents; e != nil {
		line.EvidenceEvents = &EvidenceEventsLine{Table: e.Table, On: listOf(e.On), Names: listOf(e.Names)}
	}
	return line
}

func listOf(s []string) []string { return append([]string{}, s...) }
