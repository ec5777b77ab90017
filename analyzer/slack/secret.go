package slack

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// Secret is a bot token or a webhook URL. However it is printed, logged or
// marshalled, it shows "[redacted]".
type Secret string

// String returns "[redacted]", or nothing when the secret is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns what String returns, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText returns what String returns, so that JSON and YAML show it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns what String returns, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// reveal returns the secret itself, for the one request that needs it.
func (s Secret) reveal() string { return string(s) }

// hide takes the secrets, and the addresses that hold them, out of an error of
// the HTTP client, whose text has the whole URL. What errors.Is needs of the
// cause (cancelled, deadline) is kept.
func hide(err error, secrets ...Secret) error {
	if err == nil {
		return nil
	}
	inner := err
	if u := (*url.Error)(nil); errors.As(err, &u) {
		inner = u.Err
	}
	return &hiddenError{text: hideText(inner.Error(), secrets), cause: contextCause(err)}
}

func hideText(text string, secrets []Secret) string {
	for _, s := range secrets {
		for _, part := range s.parts() {
			text = strings.ReplaceAll(text, part, redacted)
		}
	}
	return text
}

// hideAll is hideText for what Slack said about a message.
func hideAll(texts []string, secrets []Secret) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = hideText(t, secrets)
	}
	return out
}

// parts lists what gives the secret away: all of it, as written and as a URL
// would have it, and the last segment of a webhook's path.
func (s Secret) parts() []string {
	if s == "" {
		return nil
	}
	list := []string{string(s), url.QueryEscape(string(s))}
	if u, err := url.Parse(string(s)); err == nil && u.Host != "" {
		list = append(list, u.RequestURI())
		if i := strings.LastIndexByte(u.Path, '/'); i >= 0 && len(u.Path)-i > 8 {
			list = append(list, u.Path[i+1:])
		}
	}
	return list
}

func contextCause(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return nil
}

// hiddenError has the text of an error without its secrets, and only the
// harmless part of its chain.
type hiddenError struct {
	text  string
	cause error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.cause }
