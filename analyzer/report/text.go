package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// shownEventIDs is how many event ids stand in the details of an alert.
const shownEventIDs = 3

// ShownRejects is how many rejects the summary names.
const ShownRejects = 10

// longestID is how many cells the id of a detection may take: KMS-D01 and room
// for those that users write.
const longestID = 12

// longestValue is how many cells of one evidence value are shown; error
// messages and policies can be thousands.
const longestValue = 400

// Text writes the run for people: the alerts as a table by severity, the
// details of each, and the summary.
func (r *Run) Text(w io.Writer, l Layout) error {
	p := &page{Layout: l}
	alerts := bySeverity(r.Alerts)
	p.table(alerts)

	var brief []AlertView
	for i := range alerts {
		if detailed(&alerts[i]) {
			p.details(&alerts[i])
		} else {
			brief = append(brief, alerts[i])
		}
	}
	p.brief(brief)
	p.account(r)
	return p.writeTo(w)
}

// SummaryText writes the summary alone, for runs that look for nothing.
func (r *Run) SummaryText(w io.Writer, l Layout) error {
	p := &page{Layout: l}
	p.account(r)
	return p.writeTo(w)
}

// account writes the summary and the notes.
func (p *page) account(r *Run) {
	p.line(p.paint(bold, "Summary"))
	p.summary(&r.Summary)
	for _, note := range r.Notes {
		p.field("Note", note)
	}
}

// Quiet writes one line an alert and nothing else.
func (r *Run) Quiet(w io.Writer, l Layout) error {
	p := &page{Layout: l}
	for _, a := range bySeverity(r.Alerts) {
		what := a.What
		if what == "" {
			what = a.Title
		}
		severity := pad(a.Severity.String(), len("critical"))
		rest := " " + Clean(a.Detection) + " " + a.LastTime.UTC().Format(time.RFC3339) + " " +
			orDash(Clean(a.Account)) + " " + Clean(what)
		if l.Terminal {
			rest = cutEnd(rest, p.width()-width(severity))
		}
		p.line(p.paint(severityStyle(a.Severity), severity) + rest)
	}
	return p.writeTo(w)
}

// bySeverity orders alerts for reading: the worst first, then as they happened.
func bySeverity(alerts []AlertView) []AlertView {
	sorted := slices.Clone(alerts)
	slices.SortStableFunc(sorted, func(a, b AlertView) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity),
			a.FirstTime.Compare(b.FirstTime),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return sorted
}

// detailed tells whether an alert is worth a block of its own. What only goes
// to the digest gets two lines: a folder without history has hundreds of these.
func detailed(a *AlertView) bool {
	return a.Severity >= analyzer.Medium || a.Action == analyzer.ActionPage || a.Action == analyzer.ActionPost
}

// table writes one row an alert, under a heading for each severity.
func (p *page) table(alerts []AlertView) {
	if len(alerts) == 0 {
		p.line(p.paint(green, "No alerts."))
		p.line("")
		return
	}
	stamp := minutes
	switch {
	case p.width() < 60:
		stamp = "15:04"
	case p.width() < 100:
		stamp = "01-02 15:04" // the year is in the details
	}

	const gap = 2
	type row struct{ id, when, title, who, target string }
	head := row{"DETECTION", cutEnd("LAST (UTC)", len(stamp)), "ALERT", "WHO", "TARGET"}
	rows := make([]row, len(alerts))
	idW, whoW, targetW, titleW := width(head.id), width(head.who), width(head.target), width(head.title)
	for i := range alerts {
		a := &alerts[i]
		rows[i] = row{
			id: cutEnd(Clean(a.Detection), longestID), when: a.LastTime.UTC().Format(stamp),
			title: Clean(a.Title), who: Clean(shortARN(a.Principal)), target: Clean(target(a)),
		}
		idW, titleW = max(idW, width(rows[i].id)), max(titleW, width(rows[i].title))
		whoW, targetW = max(whoW, width(rows[i].who)), max(targetW, width(rows[i].target))
	}

	over := func() bool {
		return gap+idW+gap+len(stamp)+gap+titleW+gap+whoW+gap+targetW > p.width()
	}
	// Names give way down to 20 cells, then titles, which wrap, to 24, then
	// names again.
	shrinkNames := func(least int) {
		for over() && max(whoW, targetW) > least {
			if whoW > targetW {
				whoW--
			} else {
				targetW--
			}
		}
	}
	shrinkTitle := func(least int) {
		for over() && titleW > least {
			titleW--
		}
	}
	shrinkNames(20)
	shrinkTitle(24)
	shrinkNames(4)
	shrinkTitle(4)

	write := func(r row, s style) {
		space := strings.Repeat(" ", gap)
		lines := wrap(r.title, titleW)
		if len(lines) == 0 {
			lines = []string{""}
		}
		lines[0] = cutEnd(lines[0], titleW) // a whole word may be too long
		p.line(space + p.paint(s, pad(r.id, idW)) + space + p.paint(s, pad(r.when, len(stamp))) + space +
			p.paint(s, pad(lines[0], titleW)) + space + p.paint(s, pad(cutMiddle(r.who, whoW), whoW)) + space +
			p.paint(s, cutMiddle(r.target, targetW)))
		for _, more := range lines[1:] {
			p.line(strings.Repeat(" ", gap+idW+gap+len(stamp)+gap) + p.paint(s, cutEnd(more, titleW)))
		}
	}

	write(head, dim)
	for i := range rows {
		if i == 0 || alerts[i].Severity != alerts[i-1].Severity {
			n := 1
			for i+n < len(alerts) && alerts[i+n].Severity == alerts[i].Severity {
				n++
			}
			p.line(p.paint(severityStyle(alerts[i].Severity), strings.ToUpper(alerts[i].Severity.String())) + " " + number(int64(n)))
		}
		write(rows[i], plain)
	}
	p.line("")
}

func (p *page) details(a *AlertView) {
	p.title(a)
	p.paragraph(Clean(a.What), 2, plain)
	p.field("Who", a.Who, arnOf(a.Principal))
	p.field("From", a.From)
	p.field("Key", a.KeyAlias, a.Key)
	p.field("Account", accountOf(a))
	p.field("When", span(a.FirstTime, a.LastTime))
	p.field("Count", count(a.Count, "event", "events")+inFindings(a))
	p.field("Changed", a.Changed)
	p.field("At risk", a.AtRisk)
	evidence := maps.Clone(a.Latest.Evidence)
	maps.DeleteFunc(evidence, func(name string, _ any) bool {
		shown := shownElsewhere[name]
		return shown != nil && shown(a)
	})
	p.evidence(evidence)
	p.field("Notify", notified(a))
	p.command("Undo", a.Undo)
	p.field("Runbook", a.RunbookURL)
	p.eventIDs(a.Latest.EventIDs, a.Latest.Count)
	p.field("Alert", a.ID)
	p.line("")
}

// title writes the first line of the details of an alert.
func (p *page) title(a *AlertView) {
	severity, id := strings.ToUpper(a.Severity.String()), cutEnd(Clean(a.Detection), longestID)
	left := width(severity) + 2 + width(id) + 2
	for i, line := range wrap(Clean(a.Title), max(p.width()-left, 10)) {
		if i == 0 {
			p.line(p.paint(severityStyle(a.Severity), severity) + "  " + p.paint(bold, id+"  "+line))
		} else {
			p.line(strings.Repeat(" ", left) + p.paint(bold, line))
		}
	}
}

// brief writes alerts that nobody is told about at once.
func (p *page) brief(alerts []AlertView) {
	for i := range alerts {
		a := &alerts[i]
		p.title(a)
		what := a.What
		if what == "" {
			what = a.Who
		}
		p.paragraph(Clean(what), 2, plain)
		p.paragraph(Clean(count(a.Count, "event", "events")+" by "+cmp.Or(a.Who, shortARN(a.Principal))+", "+cmp.Or(notified(a), "not notified")+", alert "+a.ID), 2, dim)
		p.line("")
	}
}

// shownElsewhere are columns of a row that stand in other fields of the
// details, by the field.
var shownElsewhere = map[string]func(*AlertView) bool{
	"principal":      func(a *AlertView) bool { return a.Principal != "" },
	"principal_type": func(a *AlertView) bool { return a.Who != "" },
	"is_person":      func(a *AlertView) bool { return a.Who != "" },
	"person":         func(a *AlertView) bool { return a.Who != "" },
	"persons":        func(a *AlertView) bool { return a.Who != "" },
	"session_name":   func(a *AlertView) bool { return a.Who != "" },
	"source_ip":      func(a *AlertView) bool { return a.From != "" },
	"source_ips":     func(a *AlertView) bool { return a.From != "" },
	"client":         func(a *AlertView) bool { return a.From != "" },
	"clients":        func(a *AlertView) bool { return a.From != "" },
	"network":        func(a *AlertView) bool { return a.From != "" },
	"key_arn":        func(a *AlertView) bool { return a.Key != "" },
	"key_alias":      func(a *AlertView) bool { return a.KeyAlias != "" },
	"account":        func(a *AlertView) bool { return a.Account != "" },
	"region":         func(a *AlertView) bool { return a.Region != "" },
}

// listedValues is how many values of a list in the evidence are named.
const listedValues = 5

// evidence writes what else the detection's row says.
func (p *page) evidence(evidence map[string]any) {
	label := "Evidence"
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(evidence)) {
		values := evidenceValues(evidence[name])
		text := strings.Join(values, ", ")
		// Two columns often hold the same list under two names.
		if text == "" || width(text) > p.width() && seen[text] {
			continue
		}
		seen[text] = true

		name = strings.ReplaceAll(name, "_", " ") + ":"
		oneLine := name + " " + text
		switch {
		case len(values) == 1 && whole(text) && hang+width(Clean(oneLine)) > p.width():
			p.field(label, name, text)
		case len(values) > 1 && hang+width(Clean(oneLine)) > p.width():
			shown := slices.Clone(values[:min(len(values), listedValues)])
			if more := len(values) - len(shown); more > 0 {
				shown = append(shown, "and "+number(int64(more))+" more")
			}
			p.field(label, name)
			for _, value := range shown {
				p.item(cutEnd(value, longestValue))
			}
		default:
			p.field(label, name+" "+cutEnd(text, longestValue))
		}
		label = ""
	}
}

// item writes one of a list below a field; what goes on hangs from it.
func (p *page) item(text string) {
	for i, line := range wrap(Clean(text), p.width()-hang-4) {
		if i == 0 {
			p.place("- "+line, hang, plain)
		} else {
			p.place(line, hang+4, plain)
		}
	}
}

// evidenceValues says a value in clean words, each value of a list by itself.
func evidenceValues(v any) []string {
	switch v := v.(type) {
	case []string:
		values := make([]string, 0, len(v))
		for _, one := range v {
			values = append(values, Clean(one))
		}
		return values
	case []any:
		values := make([]string, 0, len(v))
		for _, one := range v {
			values = append(values, evidenceValue(one))
		}
		return values
	default:
		return []string{evidenceValue(v)}
	}
}

func evidenceValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return Clean(v)
	case time.Time:
		return v.UTC().Format(dayTime) + " UTC"
	case []string, []any:
		return strings.Join(evidenceValues(v), ", ")
	case map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return Clean(fmt.Sprint(v))
		}
		return Clean(string(b))
	default:
		return Clean(fmt.Sprint(v))
	}
}

func (p *page) eventIDs(ids []string, total int64) {
	if len(ids) == 0 {
		return
	}
	shown := slices.Clone(ids[:min(len(ids), shownEventIDs)])
	if more := max(total, int64(len(ids))) - int64(len(shown)); more > 0 {
		shown = append(shown, "and "+number(more)+" more")
	}
	p.field("Events", shown...)
}

// summary accounts for the run.
func (p *page) summary(s *Summary) {
	f, r := s.Files, s.Records
	p.field("Files", fmt.Sprintf("%s read, %s rejected, %s skipped", number(f.Read), number(f.Rejected), number(f.Skipped)))
	p.field("Skipped", skipped(s.Skipped)...)
	p.fieldLines("Records", wrapParts([]string{
		number(r.Read) + " read",
		"= " + number(r.Kept) + " kept",
		"+ " + number(r.Duplicate) + " duplicate",
		"+ " + number(r.NotOfInterest) + " not of interest",
		"+ " + number(r.Rejected) + " rejected",
	}, p.width()-hang, ""))
	if sum := r.Kept + r.Duplicate + r.NotOfInterest + r.Rejected; sum != r.Read {
		p.field("", fmt.Sprintf("These do not add up: %s records are not accounted for. Please report this as a defect.", number(r.Read-sum)))
	}
	p.field("Events", bySource(s.EventsBySource)...)
	p.field("Time", span(s.First, s.Last))
	if s.Alerts != nil {
		p.field("Alerts", alertCounts(s.Alerts))
	}
	p.field("Findings", findingCounts(s)...)
	p.field("Learning", learning(s.Learning)...)
	p.field("Hidden", hidden(s.Suppressed)...)
	if s.Late > 0 {
		p.field("Late", count(s.Late, "event", "events")+" came later than the allowed lateness: what they would have changed in earlier windows may be missing. Replay all the logs into a new lake, or analyze --rebuild this one")
	}
	p.field("Assumed", s.Assumptions...)
	p.field("Rejected", rejects(s)...)
	took := fmt.Sprintf("%.1f s", s.Elapsed.Seconds())
	if s.MaxRSSBytes > 0 {
		took += ", " + byteSize(s.MaxRSSBytes) + " of memory at most"
	}
	p.field("Took", took)
}

func bySource(events map[string]int64) []string {
	var lines []string
	for _, source := range mostFirst(events) {
		if events[source] == 0 { // known already
			continue
		}
		lines = append(lines, number(events[source])+" from "+source)
	}
	return lines
}

// skipped says why files were skipped, so that whoever named the wrong folder
// sees it.
func skipped(reasons map[string]int64) []string {
	var lines []string
	for _, reason := range mostFirst(reasons) {
		lines = append(lines, count(reasons[reason], "file", "files")+": "+reason)
	}
	return lines
}

func alertCounts(alerts map[analyzer.Severity]int64) string {
	var parts []string
	for s := analyzer.Critical; s >= analyzer.Info; s-- {
		if n := alerts[s]; n > 0 {
			parts = append(parts, number(n)+" "+s.String())
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func findingCounts(s *Summary) []string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(s.Findings)) {
		lines = append(lines, strings.TrimSpace(id+"  "+number(s.Findings[id])+"  "+s.Titles[id]))
	}
	return lines
}

func learning(detections []Learning) []string {
	var lines []string
	for _, d := range detections {
		had := "none"
		if d.Had > 0 {
			had = long(d.Had)
		}
		line := fmt.Sprintf("%s had %s of the %s of history that it needs to judge", d.Detection, had, long(d.Need))
		if d.New > 0 {
			line += "; what it saw for the first time is listed at info: " + count(d.New, "finding", "findings")
		}
		lines = append(lines, line)
	}
	return lines
}

func hidden(suppressed map[string]int64) []string {
	var lines []string
	for _, rule := range mostFirst(suppressed) {
		lines = append(lines, count(suppressed[rule], "finding", "findings")+" by "+rule)
	}
	return lines
}

func rejects(s *Summary) []string {
	var lines []string
	for i := range s.Rejects[:min(len(s.Rejects), ShownRejects)] {
		r := &s.Rejects[i]
		lines = append(lines, fmt.Sprintf("%s:%d %s", r.File, r.Offset, r.Reason))
	}
	if more := max(s.RejectCount, int64(len(s.Rejects))) - int64(len(lines)); more > 0 {
		lines = append(lines, "and "+number(more)+" more")
	}
	return lines
}

// mostFirst returns the names with the highest counts first.
func mostFirst(counts map[string]int64) []string {
	names := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
	return names
}

// notified says what becomes of an alert and why.
func notified(a *AlertView) string {
	var text string
	switch a.Action {
	case analyzer.ActionPage:
		text = "pages"
	case analyzer.ActionPost:
		text = "posted to the channel"
	case analyzer.ActionDigest:
		text = "in the daily digest"
	case analyzer.ActionNone:
		text = "nobody is told"
	}
	if a.Reason != "" && text != "" {
		text += " (" + a.Reason + ")"
	}
	return text
}

func inFindings(a *AlertView) string {
	if len(a.FindingIDs) < 2 {
		return ""
	}
	return " in " + number(int64(len(a.FindingIDs))) + " findings"
}

// accountOf names the account and the Region.
func accountOf(a *AlertView) string {
	text := a.Account
	if a.AccountName != "" {
		text = a.AccountName + " (" + a.Account + ")"
	}
	if a.Region != "" && text != "" {
		text += ", " + a.Region
	}
	return text
}

// arnOf returns a principal's ARN, which stands on a line of its own; other
// principals are named by Who.
func arnOf(principal string) string {
	if strings.HasPrefix(principal, "arn:") {
		return principal
	}
	return ""
}

// target names what an alert is about in few cells: the key's alias, the key's
// id, or else what the entity has besides the principal.
func target(a *AlertView) string {
	switch {
	case a.KeyAlias != "":
		return strings.TrimPrefix(a.KeyAlias, "alias/")
	case a.Key != "":
		return shortARN(a.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Entity)) {
		value := a.Entity[name]
		if value != "" && value != a.Principal && value != a.Account && value != a.Region {
			return shortARN(value)
		}
	}
	return cmp.Or(a.AccountName, a.Account, "-")
}

// shortARN returns the part of an ARN that people call the thing by.
func shortARN(arn string) string {
	if !strings.HasPrefix(arn, "arn:") {
		return orDash(arn)
	}
	if i := strings.LastIndexByte(arn, '/'); i >= 0 && i+1 < len(arn) {
		return arn[i+1:]
	}
	return arn[strings.LastIndexByte(arn, ':')+1:]
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
