package slack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Preview writes what would be sent, as indented JSON documents one after the
// other: a message for each alert that asks for one, then one digest of day
// when any alert waits for it. Nothing is sent and no secret is needed.
func Preview(notices []Notice, s analyzer.SlackSettings, v View, day time.Time) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	var quiet []Notice
	for _, n := range notices {
		switch n.Alert.Action {
		case analyzer.ActionPage, analyzer.ActionPost:
		case analyzer.ActionDigest:
			quiet = append(quiet, n)
			continue
		default:
			continue
		}
		view := v
		view.Revision = 1
		m := Render(n, view)
		m.Channel = Route(s, n.Alert)
		if err := enc.Encode(m); err != nil {
			return nil, fmt.Errorf("slack preview of alert %s: %w", n.Alert.ID, err)
		}
	}
	if len(quiet) > 0 {
		m := RenderDigest(quiet, day)
		m.Channel = s.Channel
		if err := enc.Encode(m); err != nil {
			return nil, fmt.Errorf("slack preview of the digest: %w", err)
		}
	}
	return unescapeHTML(b.Bytes()), nil
}

// htmlEscape is one escape in JSON; pairs of backslashes match as a whole.
var htmlEscape = regexp.MustCompile(`\\(?:u003c|u003e|u0026|.)`)

// unescapeHTML undoes encoding/json's escapes of <, > and &, which the blocks'
// own marshalling leaves behind: the preview is for people.
func unescapeHTML(b []byte) []byte {
	return htmlEscape.ReplaceAllFunc(b, func(m []byte) []byte {
		switch string(m) {
		case `\u003c`:
			return []byte("<")
		case `\u003e`:
			return []byte(">")
		case `\u0026`:
			return []byte("&")
		}
		return m
	})
}
