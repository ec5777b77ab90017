package catalog

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

var (
	idForm          = regexp.MustCompile(`^KMS-([A-Z])[0-9]{2}$`)
	snakeForm       = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	mitreForm       = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
	eventForm       = regexp.MustCompile(`^([A-Z][A-Za-z0-9]*|\*)$`)
	referenceForm   = regexp.MustCompile(`^https://[^\s<>"|]+$`)
	placeholderForm = regexp.MustCompile(`\{[^{}]*\}?|\}`)
)

// familyOf says which family the letter of an id belongs to.
var familyOf = map[string]string{
	"D": "destruction", "P": "policy", "G": "grants", "I": "access",
	"O": "origin", "U": "use", "A": "audit", "C": "correlation",
}

// knownSources are the services whose events a detection may read. A source
// is listed so that a slip of the pen cannot make a detection deaf.
var knownSources = strings.Fields(`
	access-analyzer autoscaling backup bedrock cloudformation cloudhsm cloudtrail cloudwatch
	config dynamodb ec2 eks elasticfilesystem elasticache es events fsx glue guardduty iam kinesis
	kms lambda logs monitoring organizations rds redshift s3 sagemaker scheduler secretsmanager
	securityhub signin sns sqs ssm sso states sts`)

// suppressors are the lists of the settings that may hide a finding.
var suppressors = []string{"iac", "scanner", "routine", "partner", "change_window"}

// builtinParams are set by the engine for every detection.
var builtinParams = []string{"now", "learn_until", "history_start", "has_org"}

// renderedNames are placeholders that are no columns: the reporter knows them.
var renderedNames = []string{"key_name", "account_name", "principal_name", "title"}

// validate checks the header, the statement, and that the two fit, and fills
// the detection.
func (f *file) validate() {
	if f.lines["id"] == 0 && len(f.problems) > 0 {
		return // no header could be read: its problem is enough
	}
	f.checkIdentity()
	f.checkEvents()
	f.checkTime()
	f.checkParams()
	f.checkTexts()
	f.checkSQL()
	f.checkOutputs()
}

func (f *file) checkIdentity() {
	m, d := &f.front, f.detection
	d.ID, d.Title, d.Family = m.ID, strings.TrimSpace(m.Title), m.Family

	folder := path.Base(path.Dir(f.path))
	if form := idForm.FindStringSubmatch(m.ID); form == nil {
		f.problem("id", "id %q must look like KMS-D01", m.ID)
	} else if want := familyOf[form[1]]; want == "" {
		f.problem("id", "id %s: no family has the letter %s", m.ID, form[1])
	} else if m.Family != want {
		f.problem("family", "family %q does not fit %s: it must be %s", m.Family, m.ID, want)
	}
	if m.Family != folder {
		f.problem("family", "family %q must be the name of the folder, %s", m.Family, folder)
	}
	if name := strings.TrimSuffix(path.Base(f.path), ".sql"); !snakeForm.MatchString(name) {
		f.problemAt(0, "the file name must be lower_snake")
	}

	var err error
	if d.Severity, err = analyzer.ParseSeverity(m.Severity); err != nil {
		f.problem("severity", "%v", err)
	}
	switch d.Status = analyzer.DetectionStatus(m.Status); d.Status {
	case analyzer.DetectionActive, analyzer.DetectionStaged:
	default:
		f.problem("status", "status %q must be active or staged", m.Status)
	}
	switch d.Class = analyzer.DetectionClass(m.Class); d.Class {
	case analyzer.ClassEvent, analyzer.ClassState, analyzer.ClassBaseline, analyzer.ClassVolume, analyzer.ClassSequence:
	default:
		f.problem("class", "class %q must be S (one event), F (state), B (baseline), V (volume) or C (sequence)", m.Class)
	}
	for _, technique := range m.Mitre {
		if !mitreForm.MatchString(technique) {
			f.problem("mitre", "mitre technique %q must look like T1485 or T1562.008", technique)
		}
	}
	d.Mitre = m.Mitre

	for _, name := range m.Suppress {
		if !slices.Contains(suppressors, name) {
			f.problem("suppress", "suppress: %q must be one of %s", name, strings.Join(suppressors, ", "))
		}
	}
	d.Suppress = m.Suppress
}

func (f *file) checkEvents() {
	if len(f.front.Events) == 0 {
		f.problem("events", "events must name at least one event, as kms.amazonaws.com:Decrypt: ingest keeps only what is named")
	}
	for _, written := range f.front.Events {
		name, ok := analyzer.ParseEventName(written)
		service, isAWS := strings.CutSuffix(name.Source, ".amazonaws.com")
		switch {
		case !ok:
			f.problem("events", "event %q must be source:Name, as kms.amazonaws.com:Decrypt", written)
		case !isAWS || !slices.Contains(knownSources, service):
			f.problem("events", "event %q: the source %s is not known", written, name.Source)
		case !eventForm.MatchString(name.Name):
			f.problem("events", "event %q: %q is no event name", written, name.Name)
		case slices.Contains(f.detection.Events, name):
			f.problem("events", "event %q is named twice", written)
		default:
			f.detection.Events = append(f.detection.Events, name)
		}
	}
	if e := f.front.EvidenceEvents; f.lines["evidence_events"] != 0 {
		table := analyzer.Table(e.Table)
		if table != analyzer.TableUses && table != analyzer.TableControl {
			f.problem("evidence_events", "evidence_events: table %q must be uses or control", e.Table)
		}
		if len(e.On) == 0 {
			f.problem("evidence_events", "evidence_events: on must name the columns that the row shares with its events")
		}
		for _, name := range e.Names {
			if !eventForm.MatchString(name) || name == "*" {
				f.problem("evidence_events", "evidence_events: %q is no event name", name)
			}
		}
		f.detection.EvidenceEvents = &analyzer.EvidenceEvents{Table: table, On: e.On, Names: e.Names}
	}
}

// checkTime checks that window and learn_days suit the class.
func (f *file) checkTime() {
	m, d := &f.front, f.detection
	if m.Window != "" && m.Window != "0" {
		window, err := time.ParseDuration(m.Window)
		if err != nil || window < 0 {
			f.problem("window", "window %q must be 0 or a duration such as 10m or 24h", m.Window)
		}
		d.Window = window
	}
	if f.lines["window"] == 0 {
		f.problem("", "window is missing: write 0 for a single event")
	}
	switch d.Class {
	case analyzer.ClassEvent:
		if d.Window != 0 {
			f.problem("window", "a detection of class S looks at one event: window must be 0")
		}
	case analyzer.ClassVolume, analyzer.ClassSequence:
		if d.Window == 0 {
			f.problem("window", "a detection of class %s needs a window", d.Class)
		}
	}
	d.LearnDays = m.LearnDays
	switch {
	case d.Class == analyzer.ClassBaseline && (m.LearnDays < 1 || m.LearnDays > 90):
		f.problem("learn_days", "a detection of class B needs learn_days between 1 and 90")
	case d.Class != analyzer.ClassBaseline && f.lines["learn_days"] != 0:
		f.problem("learn_days", "learn_days is for class B only")
	}
}

func (f *file) checkParams() {
	d := f.detection
	d.Params = map[string]any{}
	for _, name := range sortedKeys(f.front.Params) {
		key := "params." + name
		switch {
		case !snakeForm.MatchString(name):
			f.problem(key, "parameter %q must be lower_snake", name)
			continue
		case slices.Contains(builtinParams, name):
			f.problem(key, "parameter %q is set by the engine; take another name", name)
			continue
		}
		value, err := typedParam(f.front.Params[name])
		if err == nil {
			_, err = literal(value)
		}
		if err != nil {
			f.problem(key, "parameter %s: %v", name, err)
			continue
		}
		d.Params[name] = value
	}

	used := map[string]bool{}
	for _, t := range f.sql {
		if t.kind != parameter || used[t.text] {
			continue
		}
		used[t.text] = true
		_, declared := f.front.Params[t.text]
		if !declared && !slices.Contains(builtinParams, t.text) {
			f.problemAt(t.line, ":%s is not among the params of the front matter", t.text)
		}
	}
	for _, name := range sortedKeys(f.front.Params) {
		if !used[name] {
			f.problem("params."+name, "parameter %s is not used: write :%s in the SQL or remove it", name, name)
		}
	}
}

func (f *file) checkTexts() {
	m, d := &f.front, f.detection
	for key, value := range map[string]string{
		"title": m.Title, "summary": m.Summary, "at_risk": m.AtRisk, "description": m.Description,
		"false_positives": m.FalsePositives, "runbook": m.Runbook,
	} {
		if strings.TrimSpace(value) == "" {
			f.problem(key, "%s is missing: whoever gets the alert needs it", key)
		}
	}
	d.Summary, d.AtRisk, d.Undo = strings.TrimSpace(m.Summary), strings.TrimSpace(m.AtRisk), strings.TrimSpace(m.Undo)
	d.Description, d.FalsePositives = strings.TrimSpace(m.Description), strings.TrimSpace(m.FalsePositives)
	d.Runbook = strings.TrimSpace(m.Runbook)
	for _, reference := range m.References {
		if !referenceForm.MatchString(reference) {
			f.problem("references", "reference %q must be an https address", reference)
		}
	}
	d.References = m.References
}

// checkOutputs checks that the columns of the statement are what the engine,
// the entity and the texts need.
func (f *file) checkOutputs() {
	m := &f.front
	columns, at := outputs(f.sql)
	seen := map[string]bool{}
	for i, name := range columns {
		switch {
		case name == "*":
			f.problemAt(at[i].line, "select * at the outer boundary: name the columns, they are the contract")
		case name == "":
			f.problemAt(at[i].line, "a column of the outer select has no name: add as …")
		case !snakeForm.MatchString(name):
			f.problemAt(at[i].line, "column %q must be lower_snake", name)
		case seen[name]:
			f.problemAt(at[i].line, "column %s is returned twice", name)
		}
		seen[name] = true
	}

	if len(m.Entity) == 0 {
		f.problem("entity", "entity must name at least one column: what one alert is about")
	}
	for _, name := range m.Entity {
		switch {
		case !snakeForm.MatchString(name):
			f.problem("entity", "entity %q must be lower_snake", name)
		case !seen[name]:
			f.problem("entity", "entity column %s is not returned by the SQL", name)
		}
	}
	f.detection.Entity = m.Entity

	for _, name := range []string{"window_start", "first_time", "last_time", "event_count"} {
		if !seen[name] {
			f.problem("", "the SQL does not return %s", name)
		}
	}
	// Both may be: event_ids then adds the control events to the counted ones.
	elsewhere := f.lines["evidence_events"] != 0
	switch {
	case !seen["event_ids"] && !elsewhere:
		f.problem("", "no evidence: return event_ids, or name evidence_events in the front matter")
	case elsewhere:
		for _, name := range m.EvidenceEvents.On {
			if !seen[name] {
				f.problem("evidence_events", "evidence_events: column %s is not returned by the SQL", name)
			}
		}
	}
	if f.detection.Class == analyzer.ClassBaseline && !seen["learning"] {
		f.problem("class", "a detection of class B must return the column learning")
	}

	for _, key := range []string{"summary", "at_risk", "undo"} {
		value := map[string]string{"summary": m.Summary, "at_risk": m.AtRisk, "undo": m.Undo}[key]
		for _, written := range placeholderForm.FindAllString(value, -1) {
			name := strings.TrimSuffix(strings.TrimPrefix(written, "{"), "}")
			switch {
			case "{"+name+"}" != written || !snakeForm.MatchString(name):
				f.problem(key, "%s: placeholder %q must look like {column}", key, written)
			case !seen[name] && !slices.Contains(renderedNames, name):
				f.problem(key, "%s: placeholder %s is not a column of the SQL", key, written)
			}
		}
	}
}
