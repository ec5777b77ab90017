package slackpage

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// block is a block of Block Kit, ready to be shown. Kind is one of header,
// section, context, divider, actions, rich, image and unknown.
type block struct {
	Kind    string
	Lines   []line   // header, section
	Fields  [][]line // section: two columns; context: its elements
	Buttons []button
	Rich    []rich
	Text    string // image: its alternative; unknown: its type
}

type button struct {
	Text  string
	Style string // primary, danger or nothing
	URL   string
}

// rich is a part of a rich text: section, preformatted, quote or list.
type rich struct {
	Kind    string
	Lines   []line
	Ordered bool
	Items   [][]line
}

// line is one line of text.
type line struct {
	Spans []span
	Quote bool
	Pre   bool
}

// span is text of one style.
type span struct {
	Text                       string
	Bold, Italic, Strike, Code bool
	Link                       string // http or https
	Mention                    bool
	Title                      string
}

// attachment is a message's attachment with a bar of a colour.
type attachment struct {
	Color  string // #rrggbb
	Title  string
	Lines  []line
	Blocks []block
}

// text is a text object.
type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func (t *text) lines() []line {
	switch {
	case t == nil:
		return nil
	case t.Type == "mrkdwn":
		return mrkdwn(t.Text)
	}
	return plain(t.Text)
}

// element is any element of a block, with the fields of all of them.
type element struct {
	Type      string          `json:"type"`
	Text      json.RawMessage `json:"text"` // a text object, or a string in rich text
	Style     json.RawMessage `json:"style"`
	URL       string          `json:"url"`
	AltText   string          `json:"alt_text"`
	Elements  []element       `json:"elements"`
	Name      string          `json:"name"`
	Unicode   string          `json:"unicode"`
	UserID    string          `json:"user_id"`
	GroupID   string          `json:"usergroup_id"`
	ChannelID string          `json:"channel_id"`
	Range     string          `json:"range"`
	Value     string          `json:"value"`
	Fallback  string          `json:"fallback"`
	Timestamp int64           `json:"timestamp"`
}

// blocksOf reads blocks. What cannot be read is shown as unknown.
func blocksOf(raw json.RawMessage) []block {
	if len(raw) == 0 {
		return nil
	}
	var list []struct {
		Type      string    `json:"type"`
		Text      *text     `json:"text"`
		Fields    []*text   `json:"fields"`
		Elements  []element `json:"elements"`
		Accessory *element  `json:"accessory"`
		AltText   string    `json:"alt_text"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return []block{{Kind: "unknown", Text: "blocks that are no JSON"}}
	}
	var out []block
	for _, b := range list {
		v := block{Kind: b.Type}
		switch b.Type {
		case "header":
			v.Lines = b.Text.lines()
		case "section":
			v.Lines = b.Text.lines()
			for _, f := range b.Fields {
				v.Fields = append(v.Fields, f.lines())
			}
			if b.Accessory != nil && b.Accessory.Type == "button" {
				v.Buttons = []button{buttonOf(*b.Accessory)}
			}
		case "context":
			for _, e := range b.Elements {
				v.Fields = append(v.Fields, contextOf(e))
			}
		case "actions":
			for _, e := range b.Elements {
				v.Buttons = append(v.Buttons, buttonOf(e))
			}
		case "rich_text":
			v.Kind = "rich"
			for _, e := range b.Elements {
				v.Rich = append(v.Rich, richOf(e))
			}
		case "image":
			v.Text = b.AltText
		case "divider":
		default:
			v.Kind, v.Text = "unknown", b.Type
		}
		out = append(out, v)
	}
	return out
}

func contextOf(e element) []line {
	var s string
	if json.Unmarshal(e.Text, &s) != nil {
		return plain(e.AltText)
	}
	if e.Type == "mrkdwn" {
		return mrkdwn(s)
	}
	return plain(s)
}

func buttonOf(e element) button {
	var t text
	_ = json.Unmarshal(e.Text, &t) // other elements have none
	var style string
	_ = json.Unmarshal(e.Style, &style) // most have none
	if style != "primary" && style != "danger" {
		style = ""
	}
	if t.Text == "" {
		t.Text = e.Type
	}
	return button{Text: t.Text, Style: style, URL: webOnly(e.URL)}
}

func richOf(e element) rich {
	v := rich{Kind: strings.TrimPrefix(e.Type, "rich_text_")}
	if v.Kind == "list" {
		var style string
		_ = json.Unmarshal(e.Style, &style) // bullet without
		v.Ordered = style == "ordered"
		for _, item := range e.Elements {
			v.Items = append(v.Items, inlines(item.Elements))
		}
		return v
	}
	v.Lines = inlines(e.Elements)
	return v
}

// inlines puts elements of rich text into lines.
func inlines(elements []element) []line {
	lines := []line{{}}
	for _, e := range elements {
		s := inline(e)
		for i, part := range strings.Split(s.Text, "\n") {
			if i > 0 {
				lines = append(lines, line{})
			}
			if part != "" {
				s.Text = part
				last := &lines[len(lines)-1]
				last.Spans = append(last.Spans, s)
			}
		}
	}
	return lines
}

func inline(e element) span {
	var s span
	_ = json.Unmarshal(e.Text, &s.Text) // some have none
	var style struct{ Bold, Italic, Strike, Code bool }
	_ = json.Unmarshal(e.Style, &style) // most have none
	s.Bold, s.Italic, s.Strike, s.Code = style.Bold, style.Italic, style.Strike, style.Code
	switch e.Type {
	case "text":
	case "link":
		if s.Link = webOnly(e.URL); s.Text == "" {
			s.Text = e.URL
		}
	case "date":
		s.Text, s.Title = e.Fallback, time.Unix(e.Timestamp, 0).UTC().Format(time.RFC3339)
	case "emoji":
		s.Text = emoji(e)
	case "user":
		s.Text, s.Mention = "@"+e.UserID, true
	case "usergroup":
		s.Text, s.Mention = "@"+e.GroupID, true
	case "broadcast":
		s.Text, s.Mention = "@"+e.Range, true
	case "channel":
		s.Text, s.Mention = "#"+e.ChannelID, true
	case "color":
		s.Text = e.Value
	default:
		s.Text = fmt.Sprintf("[%s]", e.Type)
	}
	return s
}

// emoji writes an emoji by its code points, such as 1f469-200d-1f4bb.
func emoji(e element) string {
	var out []rune
	for code := range strings.SplitSeq(e.Unicode, "-") {
		n, err := strconv.ParseInt(code, 16, 32)
		if err != nil {
			return ":" + e.Name + ":"
		}
		out = append(out, rune(n))
	}
	return string(out)
}

var hexColor = regexp.MustCompile(`^#?([0-9a-fA-F]{6})$`)

func attachmentsOf(raw json.RawMessage) []attachment {
	if len(raw) == 0 {
		return nil
	}
	var list []struct {
		Color    string          `json:"color"`
		Title    string          `json:"title"`
		Text     string          `json:"text"`
		Fallback string          `json:"fallback"`
		Blocks   json.RawMessage `json:"blocks"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return []attachment{{Lines: plain("attachments that are no JSON")}}
	}
	var out []attachment
	for _, a := range list {
		v := attachment{Color: "#dddddd", Title: a.Title, Blocks: blocksOf(a.Blocks)}
		if m := hexColor.FindStringSubmatch(a.Color); m != nil {
			v.Color = "#" + m[1]
		}
		switch {
		case a.Text != "":
			v.Lines = mrkdwn(a.Text)
		case len(v.Blocks) == 0:
			v.Lines = plain(a.Fallback)
		}
		out = append(out, v)
	}
	return out
}

// webOnly drops addresses that are not of the web.
func webOnly(url string) string {
	if strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
		return url
	}
	return ""
}
