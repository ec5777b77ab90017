// Package report writes what a run found: for people, as a table of alerts
// with the details of each and a summary; for programs, as JSON lines.
//
// It decides nothing and reads nothing: the caller fills a Run from alerts,
// counts and settings. Every text that comes from a log is written by whoever
// made the call, so all of it goes through Clean before it reaches a terminal.
package report

import (
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Run is everything that people are told about one run.
type Run struct {
	Alerts  []AlertView
	Summary Summary
	Notes   []string // sentences for the end of the summary
}

// AlertView is an alert with the words that people read. Texts may hold
// anything: they are cleaned when written.
type AlertView struct {
	analyzer.Alert
	What        string // what happened, in one sentence
	AtRisk      string // what data or service is at risk, in one sentence
	Undo        string // command line that undoes it, or empty
	RunbookURL  string
	AccountName string // name that the settings give to the account
	KeyAlias    string // alias/… of the key, or empty
	Who         string // principal in people's words: "role deploy, session jenkins-17"
	From        string // address, network and client: "198.51.100.7 (public), aws-cli"
	Changed     string // what is different from before, or empty
}

// Summary accounts for a run: what was read, what was found, and what is not
// known.
type Summary struct {
	Files          analyzer.FileCounts
	Skipped        map[string]int64 // files, by reason
	Records        analyzer.RecordCounts
	EventsBySource map[string]int64 // kept events
	// First and Last are the times of the oldest and the newest event kept;
	// zero when none was.
	First, Last time.Time

	Findings map[string]int64  // by detection, those that count
	Titles   map[string]string // of detections, by id
	// Alerts are counted by severity; AlertCounts makes it from a list. Nil
	// means that the run did not look for any.
	Alerts map[analyzer.Severity]int64

	Learning    []Learning
	Suppressed  map[string]int64 // findings hidden, by the setting that hid them
	Late        int64            // events later than the allowed lateness
	Assumptions []string
	// Rejects are the first ones; Records.Rejected and Files.Rejected have
	// the full numbers.
	Rejects []analyzer.Reject
	// RejectCount is how many rejects there were in all.
	RejectCount int64

	Elapsed     time.Duration
	MaxRSSBytes int64
}

// Learning is a detection that had too little history to judge.
type Learning struct {
	Detection string
	Had, Need time.Duration // history that there was and that it wants
	New       int64         // findings that it would have reported as new
}

// AlertCounts counts alerts by severity.
func AlertCounts(alerts []AlertView) map[analyzer.Severity]int64 {
	counts := make(map[analyzer.Severity]int64)
	for i := range alerts {
		counts[alerts[i].Severity]++
	}
	return counts
}
