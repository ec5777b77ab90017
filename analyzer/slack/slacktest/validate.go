package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of Slack, from docs.slack.dev/reference/block-kit unless noted.
const (
	maxBlocks        = 50
	maxSectionText   = 3000
	maxFields        = 10
	maxFieldText     = 2000
	maxHeaderText    = 150
	maxContextItems  = 10
	maxActionItems   = 25
	maxBlockID       = 255
	maxText          = 40_000
	maxUpdateText    = 4_000
	maxAttachments   = 100
	maxMetadataBytes = 16_000
	// maxLayoutBytes is not in the reference: Slack answers msg_blocks_too_long
	// over about 13,200 bytes of blocks (slackapi/bolt-js issue 2509).
	maxLayoutBytes = 13_172
)

// length counts characters as JavaScript does, in UTF-16 units: the strictest
// way there is.
func length(s string) (n int) {
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// problems collects what Slack would write into response_metadata.messages.
type problems []string

func (p *problems) add(at, format string, a ...any) {
	*p = append(*p, fmt.Sprintf("[ERROR] "+format, a...)+" [json-pointer:"+at+"]")
}

// ValidateBlocks checks a JSON array of blocks as Slack does and returns its
// complaints, each with a JSON pointer below at ("/blocks").
func ValidateBlocks(raw []byte, at string) []string {
	var p problems
	var blocks []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &blocks); err != nil {
		p.add(at, "must be a valid array of blocks")
		return p
	}
	if len(blocks) > maxBlocks {
		p.add(at, "no more than %d items allowed", maxBlocks)
	}
	ids := map[string]bool{}
	for i, b := range blocks {
		here := fmt.Sprintf("%s/%d", at, i)
		p.block(b, here)
		if id := str(b["block_id"]); id != "" {
			if length(id) > maxBlockID {
				p.add(here+"/block_id", "must be less than %d characters", maxBlockID+1)
			}
			if ids[id] {
				p.add(here+"/block_id", "block_id already exists: %s", id)
			}
			ids[id] = true
		}
	}
	return p
}

// known lists the fields of each block; Slack refuses others.
var known = map[string][]string{
	"section":   {"text", "fields", "accessory", "expand"},
	"header":    {"text", "level"},
	"context":   {"elements"},
	"divider":   {},
	"actions":   {"elements"},
	"image":     {"image_url", "alt_text", "title", "slack_file"},
	"rich_text": {"elements"},
}

func (p *problems) block(b map[string]json.RawMessage, at string) {
	kind := str(b["type"])
	fields, ok := known[kind]
	if !ok {
		p.add(at+"/type", "unsupported type: %s", kind)
		return
	}
	p.fields(b, append(fields, "type", "block_id"), at)
	switch kind {
	case "section":
		if len(b["text"]) == 0 && len(b["fields"]) == 0 {
			p.add(at, "must have at least one of: text, fields")
		}
		if len(b["text"]) > 0 {
			p.text(b["text"], at+"/text", maxSectionText, "")
		}
		list := p.array(b["fields"], at+"/fields", 0, maxFields)
		for i, f := range list {
			p.text(f, fmt.Sprintf("%s/fields/%d", at, i), maxFieldText, "")
		}
	case "header":
		p.text(b["text"], at+"/text", maxHeaderText, "plain_text")
	case "context":
		for i, e := range p.array(b["elements"], at+"/elements", 1, maxContextItems) {
			p.text(e, fmt.Sprintf("%s/elements/%d", at, i), maxSectionText, "")
		}
	case "actions":
		p.array(b["elements"], at+"/elements", 1, maxActionItems)
	case "image":
		p.link(str(b["image_url"]), at+"/image_url")
	case "rich_text":
		for i, e := range p.array(b["elements"], at+"/elements", 1, 1000) {
			p.richElement(e, fmt.Sprintf("%s/elements/%d", at, i))
		}
	}
}

func (p *problems) fields(o map[string]json.RawMessage, allowed []string, at string) {
	for name := range o {
		found := false
		for _, a := range allowed {
			found = found || a == name
		}
		if !found {
			p.add(at, "additional property not allowed: %s", name)
		}
	}
}

func (p *problems) array(raw json.RawMessage, at string, low, high int) []json.RawMessage {
	var list []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &list); err != nil {
			p.add(at, "must provide an array")
			return nil
		}
	}
	if len(list) < low {
		p.add(at, "no less than %d items allowed", low)
	}
	if len(list) > high {
		p.add(at, "no more than %d items allowed", high)
	}
	return list
}

// text checks a text object; kind may demand one type.
func (p *problems) text(raw json.RawMessage, at string, limit int, kind string) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil || o == nil {
		p.add(at, "must provide an object")
		return
	}
	t := str(o["type"])
	switch {
	case kind != "" && t != kind, t != "plain_text" && t != "mrkdwn":
		p.add(at+"/type", "unsupported type: %s", t)
	case t == "mrkdwn" && len(o["emoji"]) > 0:
		p.add(at, "additional property not allowed: emoji")
	case t == "plain_text" && len(o["verbatim"]) > 0:
		p.add(at, "additional property not allowed: verbatim")
	}
	p.fields(o, []string{"type", "text", "emoji", "verbatim"}, at)
	p.str(str(o["text"]), at+"/text", limit)
}

func (p *problems) str(s, at string, limit int) {
	if s == "" {
		p.add(at, "must be more than 0 characters")
	}
	if length(s) > limit {
		p.add(at, "must be less than %d characters", limit+1)
	}
	if !utf8.ValidString(s) {
		p.add(at, "must be valid UTF-8")
	}
}

func (p *problems) richElement(raw json.RawMessage, at string) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil {
		p.add(at, "must provide an object")
		return
	}
	switch kind := str(o["type"]); kind {
	case "rich_text_section", "rich_text_quote", "rich_text_preformatted":
		p.fields(o, []string{"type", "elements", "border", "language"}, at)
		for i, e := range p.array(o["elements"], at+"/elements", 1, 1000) {
			p.inline(e, fmt.Sprintf("%s/elements/%d", at, i), kind == "rich_text_preformatted")
		}
	case "rich_text_list":
		p.fields(o, []string{"type", "elements", "style", "indent", "offset", "border"}, at)
		for i, e := range p.array(o["elements"], at+"/elements", 1, 1000) {
			p.richElement(e, fmt.Sprintf("%s/elements/%d", at, i))
		}
	default:
		p.add(at+"/type", "unsupported type: %s", kind)
	}
}

// inline checks what stands in a line of rich text.
func (p *problems) inline(raw json.RawMessage, at string, preformatted bool) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(raw, &o); err != nil {
		p.add(at, "must provide an object")
		return
	}
	switch kind := str(o["type"]); {
	case kind == "text":
		p.fields(o, []string{"type", "text", "style"}, at)
		p.str(str(o["text"]), at+"/text", maxSectionText)
		if preformatted && len(o["style"]) > 0 {
			p.add(at, "additional property not allowed: style")
		}
	case kind == "link":
		p.fields(o, []string{"type", "url", "text", "style", "unsafe"}, at)
		p.link(str(o["url"]), at+"/url")
	case preformatted:
		p.add(at+"/type", "unsupported type: %s", kind)
	case kind == "date":
		p.fields(o, []string{"type", "timestamp", "format", "fallback", "url", "timezone", "style"}, at)
		var ts int64
		if json.Unmarshal(o["timestamp"], &ts) != nil || ts <= 0 {
			p.add(at+"/timestamp", "must be a positive integer")
		}
		if !strings.Contains(str(o["format"]), "{") {
			p.add(at+"/format", "must contain a date token")
		}
	case kind == "emoji", kind == "user", kind == "usergroup", kind == "broadcast", kind == "channel", kind == "color":
	default:
		p.add(at+"/type", "unsupported type: %s", kind)
	}
}

func (p *problems) link(s, at string) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		p.add(at, "must be a valid URL")
	}
	if length(s) > maxSectionText {
		p.add(at, "must be less than %d characters", maxSectionText+1)
	}
}

// legacy are the attachment fields that Slack refuses beside blocks.
var legacy = []string{"text", "title", "pretext", "fields", "footer", "author_name", "callback_id", "mrkdwn_in", "actions"}

var hexColour = regexp.MustCompile(`^#?[0-9a-fA-F]{6}$`)

// validateAttachments checks attachments; blocks in them follow the rules of
// blocks.
func validateAttachments(raw []byte) []string {
	var p problems
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		p.add("/attachments", "must be a valid array of attachments")
		return p
	}
	if len(list) > maxAttachments {
		p.add("/attachments", "no more than %d items allowed", maxAttachments)
	}
	for i, a := range list {
		at := fmt.Sprintf("/attachments/%d", i)
		if len(a["blocks"]) == 0 {
			continue
		}
		for _, name := range legacy {
			if len(a[name]) > 0 {
				p = append(p, "[ERROR] invalid_keys")
			}
		}
		// Named colours (danger, good) show as grey beside blocks.
		if c := str(a["color"]); c != "" && !hexColour.MatchString(c) {
			p.add(at+"/color", "must be a valid hex color")
		}
		p = append(p, ValidateBlocks(a["blocks"], at+"/blocks")...)
	}
	return p
}

var metadataType = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)

// validateMetadata returns Slack's word for what is wrong, or "".
func validateMetadata(raw []byte) string {
	if len(raw) > maxMetadataBytes {
		return "metadata_too_large"
	}
	var m struct {
		Type    string         `json:"event_type"`
		Payload map[string]any `json:"event_payload"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&m); err != nil {
		return "invalid_metadata_format"
	}
	if !metadataType.MatchString(m.Type) || m.Payload == nil {
		return "invalid_metadata_schema"
	}
	for _, v := range m.Payload {
		switch v := v.(type) {
		case string, float64, bool:
		case map[string]any:
			for _, inner := range v {
				if _, deep := inner.(map[string]any); deep {
					return "invalid_metadata_schema"
				}
			}
		case []any:
		default:
			return "invalid_metadata_schema"
		}
	}
	return ""
}

func str(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// payload is what a message consists of, whatever the encoding it came in.
type payload struct {
	Text        string
	Blocks      json.RawMessage
	Attachments json.RawMessage
	Metadata    json.RawMessage
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func empty(raw json.RawMessage) bool {
	s := strings.Join(strings.Fields(string(raw)), "")
	return !given(raw) || s == "[]" || s == `""`
}

// verdict is what Slack says to a message: "" or an error word with messages.
func (m payload) verdict(limit int) (code string, messages []string) {
	layout := 0
	if given(m.Blocks) {
		if !json.Valid(m.Blocks) || m.Blocks[0] != '[' {
			return "invalid_blocks_format", nil
		}
		layout += len(m.Blocks)
		if msgs := ValidateBlocks(m.Blocks, "/blocks"); len(msgs) > 0 {
			return "invalid_blocks", msgs
		}
	}
	if given(m.Attachments) {
		layout += len(m.Attachments)
		if msgs := validateAttachments(m.Attachments); len(msgs) > 0 {
			return "invalid_attachments", msgs
		}
	}
	switch {
	case m.Text == "" && empty(m.Blocks) && empty(m.Attachments):
		return "no_text", nil
	case length(m.Text) > limit:
		return "msg_too_long", nil
	case layout > maxLayoutBytes:
		return "msg_blocks_too_long", nil
	}
	if given(m.Metadata) && string(m.Metadata) != "{}" {
		return validateMetadata(m.Metadata), nil
	}
	return "", nil
}

// Validate checks a message as a JSON object, as chat.update takes it, and
// returns what Slack would say against it.
func Validate(message []byte) []string {
	var o map[string]json.RawMessage
	if err := json.Unmarshal(message, &o); err != nil {
		return []string{"invalid_json"}
	}
	m := payload{Text: str(o["text"]), Blocks: o["blocks"], Attachments: o["attachments"], Metadata: o["metadata"]}
	code, messages := m.verdict(maxUpdateText)
	if code == "" {
		return nil
	}
	return append([]string{code}, messages...)
}
