package analyzer

import "time"

// Action is what an alert asks of the notifier.
type Action string

// What an alert can ask for, the strongest first.
const (
	ActionPage   Action = "page"   // critical and high: interrupts a person
	ActionPost   Action = "post"   // medium: posted to the channel
	ActionDigest Action = "digest" // low and info: gathered once a day
	ActionNone   Action = "none"   // staged, suppressed, silenced, learning
)

// AlertState is where an alert is in its life.
type AlertState string

// The states of an alert.
const (
	AlertOpen         AlertState = "open"
	AlertAcknowledged AlertState = "acknowledged"
	AlertSilenced     AlertState = "silenced"
	AlertClosed       AlertState = "closed"
)

// Alert gathers the findings of one detection about one entity. Its severity
// may rise, never falls.
type Alert struct {
	ID         string     `json:"id"`
	Detection  string     `json:"detection"`
	Severity   Severity   `json:"severity"`
	Action     Action     `json:"action"`
	Reason     string     `json:"reason"` // why this action: "severity critical", "silenced by …"
	State      AlertState `json:"state"`
	FindingIDs []string   `json:"finding_ids"`
	FirstTime  time.Time  `json:"first_time"`
	LastTime   time.Time  `json:"last_time"`
	Count      int64      `json:"count"` // events over all findings
	Title      string     `json:"title"`
	Principal  string     `json:"principal"`
	Key        string     `json:"key"`
	Account    string     `json:"account"`
	Region     string     `json:"region"`

	Entity map[string]string `json:"entity"`
	// Latest is the finding that the alert's text is written from: the most
	// severe, then the newest.
	Latest Finding `json:"latest"`

	// Revision rises by one with every change that shows.
	Revision int64 `json:"revision"`
	// Thread is the name under which messages about the alert are kept. It is
	// the alert's first id and stays when a late event moves its start, which
	// changes ID: look messages up by Thread.
	Thread string `json:"thread"`
	// StateBy and StateTime tell who acknowledged or closed it, and when.
	StateBy   string    `json:"state_by,omitempty"`
	StateTime time.Time `json:"state_time,omitzero"`
}
