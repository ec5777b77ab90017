package alert

import (
	"fmt"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Judged is one finding as far as it decides whether its alert notifies.
type Judged struct {
	Severity    analyzer.Severity
	Status      analyzer.FindingStatus
	Suppression string // name of the setting that hid it
	// Silence is the silence that covers it, if any.
	Silence *Silence
}

// quiet returns what keeps a finding from notifying: the name under which it
// is counted and the reason that people read. Both are empty when nothing does.
func (j Judged) quiet() (name, reason string) {
	switch {
	case j.Status == analyzer.FindingStaged:
		return "staged", "staged detection"
	case j.Status == analyzer.FindingSuppressed && j.Suppression == "":
		return "settings", "suppressed by settings"
	case j.Status == analyzer.FindingSuppressed:
		return j.Suppression, "suppressed by " + j.Suppression
	case j.Status == analyzer.FindingLearning:
		return "learning", "learning"
	case j.Silence != nil:
		return "silence " + j.Silence.by(), j.Silence.reason()
	}
	return "", ""
}

// Decide returns what an alert with these findings asks of the notifier, and
// why. Withdrawn findings count for nothing. The strongest finding that may
// notify decides, but never for less than peak, the strongest that ever could:
// an alert that was worth a page stays worth one. When something graver is
// kept quiet, the reason says so. When nothing may notify, the gravest finding
// gives the reason.
func Decide(findings []Judged, peak analyzer.Severity) (analyzer.Action, string) {
	loud, hidden := analyzer.Severity(-1), analyzer.Severity(-1)
	hiddenReason := reasonWithdrawn
	for _, f := range findings {
		if f.Status == analyzer.FindingWithdrawn {
			continue
		}
		_, reason := f.quiet()
		switch {
		case reason == "":
			loud = max(loud, f.Severity, peak)
		case f.Severity > hidden || f.Severity == hidden && reason < hiddenReason:
			hidden, hiddenReason = f.Severity, reason
		}
	}
	switch {
	case loud < analyzer.Info:
		return analyzer.ActionNone, hiddenReason
	case hidden > loud:
		return ActionFor(loud), fmt.Sprintf("severity %s; %s %s", loud, hidden, hiddenReason)
	}
	return ActionFor(loud), fmt.Sprintf("severity %s", loud)
}

// ActionFor returns what a severity asks of the notifier: critical and high
// interrupt a person, medium is posted, low and info wait for the digest.
func ActionFor(s analyzer.Severity) analyzer.Action {
	switch {
	case s >= analyzer.High:
		return analyzer.ActionPage
	case s == analyzer.Medium:
		return analyzer.ActionPost
	}
	return analyzer.ActionDigest
}

// settle sets what shows of an alert from what its findings ask for and what
// people did with it. A person's word holds until something graver comes or,
// for a closed alert, something newer.
func settle(r *analyzer.AlertRecord) {
	r.Action, r.Reason, r.State = r.Judged, r.JudgedReason, analyzer.AlertOpen
	r.StateBy, r.StateTime = "", time.Time{}
	switch {
	case gone(r):
		r.State = analyzer.AlertClosed
		return
	case r.Silenced:
		r.State = analyzer.AlertSilenced
	}
	h := r.Handled
	if h == nil || r.Severity > h.Severity {
		return
	}
	switch {
	case h.State == analyzer.AlertClosed && !r.LastTime.After(h.LastTime):
		r.Action, r.Reason = analyzer.ActionNone, "closed by "+h.By
	case h.State == analyzer.AlertAcknowledged && r.State == analyzer.AlertOpen:
	default:
		return
	}
	r.State, r.StateBy, r.StateTime = h.State, h.By, h.At
}
