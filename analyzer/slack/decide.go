package slack

import "github.com/keytrail/keytrail/analyzer"

// Reason says why a message is sent, or why not.
type Reason string

const (
	// ReasonNotPosted means: the alert asks for no message (digest, silenced, staged …).
	ReasonNotPosted Reason = "not for the channel"
	// ReasonFirst means: Slack shows nothing of this alert yet.
	ReasonFirst Reason = "first message"
	// ReasonSeverityRaised means: the thread and the channel are told.
	ReasonSeverityRaised Reason = "severity raised"
	// ReasonKeyDataChanged means: who, which key or what changed is not what was told.
	ReasonKeyDataChanged Reason = "key data changed"
	// ReasonFirstRepeat means: it happened again for the first time.
	ReasonFirstRepeat Reason = "first repeat"
	// ReasonCountDoubled means: at least twice the events of the last reply.
	ReasonCountDoubled Reason = "count doubled"
	// ReasonCountOnly means: more events, not enough for a reply; the parent's count is updated.
	ReasonCountOnly Reason = "count grew"
	// ReasonDetailChanged means: the parent would read differently.
	ReasonDetailChanged Reason = "detail changed"
	// ReasonThreadsUnsupported means: a webhook can neither reply nor update.
	ReasonThreadsUnsupported Reason = "webhook shows no repeats"
	// ReasonWentQuiet means: the alert no longer asks for messages (acknowledged,
	// silenced, withdrawn); the one that is there is kept true.
	ReasonWentQuiet Reason = "went quiet"
	// ReasonUnchanged means: Slack shows it already.
	ReasonUnchanged Reason = "unchanged"
)

// maxDataReplies is how many replies changed key data may cause for one alert.
// An attacker who alternates between two policies shall not fill the thread;
// severity rises and doublings are still told.
const maxDataReplies = 10

// Decision is what to do about an alert.
type Decision struct {
	Reason    Reason
	Post      bool // the parent message
	Update    bool // the parent in place
	Reply     bool // in the parent's thread
	Broadcast bool // the reply is shown in the channel too
}

// Decide compares the alert with what Slack shows. digest is of the parent as
// it would be rendered now; threads is false for webhooks.
//
// Replies come at the first repeat, then each time the count has doubled since
// the last reply, so that n events make about log2(n) replies; a rise of
// severity is told at once and in the channel. The parent's count is always
// brought up to date.
func Decide(was Posted, n Notice, digest string, threads bool) Decision {
	a := n.Alert
	if a.Action != analyzer.ActionPage && a.Action != analyzer.ActionPost {
		if was.TS == "" || !threads {
			return Decision{Reason: ReasonNotPosted}
		}
		if digest == was.Digest {
			return Decision{Reason: ReasonUnchanged}
		}
		return Decision{Reason: ReasonWentQuiet, Update: true}
	}
	if was.TS == "" {
		return Decision{Reason: ReasonFirst, Post: true}
	}
	raised := a.Severity > was.Severity
	if !threads {
		switch {
		case raised:
			return Decision{Reason: ReasonSeverityRaised, Post: true}
		case digest == was.Digest && a.Count == was.Count:
			return Decision{Reason: ReasonUnchanged}
		}
		return Decision{Reason: ReasonThreadsUnsupported}
	}
	switch {
	case raised:
		return Decision{Reason: ReasonSeverityRaised, Update: true, Reply: true, Broadcast: true}
	case n.keyData() != was.KeyData && was.DataReplies < maxDataReplies:
		return Decision{Reason: ReasonKeyDataChanged, Update: true, Reply: true}
	case a.Count > was.RepliedCount && was.Replies == 0:
		return Decision{Reason: ReasonFirstRepeat, Update: true, Reply: true}
	case a.Count >= 2*was.RepliedCount && a.Count > was.RepliedCount:
		return Decision{Reason: ReasonCountDoubled, Update: true, Reply: true}
	case a.Count != was.Count:
		return Decision{Reason: ReasonCountOnly, Update: true}
	case digest != was.Digest:
		return Decision{Reason: ReasonDetailChanged, Update: true}
	}
	return Decision{Reason: ReasonUnchanged}
}
