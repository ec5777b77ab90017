package analyzer

import (
	"strings"
	"time"
)

// DetectionStatus tells whether a detection may notify.
type DetectionStatus string

// The two states of a detection.
const (
	// DetectionActive may notify.
	DetectionActive DetectionStatus = "active"
	// DetectionStaged runs and records but never notifies.
	DetectionStaged DetectionStatus = "staged"
)

// DetectionClass is the kind of question a detection asks.
type DetectionClass string

// The classes of the catalogue.
const (
	ClassEvent    DetectionClass = "S" // one event
	ClassState    DetectionClass = "F" // remembered state
	ClassBaseline DetectionClass = "B" // what is new for this principal or key
	ClassVolume   DetectionClass = "V" // volume or count in a window
	ClassSequence DetectionClass = "C" // a sequence of different events
)

// EventName names one kind of event: a source and a call, or every call of the
// source when Name is "*".
type EventName struct {
	Source string // kms.amazonaws.com
	Name   string // ScheduleKeyDeletion or *
}

// ParseEventName reads "kms.amazonaws.com:ScheduleKeyDeletion"; ok is false when
// there is no colon or a part is empty.
func ParseEventName(s string) (n EventName, ok bool) {
	n.Source, n.Name, ok = strings.Cut(s, ":")
	return n, ok && n.Source != "" && n.Name != ""
}

// String returns "source:name".
func (n EventName) String() string { return n.Source + ":" + n.Name }

// Matches tells whether a record of this source and name is meant.
func (n EventName) Matches(source, name string) bool {
	return n.Source == source && (n.Name == "*" || n.Name == name)
}

// Detection is one file of the catalogue: what its front matter says, and its
// one SELECT.
type Detection struct {
	ID             string
	Title          string
	Severity       Severity
	Status         DetectionStatus
	Family         string
	Class          DetectionClass
	Mitre          []string
	Events         []EventName
	Entity         []string      // columns that say what one alert is about
	Window         time.Duration // how far back in events it looks; 0 is a single event
	LearnDays      int           // class B: history needed before it speaks
	Params         map[string]any
	Suppress       []string // iac, scanner, routine, partner, change_window
	EvidenceEvents *EvidenceEvents
	Summary        string // one sentence with {column} placeholders
	AtRisk         string
	Undo           string // command line with {column} placeholders
	Description    string
	FalsePositives string
	Runbook        string
	References     []string

	SQL  string // without the front matter
	Path string // queries/destruction/key_deletion_scheduled.sql
}

// EvidenceEvents tells from which events a roll-up's finding was counted, so
// that the engine can name them afterwards.
type EvidenceEvents struct {
	Table Table
	On    []string // columns of the row that the events share
	Names []string // event names; empty means any
}
