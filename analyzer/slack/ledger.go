package slack

import (
	"context"
	"sync"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Posted is what Slack shows of one alert, as far as we know. The zero value
// means nothing yet. It is a few hundred bytes of JSON.
type Posted struct {
	Channel string `json:"channel,omitempty"` // id; a name only until Slack has told the id
	TS      string `json:"ts,omitempty"`      // of the parent message; "sent" in webhook mode, which has none
	// Revision counts what we wrote about the alert: parent, updates, replies.
	Revision int `json:"revision,omitempty"`

	// What the parent shows.
	Count    int64             `json:"count,omitempty"`
	Severity analyzer.Severity `json:"severity"`
	Digest   string            `json:"digest,omitempty"` // of the parent as rendered

	// What the thread has told.
	Replies      int    `json:"replies,omitempty"`
	DataReplies  int    `json:"data_replies,omitempty"` // replies for changed key data
	RepliedCount int64  `json:"replied_count,omitempty"`
	KeyData      string `json:"key_data,omitempty"` // digest of who, which key, what changed

	// Trying is a message that may or may not have reached Slack.
	Trying *Attempt `json:"trying,omitempty"`
}

// Attempt is written before a message is sent and removed when Slack's answer
// is known. Found again at the next try, it means: ask Slack first.
type Attempt struct {
	Reply    bool      `json:"reply,omitempty"` // a reply in the thread; otherwise the parent
	Revision int       `json:"revision"`
	Channel  string    `json:"channel"`
	KeyData  string    `json:"key_data,omitempty"`
	First    time.Time `json:"first"` // between these two the message can have been posted
	Last     time.Time `json:"last"`
}

// Ledger keeps what was posted, by the thread of the alert (analyzer.Alert.Thread). Get returns the zero Posted for
// an id it does not know. Put must be durable when it returns: an attempt that
// is forgotten in a crash is a second page.
type Ledger interface {
	Get(ctx context.Context, id string) (Posted, error)
	Put(ctx context.Context, id string, p Posted) error
}

// MemoryLedger forgets everything with the process. It suits tests and runs
// that post nothing.
type MemoryLedger struct {
	mu sync.Mutex
	m  map[string]Posted
}

var _ Ledger = (*MemoryLedger)(nil)

// Get returns what was put last.
func (l *MemoryLedger) Get(_ context.Context, id string) (Posted, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.m[id]
	if p.Trying != nil {
		a := *p.Trying
		p.Trying = &a
	}
	return p, nil
}

// Put replaces what is known of id.
func (l *MemoryLedger) Put(_ context.Context, id string, p Posted) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[string]Posted{}
	}
	if p.Trying != nil {
		a := *p.Trying
		p.Trying = &a
	}
	l.m[id] = p
	return nil
}
