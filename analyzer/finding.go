package analyzer

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// MaxEventIDs is how many event ids a finding carries; Count has the full number.
const MaxEventIDs = 50

// FindingStatus tells what becomes of a finding.
type FindingStatus string

const (
	// FindingActive may notify.
	FindingActive FindingStatus = "active"
	// FindingStaged comes from a staged detection: recorded, never notified.
	FindingStaged FindingStatus = "staged"
	// FindingLearning comes from a baseline detection that had too little
	// history to judge: listed at info, never notified.
	FindingLearning FindingStatus = "learning"
	// FindingSuppressed was hidden by settings; Suppression says by which.
	FindingSuppressed FindingStatus = "suppressed"
	// FindingWithdrawn no longer holds after later events.
	FindingWithdrawn FindingStatus = "withdrawn"
)

// Finding is one result of a detection. Its ID depends on the detection, the
// entity and the start of the window only, so that the same logs give the same
// ids however they arrive; later events may amend the rest.
type Finding struct {
	ID          string            `json:"id"`
	Detection   string            `json:"detection"` // KMS-D01
	Severity    Severity          `json:"severity"`
	Status      FindingStatus     `json:"status"`
	Time        time.Time         `json:"time"` // of the last event in it
	Title       string            `json:"title"`
	Account     string            `json:"account"`
	Region      string            `json:"region"`
	Principal   string            `json:"principal"`
	Key         string            `json:"key"` // canonical key ARN, or empty
	Entity      map[string]string `json:"entity"`
	Count       int64             `json:"count"`     // events in it
	EventIDs    []string          `json:"event_ids"` // at most MaxEventIDs, the smallest in time order
	Evidence    map[string]any    `json:"evidence"`
	Suppression string            `json:"suppression,omitempty"` // name of the setting that hid it

	WindowStart time.Time `json:"window_start"`
	WindowEnd   time.Time `json:"window_end"`
	FirstTime   time.Time `json:"first_time"`
	LastTime    time.Time `json:"last_time"`
}

// FindingID derives the id of a finding from what it is about. Entity values
// are given in the order of the detection's entity columns.
func FindingID(detection string, entity []string, windowStart time.Time) string {
	return "f-" + digest(append([]string{detection, windowStart.UTC().Format(time.RFC3339Nano)}, entity...)...)
}

// InShard returns the id of a finding as one shard of several finds it. Shards
// find alike in what a call across accounts left in each: both are kept, in one
// alert.
func InShard(findingID, shard string) string {
	if shard == "" {
		return findingID
	}
	return "f-" + digest(findingID, shard)
}

// AlertID derives the id of an alert from its detection, its entity and the
// start of the episode.
func AlertID(detection string, entity []string, episode time.Time) string {
	return "a-" + digest(append([]string{detection, episode.UTC().Format(time.RFC3339Nano)}, entity...)...)
}

// digest hashes the parts with their lengths kept apart: 100 bits in base32.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strings.ReplaceAll(p, "\x00", "\x00\x00")))
		h.Write([]byte{0, 1})
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:20]
}
