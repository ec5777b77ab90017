package analyzer

import "time"

// Settings is what keytrail.yaml says. The zero value, with Defaults applied,
// works; package settings reads and checks the file.
type Settings struct {
	// Organisation lists our accounts. When empty, the accounts whose trails
	// deliver logs are ours.
	Organisation []Account `yaml:"organisation"`
	// Partners are accounts that may be let in.
	Partners []Account `yaml:"partners"`
	// OrganisationIDs are AWS Organizations ids (o-…) that are ours.
	OrganisationIDs []string `yaml:"organisation_ids"`
	// Tier0 are the critical keys: key ARNs, mrk- ids or alias/names, which
	// may be qualified as ACCOUNT:alias/name.
	Tier0 []string `yaml:"tier0_keys"`
	// KeyAllow says which principals may use a key (detection KMS-U02).
	KeyAllow []KeyAllow `yaml:"key_allow"`
	Roles    Roles      `yaml:"roles"`
	// Regions in use; empty means any.
	Regions       []string       `yaml:"regions"`
	ChangeWindows []ChangeWindow `yaml:"change_windows"`
	// Suppress hides findings of a detection that match.
	Suppress   []Suppression                `yaml:"suppress"`
	Silences   []Silence                    `yaml:"silences"`
	Detections map[string]DetectionSettings `yaml:"detections"` // by id
	Alerts     AlertSettings                `yaml:"alerts"`
	Slack      SlackSettings                `yaml:"slack"`
	// Lateness is how late an event may come and still count exactly.
	Lateness time.Duration `yaml:"lateness"`
}

// Account is an AWS account with the name people use for it.
type Account struct {
	ID      string `yaml:"id"` // 12 digits
	Name    string `yaml:"name"`
	Sandbox bool   `yaml:"sandbox"` // findings count one severity less
}

// KeyAllow is the allow-list of one key.
type KeyAllow struct {
	Key string `yaml:"key"` // key ARN, mrk- id, alias/name or ACCOUNT:alias/name
	// Principals are ARNs; * matches any run of characters.
	Principals []string `yaml:"principals"`
}

// Roles lists principals by what they are for, as ARNs where * matches any run
// of characters.
type Roles struct {
	IaC      []string `yaml:"iac"`      // infrastructure as code and CI
	Scanners []string `yaml:"scanners"` // posture scanners and inventory
	Routine  []string `yaml:"routine"`  // backup and other jobs that touch many keys
}

// ChangeWindow is a time in which planned changes do not interrupt anybody.
type ChangeWindow struct {
	Name       string    `yaml:"name"`
	From       time.Time `yaml:"from"`
	To         time.Time `yaml:"to"`
	Accounts   []string  `yaml:"accounts"`   // empty means all
	Detections []string  `yaml:"detections"` // empty means those that allow it
}

// Suppression hides matching findings before they notify; each is counted.
type Suppression struct {
	Name      string    `yaml:"name"`
	Detection string    `yaml:"detection"` // id or *
	Account   string    `yaml:"account"`
	Principal string    `yaml:"principal"` // ARN with *
	Key       string    `yaml:"key"`       // as in KeyAllow
	Until     time.Time `yaml:"until"`     // zero means for ever
	Reason    string    `yaml:"reason"`
}

// Silence keeps matching alerts quiet for a time; they stay visible.
type Silence struct {
	Name      string    `yaml:"name"`
	Detection string    `yaml:"detection"`
	Account   string    `yaml:"account"`
	Principal string    `yaml:"principal"`
	Key       string    `yaml:"key"`
	From      time.Time `yaml:"from"`
	Until     time.Time `yaml:"until"`
	Reason    string    `yaml:"reason"`
}

// DetectionSettings changes one detection.
type DetectionSettings struct {
	Enabled  *bool          `yaml:"enabled"`
	Status   string         `yaml:"status"`   // active or staged
	Severity string         `yaml:"severity"` // replaces the default
	Params   map[string]any `yaml:"params"`   // thresholds, by name
}

// AlertSettings rules the life of alerts.
type AlertSettings struct {
	// ReopenAfter is the quiet time after which a finding starts a new alert
	// in place of joining the old one.
	ReopenAfter time.Duration `yaml:"reopen_after"`
}

// SlackSettings says where alerts go. Secrets are never in the file: the
// token and the webhook come from the environment.
type SlackSettings struct {
	Channel string `yaml:"channel"` // default channel, id or #name
	// Channels by severity (critical, high, …) or account id, the more specific first.
	Channels map[string]string `yaml:"channels"`
	// Mentions by severity: whom a message about it calls, as @here, or the id
	// of a user or user group.
	Mentions map[string]string `yaml:"mentions"`
	// RunbookURL is a base to which the runbook's path is joined.
	RunbookURL string `yaml:"runbook_url"`
}

// DefaultLateness is how late an event may come when the settings are silent.
const DefaultLateness = 2 * time.Hour

// DefaultReopenAfter is the quiet time after which an alert is a new one.
const DefaultReopenAfter = 7 * 24 * time.Hour

// Defaults fills what the file left open.
func (s *Settings) Defaults() {
	if s.Lateness == 0 {
		s.Lateness = DefaultLateness
	}
	if s.Alerts.ReopenAfter == 0 {
		s.Alerts.ReopenAfter = DefaultReopenAfter
	}
}
