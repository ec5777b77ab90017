package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"
)

// ErrPermanent is wrapped by every error that trying again cannot mend: a
// person has to change a setting, in Slack or here. The text says which.
var ErrPermanent = errors.New("slack: needs a change of settings")

// defaultRetryAfter is how long we stay away when Slack says "too many" and
// not for how long.
const defaultRetryAfter = 30 * time.Second

// maxRetryAfter caps what Slack may ask for, so that a broken header cannot
// silence the alerts for a day.
const maxRetryAfter = 15 * time.Minute

// RateLimited says that Slack takes no message for a while. Nothing was
// posted. A caller with a queue gives the item back with that delay; Patient
// waits it out.
type RateLimited struct {
	After time.Duration // as Slack asked, or a default when it did not say
	Said  bool          // whether Slack said how long
}

// Error names the delay.
func (e *RateLimited) Error() string {
	if !e.Said {
		return fmt.Sprintf("slack: too many messages; Slack did not say for how long, try again in %s", e.After)
	}
	return fmt.Sprintf("slack: too many messages; try again in %s", e.After)
}

// Error is a call that Slack refused or that failed on the way.
type Error struct {
	Op        string   // chat.postMessage
	Channel   string   // where to, when the call had a channel
	Code      string   // Slack's word (not_in_channel), or http_503, or transport
	Messages  []string // what Slack found wrong with the blocks
	Advice    string   // what a person can do
	Permanent bool
	// Doubtful says that the call may have taken effect although it failed.
	Doubtful bool

	cause error
}

// Error says what was being done, what Slack answered and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "slack %s", e.Op)
	if e.Channel != "" {
		fmt.Fprintf(&b, " to %s", clean(e.Channel, 90))
	}
	fmt.Fprintf(&b, ": %s", e.Code)
	if len(e.Messages) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(e.Messages, "; "))
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %s", e.cause)
	}
	if e.Advice != "" {
		fmt.Fprintf(&b, ": %s", e.Advice)
	}
	return b.String()
}

// Unwrap lets errors.Is find ErrPermanent, and a cancelled or expired context.
func (e *Error) Unwrap() []error {
	var list []error
	if e.Permanent {
		list = append(list, ErrPermanent)
	}
	if e.cause != nil {
		list = append(list, e.cause)
	}
	return list
}

// permanentCodes are the answers that only a person can mend, with what to do.
// Everything that is not here is tried again: to page late is better than to
// drop a page because of a word that Slack invented yesterday.
//
//nolint:gosec // "token" and "secret" here are words of advice, no credentials
var permanentCodes = map[string]string{
	"not_authed":                 "no token was sent: set KEYTRAIL_SLACK_TOKEN to the bot token (xoxb-…)",
	"invalid_auth":               "Slack does not know this token: copy the bot token (xoxb-…) again from the app's page, OAuth & Permissions",
	"token_revoked":              "the token was revoked: install the app again and use the new bot token",
	"token_expired":              "the token has expired: switch token rotation off for the app, or use a fresh token",
	"account_inactive":           "the app or its workspace was deactivated: install the app again",
	"org_login_required":         "the workspace is moving to an organisation: install the app again afterwards",
	"missing_scope":              "the app lacks a scope: add it under OAuth & Permissions and install the app again",
	"no_permission":              "the token may not do this: check the scopes under OAuth & Permissions",
	"not_allowed_token_type":     "use the bot token (xoxb-…), no other kind of token",
	"access_denied":              "the workspace's administrators do not allow this app to post here",
	"ekm_access_denied":          "the workspace's administrators have suspended posting",
	"restricted_action":          "the workspace does not let apps post in this channel: ask an administrator, or use another channel",
	"channel_not_found":          "no such channel for this app: check the channel in keytrail.yaml; into a private channel invite the bot first: /invite @keytrail",
	"not_in_channel":             "the app is not a member of the channel: invite the bot with /invite @keytrail",
	"is_archived":                "the channel is archived: unarchive it or set another channel in keytrail.yaml",
	"channel_is_archived":        "the channel is archived: unarchive it or set another channel in keytrail.yaml",
	"no_service":                 "the webhook does not exist any more: create a new incoming webhook and set KEYTRAIL_SLACK_WEBHOOK",
	"no_service_id":              "the webhook's address is incomplete: copy it again",
	"no_team":                    "the webhook's workspace does not exist: copy the address again",
	"team_disabled":              "the webhook's workspace is disabled",
	"invalid_token":              "the webhook's address is wrong: copy it again",
	"action_prohibited":          "the workspace's administrators restrict this webhook",
	"posting_to_general_channel": "the webhook may not post in the general channel: choose another one",
	"user_not_found":             "the webhook's owner is gone: create a new incoming webhook",
	"msg_too_long":               "the message is over Slack's limit; please report this as a bug of Keytrail",
	"msg_blocks_too_long":        "the message is over Slack's limit; please report this as a bug of Keytrail",
	"no_text":                    "the message was empty; please report this as a bug of Keytrail",
	"invalid_blocks":             "Slack does not accept the layout; please report this as a bug of Keytrail",
	"invalid_blocks_format":      "Slack does not accept the layout; please report this as a bug of Keytrail",
	"invalid_attachments":        "Slack does not accept the layout; please report this as a bug of Keytrail",
	"invalid_payload":            "Slack does not accept the layout; please report this as a bug of Keytrail",
	"invalid_metadata_format":    "Slack does not accept the metadata; please report this as a bug of Keytrail",
	"invalid_metadata_schema":    "Slack does not accept the metadata; please report this as a bug of Keytrail",
	"metadata_too_large":         "Slack does not accept the metadata; please report this as a bug of Keytrail",
	"message_not_found":          "the message was deleted in Slack",
	"thread_not_found":           "the message was deleted in Slack",
	"cant_update_message":        "the message belongs to another app",
	"edit_window_closed":         "the workspace allows edits for a limited time only",
}

// doubtfulCodes are errors after which the message may nevertheless be there:
// "It's possible some aspect of the operation succeeded before the error was
// raised" (docs.slack.dev, common errors).
var doubtfulCodes = map[string]bool{
	"internal_error": true, "fatal_error": true, "service_unavailable": true,
	"request_timeout": true, "rollup_error": true,
}

// layoutCodes say that Slack does not take the message as it is laid out. The
// alert is then sent as plain text: ugly is better than missing.
var layoutCodes = map[string]bool{
	"invalid_blocks": true, "invalid_blocks_format": true, "invalid_attachments": true, "invalid_payload": true,
	"msg_blocks_too_long": true, "msg_too_long": true,
}

// hasCode tells whether err is Slack's answer with one of the codes.
func hasCode(err error, codes ...string) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

func badLayout(err error) bool {
	var e *Error
	return errors.As(err, &e) && layoutCodes[e.Code]
}

// mayHavePosted tells whether a failed call can have left its message in Slack.
func mayHavePosted(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Doubtful
}

// retryable tells what Notify reports beside its error: whether the same call
// may succeed later without anybody changing anything.
func retryable(err error) bool {
	return err != nil && !errors.Is(err, ErrPermanent)
}

var codeShape = regexp.MustCompile(`^[a-z][a-z0-9_]{1,63}$`)

// refused builds the error for Slack's word.
func refused(op, channel, code string, messages []string, needed string) error {
	if code == "ratelimited" || code == "rate_limited" || code == "message_limit_exceeded" {
		return &RateLimited{After: defaultRetryAfter}
	}
	if !codeShape.MatchString(code) {
		code = "unknown_answer" // never print what a stranger on the way may have put there
	}
	advice, permanent := permanentCodes[code]
	if code == "missing_scope" && codeShape.MatchString(strings.ReplaceAll(strings.ReplaceAll(needed, ":", "_"), ".", "_")) {
		advice = fmt.Sprintf("the app lacks the scope %s: add it under OAuth & Permissions and install the app again", needed)
	}
	e := &Error{Op: op, Channel: channel, Code: code, Advice: advice, Permanent: permanent, Doubtful: doubtfulCodes[code]}
	for i, m := range messages {
		if i == 3 {
			break
		}
		e.Messages = append(e.Messages, clean(m, 200))
	}
	return e
}

// failed turns what slack-go returned into one of the errors of this package.
func failed(op, channel string, err error, secrets ...Secret) error {
	if err == nil {
		return nil
	}
	var (
		limited  *RateLimited
		theirs   *slackapi.RateLimitedError
		answered slackapi.SlackErrorResponse
		status   slackapi.StatusCodeError
	)
	switch {
	case errors.As(err, &limited):
		return limited
	case errors.As(err, &theirs):
		return &RateLimited{After: capped(theirs.RetryAfter), Said: true}
	case errors.As(err, &answered):
		return refused(op, channel, answered.Err, hideAll(answered.ResponseMetadata.Messages, secrets), answered.Needed)
	case errors.As(err, &status):
		return httpFailure(op, channel, status.Code)
	case errors.Is(err, errUnsent):
		return &Error{Op: op, Channel: channel, Code: "unsent", Permanent: true, cause: hide(err, secrets...)}
	}
	return &Error{
		Op: op, Channel: channel, Code: "transport", Doubtful: true, cause: hide(err, secrets...),
		Advice: "Slack could not be reached or its answer was lost; this will be tried again",
	}
}

// httpFailure is an answer that is not Slack's own.
func httpFailure(op, channel string, status int) error {
	e := &Error{Op: op, Channel: channel, Code: fmt.Sprintf("http_%d", status)}
	switch {
	case status >= 500, status == http.StatusRequestTimeout:
		e.Doubtful, e.Advice = true, "Slack is having trouble; this will be tried again"
	case status >= 300 && status < 400:
		e.Permanent, e.Advice = true, "the address redirects, and secrets are not sent after a redirect: check the address and any proxy"
	default:
		e.Permanent, e.Advice = true, "check the address and any proxy between here and Slack"
	}
	return e
}

// errUnsent is for requests that were refused before they left.
var errUnsent = errors.New("not sent")

// asRateLimit reads a 429; nil for any other status.
func asRateLimit(resp *http.Response, now time.Time) *RateLimited {
	if resp.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	h := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if s, err := strconv.ParseFloat(h, 64); err == nil && s >= 0 && s < 1e9 {
		return &RateLimited{After: capped(time.Duration(s * float64(time.Second))), Said: true}
	}
	if t, err := http.ParseTime(h); err == nil { // RFC 9110 allows a date
		return &RateLimited{After: capped(t.Sub(now)), Said: true}
	}
	return &RateLimited{After: defaultRetryAfter}
}

func capped(d time.Duration) time.Duration { return min(max(d, time.Second), maxRetryAfter) }

// stopped tells whether the caller itself has given up.
func stopped(ctx context.Context) bool { return ctx.Err() != nil }
