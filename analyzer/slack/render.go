package slack

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/keytrail/keytrail/analyzer"
)

// eventType names our metadata on a message.
const eventType = "keytrail_alert"

// maxLayout bounds the JSON of all blocks of a message. Slack refuses messages
// over roughly 13,200 bytes of blocks with msg_blocks_too_long, a limit that its
// reference does not give (slackapi/bolt-js issue 2509).
const maxLayout = 12_000

// maxText bounds the fallback text; chat.update takes 4,000 characters.
const maxText = 3_000

// maxCommand bounds the undo command, which is shown whole or not at all.
const maxCommand = 2_500

// View is how a notice is shown.
type View struct {
	// Mentions by severity are put under the first sentence: "here", "channel",
	// a user id (U…) or a user group id (S…). They come from the settings only;
	// see CheckMention.
	Mentions map[analyzer.Severity]string
	// Threads is true where repeats appear in a thread. Where they cannot, the
	// message says so.
	Threads bool
	// MaybeSecond says plainly that the same message may be there already.
	MaybeSecond bool
	// Revision goes into the metadata.
	Revision int
}

// Message is what is sent to Slack, in the shape of its API.
type Message struct {
	Channel     string                  `json:"channel,omitempty"`
	Text        string                  `json:"text"` // for notifications and screen readers
	Blocks      slackapi.Blocks         `json:"blocks"`
	Attachments []slackapi.Attachment   `json:"attachments"`
	Metadata    *slackapi.SlackMetadata `json:"metadata,omitempty"`
	ThreadTS    string                  `json:"thread_ts,omitempty"`
	Broadcast   bool                    `json:"reply_broadcast,omitempty"`
	UnfurlLinks bool                    `json:"unfurl_links"`
	UnfurlMedia bool                    `json:"unfurl_media"`
}

// size is the JSON length of everything that Slack counts as layout.
func (m Message) size() int {
	n := 0
	for _, v := range []any{m.Blocks, m.Attachments} {
		b, err := json.Marshal(v)
		if err != nil {
			return 1 << 30 // cannot happen: the types are plain structs
		}
		n += len(b)
	}
	return n
}

type look struct{ emoji, word, colour string }

// looks tells severities apart three ways, so that colour alone never does.
var looks = [...]look{
	analyzer.Info:     {"⚪", "Info", "#8d8d8d"},
	analyzer.Low:      {"🔵", "Low", "#3b7dd8"},
	analyzer.Medium:   {"🟡", "Medium", "#e3b341"},
	analyzer.High:     {"🟠", "High", "#e8730c"},
	analyzer.Critical: {"🔴", "Critical", "#c4161c"},
}

func lookOf(s analyzer.Severity) look { return looks[min(max(s, analyzer.Info), analyzer.Critical)] }

var mentionShape = regexp.MustCompile(`^[UWS][A-Z0-9]{5,20}$`)

// CheckMention tells whether a mention from the settings can be shown.
func CheckMention(m string) error {
	switch m {
	case "", "here", "channel":
		return nil
	}
	if mentionShape.MatchString(m) {
		return nil
	}
	return fmt.Errorf("slack mention %q: use here, channel, a user id (U…) or a user group id (S…)", clean(m, 40))
}

func mention(m string) string {
	switch {
	case m == "" || CheckMention(m) != nil:
		return ""
	case m[0] == 'S':
		return "<!subteam^" + m + ">"
	case m[0] == 'U' || m[0] == 'W':
		return "<@" + m + ">"
	}
	return "<!" + m + ">"
}

// Render writes the message of an alert. It is a pure function, and whatever
// the notice holds, the result keeps Slack's limits, mentions nobody but the
// view's Mention and links nowhere but to the runbook.
//
// The layout is one header and one sentence, then the details beside a bar in
// the colour of the severity. Text is in rich_text blocks: Slack does not parse
// the text in them, so there is nothing to break out of, the code block
// included, and what is copied from them is exactly what was meant.
func Render(n Notice, v View) Message {
	for scale := 1; ; scale *= 2 {
		m := render(n, v, scale)
		// At 16 nothing but the frame is left, which fits.
		if m.size() <= maxLayout || scale >= 16 {
			return m
		}
	}
}

func render(n Notice, v View, scale int) Message {
	a := n.Alert
	l := lookOf(a.Severity)
	lim := func(n int) int { return n / scale }

	title := clean(a.Title, 110)
	if title == "" {
		title = strings.TrimSpace("Alert " + clean(a.Detection, 100))
	}
	what := clean(n.What, lim(700))
	if what == "" {
		what = title
	}

	head := []slackapi.Block{
		slackapi.NewHeaderBlock(slackapi.NewTextBlockObject(slackapi.PlainTextType, l.emoji+" "+l.word+": "+title, false, false)),
		richText(section(text(what))),
	}
	if m := mention(v.Mentions[a.Severity]); m != "" {
		head = append(head, slackapi.NewSectionBlock(slackapi.NewTextBlockObject(slackapi.MarkdownType, m, false, false), nil, nil))
	}
	if v.MaybeSecond {
		head = append(head, note("Slack's answer to an earlier try was lost: this may be the second copy of one alert."))
	}

	details := []slackapi.Block{richText(section(facts(n, lim)...))}
	if risk := explain(n, lim); len(risk) > 0 {
		details = append(details, richText(section(risk...)))
	}
	if do := advice(n, lim, scale); len(do) > 0 {
		details = append(details, richText(do...))
	}
	details = append(details, note(footer(n, v, lim)))

	return Message{
		Text:        fallback(n, what),
		Blocks:      slackapi.Blocks{BlockSet: head},
		Attachments: []slackapi.Attachment{{Color: l.colour, Blocks: slackapi.Blocks{BlockSet: details}}},
		Metadata:    metadata(n, "parent", v.Revision),
	}
}

// metadata marks a message as ours, so that it can be found again.
func metadata(n Notice, kind string, revision int) *slackapi.SlackMetadata {
	a := n.Alert
	return &slackapi.SlackMetadata{EventType: eventType, EventPayload: map[string]any{
		"alert_id":  cut(n.id(), 200),
		"kind":      kind,
		"revision":  revision,
		"detection": cut(a.Detection, 100),
		"severity":  a.Severity.String(),
		"count":     a.Count,
	}}
}

// facts are the lines who, from, key, account, when, how often.
func facts(n Notice, lim func(int) int) []slackapi.RichTextSectionElement {
	a := n.Alert
	var rows rows
	rows.add("Who", clean(n.Who, lim(300)))
	if p := clean(a.Principal, lim(300)); p != "" && p != clean(n.Who, lim(300)) {
		rows.code("", p)
	}
	if p := clean(n.Partner, lim(80)); p != "" {
		rows.add("", "belongs to the partner "+p)
	}
	rows.add("From", clean(n.From, lim(300)))
	switch alias := clean(n.KeyAlias, lim(260)); {
	case a.Key == "":
	case alias != "":
		rows.add("Key", alias)
		rows.code("", clean(a.Key, lim(300)))
	default:
		rows.code("Key", clean(a.Key, lim(300)))
	}
	account := clean(a.Account, lim(40))
	if name := clean(n.AccountName, lim(100)); name != "" {
		account = name + " (" + account + ")"
	}
	if r := clean(a.Region, lim(40)); r != "" {
		account = strings.TrimPrefix(account+", "+r, ", ")
	}
	rows.add("Account", account)
	rows.when(a)
	rows.add("How often", howOften(a))
	rows.add("Now", standing(a, lim))
	return rows.elements()
}

// standing says what became of the alert; nothing while it is open.
func standing(a analyzer.Alert, lim func(int) int) string {
	s := ""
	if a.State != "" && a.State != analyzer.AlertOpen {
		s = clean(string(a.State), lim(40))
		if by := clean(a.StateBy, lim(100)); by != "" {
			s += " by " + by
		}
	}
	if a.Action == analyzer.ActionNone || a.Action == analyzer.ActionDigest {
		if why := clean(a.Reason, lim(200)); why != "" && s != "" {
			s += " (" + why + ")"
		} else if why != "" {
			s = "quiet: " + why
		}
	}
	return s
}

func howOften(a analyzer.Alert) string {
	s := grouped(a.Count) + " events"
	if a.Count == 1 {
		s = "once"
	}
	if d := a.LastTime.Sub(a.FirstTime); a.Count > 1 && d > 0 && !a.FirstTime.IsZero() {
		s += " in " + span(d)
	}
	if k := len(a.FindingIDs); k > 1 {
		s += fmt.Sprintf(", %d findings", k)
	}
	return s
}

// span writes a duration the way people say it.
func span(d time.Duration) string {
	unit := func(n int64, name string) string {
		if n == 1 {
			return "1 " + name
		}
		return fmt.Sprintf("%d %ss", n, name)
	}
	switch {
	case d < time.Minute:
		return unit(max(int64(d/time.Second), 1), "second")
	case d < 2*time.Hour:
		return unit(int64(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return unit(int64(d/time.Hour), "hour")
	}
	return unit(int64(d/(24*time.Hour)), "day")
}

// explain says what is at risk, what changed, and the rest of the evidence.
func explain(n Notice, lim func(int) int) []slackapi.RichTextSectionElement {
	var rows rows
	rows.add("At risk", clean(n.AtRisk, lim(500)))
	rows.add("Changed", clean(n.Changed, lim(700)))
	for i, f := range n.Facts {
		if i == 8 {
			rows.add("", fmt.Sprintf("and %d more: keytrail explain shows all", len(n.Facts)-i))
			break
		}
		rows.add(clean(f.Name, lim(60)), clean(f.Value, lim(300)))
	}
	return rows.elements()
}

// advice says what to do, with the command to undo it and the runbook.
func advice(n Notice, lim func(int) int, scale int) []slackapi.RichTextElement {
	var list []slackapi.RichTextElement
	var first []slackapi.RichTextSectionElement
	if do := steps(n.Do, lim(1_000)); do != "" {
		first = append(first, bold("What to do  "), text(do))
	}
	command, why := command(n.Undo)
	if scale >= 8 && command != "" {
		command, why = "", "No command is shown: the alert is too long. See the runbook."
	}
	noteText := clean(n.UndoNote, lim(300))
	if command != "" {
		if len(first) > 0 {
			first = append(first, text("\n"))
		}
		first = append(first, bold(purpose(command)))
		if noteText != "" {
			first = append(first, text("  "+noteText))
		}
	} else if why = strings.TrimSpace(why + " " + noteText); why != "" {
		if len(first) > 0 {
			first = append(first, text("\n"))
		}
		first = append(first, text(why))
	}
	if len(first) > 0 {
		list = append(list, section(first...))
	}
	if command != "" {
		list = append(list, &slackapi.RichTextPreformatted{
			Type: slackapi.RTEPreformatted, Elements: []slackapi.RichTextSectionElement{text(command)},
		})
	}
	if link := safeLink(n.RunbookURL); link != "" {
		list = append(list, section(slackapi.NewRichTextSectionLinkElement(link, "Runbook: check, contain, recover", nil)))
	}
	return list
}

// stepStart is where a numbered step begins: "2. Look at …".
var stepStart = regexp.MustCompile(`(?:^|\s)[1-9]\.\s`)

// steps puts each numbered step on a line of its own.
func steps(s string, limit int) string {
	at := stepStart.FindAllStringIndex(s, -1)
	if len(at) < 2 {
		return clean(s, limit)
	}
	var lines []string
	if intro := clean(s[:at[0][0]], limit); intro != "" {
		lines = append(lines, intro)
	}
	for i, a := range at {
		end := len(s)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		lines = append(lines, clean(s[a[0]:end], limit))
	}
	return cut("\n"+strings.Join(lines, "\n"), limit)
}

// looking is a command that only shows something.
var looking = regexp.MustCompile(`^aws [a-z0-9-]+ (?:get|list|describe|lookup)-[^\n;&|]*$`)

// purpose says what a command is for: not every alert can be undone.
func purpose(command string) string {
	if looking.MatchString(command) {
		return "To begin with"
	}
	return "To undo it"
}

// command returns a command line that can be shown as it is, or why it cannot.
func command(undo string) (cmd, why string) {
	undo = strings.TrimSpace(undo)
	switch {
	case undo == "":
		return "", ""
	case width(undo) > maxCommand:
		return "", "No command is shown: it would be too long. See the runbook."
	case hasUnseen(strings.ReplaceAll(undo, "\n", "")):
		// BuildNotice quotes such characters; a notice built otherwise may not.
		return "", "No command is shown: it has characters that cannot be seen."
	}
	return undo, ""
}

// safeLink lets web addresses through.
func safeLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || width(s) > 1000 || u.User != nil {
		return ""
	}
	return u.String()
}

// footer names the detection, the alert and its events.
func footer(n Notice, v View, lim func(int) int) string {
	a := n.Alert
	s := clean(a.Detection, 40) + " · alert " + clean(a.ID, 60)
	ids := a.Latest.EventIDs
	show := ids[:min(len(ids), max(lim(6), 1))]
	if len(show) > 0 {
		s += " · events"
		for _, id := range show {
			s += " " + clean(id, 60)
		}
		if rest := max(a.Count, int64(len(ids))) - int64(len(show)); rest > 0 {
			s += fmt.Sprintf(" and %s more", grouped(rest))
		}
	}
	if !v.Threads {
		s += " · Sent by webhook: repeats are not shown here, only a rise in severity is. keytrail shows the current count."
	}
	return s
}

// fallback is the text of notifications.
func fallback(n Notice, what string) string {
	a := n.Alert
	l := lookOf(a.Severity)
	where := clean(n.AccountName, 80)
	if where == "" {
		where = clean(a.Account, 40)
	}
	if r := clean(a.Region, 40); r != "" {
		where = strings.TrimPrefix(where+", "+r, ", ")
	}
	if strings.Contains(what, where) {
		where = "" // the sentence has it
	}
	s := mrkdwn(l.word + ": " + cut(what, 500))
	if where != "" {
		s += " (" + mrkdwn(where) + ")"
	}
	return l.emoji + " " + cut(s, 1_500)
}

// Plain writes the message without any layout, for when Slack does not take
// the layout.
func Plain(n Notice, v View) Message {
	a := n.Alert
	lines := []string{fallback(n, clean(n.What, 700))}
	if m := mention(v.Mentions[a.Severity]); m != "" {
		lines = append(lines, m)
	}
	add := func(name, s string, limit int) {
		if s = clean(s, limit); s != "" {
			lines = append(lines, name+": "+mrkdwn(s))
		}
	}
	add("Who", n.Who+" "+a.Principal, 300)
	add("From", n.From, 200)
	add("Key", n.KeyAlias+" "+a.Key, 300)
	add("When", utc(a.FirstTime)+" to "+utc(a.LastTime)+", "+howOften(a), 200)
	add("At risk", n.AtRisk, 300)
	add("Alert", a.Detection+" "+a.ID, 100)
	lines = append(lines, "Slack did not take the full message. `keytrail explain` shows everything, the command to undo it included.")
	if link := safeLink(n.RunbookURL); link != "" && !strings.ContainsAny(link, "<>|&") {
		lines = append(lines, "Runbook: <"+link+">")
	}
	return Message{
		Text: cut(strings.Join(lines, "\n"), maxText), Metadata: metadata(n, "parent", v.Revision),
		Blocks: slackapi.Blocks{BlockSet: []slackapi.Block{}}, Attachments: []slackapi.Attachment{},
	}
}

// rows collects "name  value" lines of one rich text section.
type rows struct {
	list []slackapi.RichTextSectionElement
}

func (r *rows) name(name string) {
	if len(r.list) > 0 {
		r.list = append(r.list, text("\n"))
	}
	if name != "" {
		r.list = append(r.list, bold(name+"  "))
	}
}

func (r *rows) add(name, value string) {
	if value != "" {
		r.name(name)
		r.list = append(r.list, text(value))
	}
}

// code is for what is copied: ARNs.
func (r *rows) code(name, value string) {
	if value != "" {
		r.name(name)
		r.list = append(r.list, slackapi.NewRichTextSectionTextElement(value, &slackapi.RichTextSectionTextStyle{Code: true}))
	}
}

// when shows times in the reader's own zone.
func (r *rows) when(a analyzer.Alert) {
	first, last := a.FirstTime, a.LastTime
	if first.IsZero() {
		first = last
	}
	if first.IsZero() {
		return
	}
	r.name("When")
	r.list = append(r.list, date(first))
	if last.Sub(first) >= time.Second {
		r.list = append(r.list, text(" to "), date(last))
	}
}

func (r *rows) elements() []slackapi.RichTextSectionElement { return r.list }

// date shows a time in the zone of whoever reads it; the fallback is in UTC.
func date(t time.Time) slackapi.RichTextSectionElement {
	f := utc(t)
	if t.Year() < 1971 || t.Year() > 9999 {
		return text(f) // a clock gone wrong; Slack has no such dates
	}
	return slackapi.NewRichTextSectionDateElement(t.Unix(), "{date_short_pretty} at {time_secs}", nil, &f)
}

func text(s string) slackapi.RichTextSectionElement {
	return slackapi.NewRichTextSectionTextElement(s, nil)
}

func bold(s string) slackapi.RichTextSectionElement {
	return slackapi.NewRichTextSectionTextElement(s, &slackapi.RichTextSectionTextStyle{Bold: true})
}

func section(e ...slackapi.RichTextSectionElement) slackapi.RichTextElement {
	return slackapi.NewRichTextSection(e...)
}

func richText(e ...slackapi.RichTextElement) slackapi.Block {
	return slackapi.NewRichTextBlock("", e...)
}

// note is small grey text.
func note(s string) slackapi.Block {
	return slackapi.NewContextBlock("", slackapi.NewTextBlockObject(slackapi.PlainTextType, cut(s, 2000), false, false))
}
