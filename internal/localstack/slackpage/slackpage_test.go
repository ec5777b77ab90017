package slackpage_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/internal/localstack/slackpage"
)

// workspace holds messages as they are given.
type workspace []slacktest.Message

func (w workspace) Messages(channel string) (list []slacktest.Message) {
	for _, m := range w {
		if m.Channel == channel && (m.ThreadTS == "" || m.ThreadTS == m.TS) {
			list = append(list, m)
		}
	}
	return list
}

func (w workspace) Thread(channel, ts string) (list []slacktest.Message) {
	for _, m := range w {
		if m.Channel == channel && m.ThreadTS == ts && m.TS != ts {
			list = append(list, m)
		}
	}
	return list
}

// get asks for a page of channels C1 and C2.
func get(t *testing.T, w slackpage.Workspace, path string, headers ...string) (status int, body string, head http.Header) {
	t.Helper()
	h := slackpage.Handler(w, []slackpage.Channel{{ID: "C1", Name: "alerts"}, {ID: "C2", Name: "payments"}})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	out, err := io.ReadAll(rec.Result().Body)
	require.NoError(t, err)
	return rec.Code, string(out), rec.Header()
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// seen is the text of a page without tags.
func seen(html string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(tags.ReplaceAllString(html, " "), " "))
}

func message(blocks string) slacktest.Message {
	return slacktest.Message{Channel: "C1", TS: "1772421164.000001", BotID: "B0KEYTRAIL", Text: "the fallback", Blocks: json.RawMessage(blocks)}
}

func TestAChannelShowsItsMessagesAndTheirThreads(t *testing.T) {
	w := workspace{
		{Channel: "C1", TS: "1772421164.000001", ThreadTS: "1772421164.000001", BotID: "B0KEYTRAIL", Text: "*Key* policy &lt;opened&gt;", Edited: true},
		{Channel: "C1", TS: "1772421165.000001", ThreadTS: "1772421164.000001", BotID: "B0KEYTRAIL", Text: "again"},
		{Channel: "C1", TS: "1772521165.000001", User: "U0SOMEBODY", Text: "looking"},
		{Channel: "C2", TS: "1772421166.000001", Text: "elsewhere"},
	}
	status, body, _ := get(t, w, "/channels/C1")
	require.Equal(t, http.StatusOK, status)
	text := seen(body)
	require.Contains(t, text, "# alerts 2 # payments 1")
	require.Contains(t, text, "Monday, 2 March 2026 K Keytrail APP 03:12:44 UTC Key policy &lt;opened&gt; (edited) 1 reply K Keytrail APP 03:12:45 UTC again Tuesday, 3 March 2026 ? U0SOMEBODY")
	require.NotContains(t, text, "elsewhere")
	require.Contains(t, body, `<span class="bold ">Key</span>`)

	status, _, head := get(t, w, "/")
	require.Equal(t, http.StatusFound, status)
	require.Equal(t, "/channels/C1", head.Get("Location"))
	status, _, _ = get(t, w, "/channels/C3")
	require.Equal(t, http.StatusNotFound, status)
	for _, file := range []string{"/page.css", "/page.js"} {
		status, _, _ = get(t, w, file)
		require.Equal(t, http.StatusOK, status)
	}
}

func TestARefreshWithoutNewsIsEmpty(t *testing.T) {
	w := workspace{{Channel: "C1", TS: "1772421164.000001", Text: "one"}}
	_, _, head := get(t, w, "/channels/C1/messages")
	etag := head.Get("ETag")
	status, body, _ := get(t, w, "/channels/C1/messages", "If-None-Match", etag)
	require.Equal(t, http.StatusNotModified, status)
	require.Empty(t, body)
	status, _, _ = get(t, append(w, slacktest.Message{Channel: "C1", TS: "1772421165.000001", Text: "two"}), "/channels/C1/messages", "If-None-Match", etag)
	require.Equal(t, http.StatusOK, status)
}

func TestBlocksAreShown(t *testing.T) {
	for name, c := range map[string]struct{ blocks, want string }{
		"header":  {`[{"type":"header","text":{"type":"plain_text","text":"*Title*"}}]`, `*Title*`},
		"section": {`[{"type":"section","text":{"type":"mrkdwn","text":"a\nb"},"fields":[{"type":"plain_text","text":"f1"},{"type":"plain_text","text":"f2"}],"accessory":{"type":"button","text":{"type":"plain_text","text":"Go"}}}]`, `a b f1 f2 Go`},
		"context": {`[{"type":"context","elements":[{"type":"plain_text","text":"KMS-P03"},{"type":"mrkdwn","text":"*x*"},{"type":"image","alt_text":"pic"}]}]`, `KMS-P03 x pic`},
		"actions": {`[{"type":"actions","elements":[{"type":"button","style":"danger","text":{"type":"plain_text","text":"Silence"}},{"type":"button","url":"https://example.com/","text":{"type":"plain_text","text":"Runbook"}}]}]`, `Silence Runbook`},
		"divider": {`[{"type":"divider"}]`, ``},
		"image":   {`[{"type":"image","alt_text":"a graph","image_url":"https://example.com/x.png"}]`, `🖼 a graph`},
		"unknown": {`[{"type":"video"}]`, `[a block of type video]`},
		"no JSON": {`{`, `[a block of type blocks that are no JSON]`},
		"rich text": {
			`[{"type":"rich_text","elements":[
			{"type":"rich_text_section","elements":[{"type":"text","text":"Who  ","style":{"bold":true}},{"type":"text","text":"x\ny"},{"type":"link","url":"https://example.com/a","text":"there"},
				{"type":"date","timestamp":1772421164,"format":"{date}","fallback":"2 Mar 2026"},{"type":"user","user_id":"U1"},{"type":"broadcast","range":"here"},{"type":"emoji","name":"warning","unicode":"26a0-fe0f"},{"type":"emoji","name":"own"}]},
			{"type":"rich_text_list","style":"ordered","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"first"}]}]},
			{"type":"rich_text_quote","elements":[{"type":"text","text":"said"}]},
			{"type":"rich_text_preformatted","elements":[{"type":"text","text":"aws kms\nlist-keys"}]}]}]`,
			`Who x y there 2 Mar 2026 @U1 @here ⚠️ :own: first said aws kms list-keys`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, body, _ := get(t, workspace{message(c.blocks)}, "/channels/C1/messages")
			_, content, _ := strings.Cut(seen(body), "03:12:44 UTC")
			require.Equal(t, c.want, strings.TrimSpace(content), "and not the fallback")
		})
	}
}

func TestMrkdwn(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                           `<div class="line"><span class="">plain</span></div>`,
		"*b* _i_ ~s~ `*c*`":               `<div class="line"><span class="bold ">b</span><span class=""> </span><span class="italic ">i</span><span class=""> </span><span class="strike ">s</span><span class=""> </span><span class="code ">*c*</span></div>`,
		"*_both_*":                        `<div class="line"><span class="bold italic ">both</span></div>`,
		"2*3*4 snake_case_name * a *":     `<div class="line"><span class="">2*3*4 snake_case_name * a *</span></div>`,
		"&lt;b&gt; &amp;lt;":              `<div class="line"><span class="">&lt;b&gt; &amp;lt;</span></div>`,
		"&gt;said":                        `<div class="line quote"><span class="">said</span></div>`,
		"<https://example.com/?a=1|here>": `<div class="line"><span class=""><a href="https://example.com/?a=1" target="_blank" rel="noopener noreferrer">here</a></span></div>`,
		"<!here> <@U1> <#C1>":             `<div class="line"><span class="mention ">@here</span><span class=""> </span><span class="mention ">@U1</span><span class=""> </span><span class="mention ">#C1</span></div>`,
		"<!date^1^{date}|then>":           `<div class="line"><span class="">then</span></div>`,
		"a\n```x\n*y*```":                 `<div class="line"><span class="">a</span></div><div class="line"></div><div class="line pre"><span class="">x</span></div><div class="line pre"><span class="">*y*</span></div>`,
	} {
		t.Run(in, func(t *testing.T) {
			_, body, _ := get(t, workspace{{Channel: "C1", TS: "1772421164.000001", Text: in}}, "/channels/C1/messages")
			require.Contains(t, body, want)
		})
	}
}

// TestTextOfAttackersStaysText puts what would run into every place of a
// message.
func TestTextOfAttackersStaysText(t *testing.T) {
	for _, evil := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</pre></div><iframe src=//x>`,
		`javascript:alert(1)`, `<javascript:alert(1)|click>`, `red;background:url(//x)`, "`*_~<", `{{.}}`, `<a href="x">`,
	} {
		j, err := json.Marshal(evil)
		require.NoError(t, err)
		s := string(j)
		m := message(`[
			{"type":"header","text":{"type":"plain_text","text":` + s + `}},
			{"type":"section","text":{"type":"mrkdwn","text":` + s + `},"fields":[{"type":"mrkdwn","text":` + s + `}]},
			{"type":"context","elements":[{"type":"plain_text","text":` + s + `}]},
			{"type":"actions","elements":[{"type":"button","style":` + s + `,"url":` + s + `,"text":{"type":"plain_text","text":` + s + `}}]},
			{"type":"image","alt_text":` + s + `},{"type":` + s + `},
			{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":` + s + `},{"type":"link","url":` + s + `,"text":` + s + `},
				{"type":"date","fallback":` + s + `},{"type":"user","user_id":` + s + `},{"type":"emoji","name":` + s + `},{"type":` + s + `}]},
				{"type":"rich_text_preformatted","elements":[{"type":"text","text":` + s + `}]}]}]`)
		m.Attachments = json.RawMessage(`[{"color":` + s + `,"title":` + s + `,"text":` + s + `}]`)
		m.TS = "1772421164.000001"
		plain := slacktest.Message{Channel: "C1", TS: `1"><script>`, User: evil, Text: evil}
		_, body, head := get(t, workspace{m, plain}, "/channels/C1")
		require.Equal(t, 1, strings.Count(body, "<script"), "the page's own\n%s", body)
		for _, tag := range []string{"<img", "<iframe", "onerror=alert(1)>", `href="javascript`, "url(//x)\"", " onmouseover='"} {
			require.NotContains(t, body, tag)
		}
		require.Contains(t, head.Get("Content-Security-Policy"), "script-src 'self'")
		require.NotContains(t, head.Get("Content-Security-Policy"), "script-src 'self' 'unsafe-inline'")
		require.Contains(t, body, `style="border-left-color: #dddddd"`)
	}
}

func TestKeytrailsOwnMessagesAreShown(t *testing.T) {
	paths, err := filepath.Glob("../../../analyzer/slack/testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var m slacktest.Message
		require.NoError(t, json.Unmarshal(raw, &m))
		m.Channel, m.TS, m.BotID = "C1", "1772421164.000001", "B0KEYTRAIL"
		_, body, _ := get(t, workspace{m}, "/channels/C1/messages")
		text := seen(body)
		require.NotContains(t, text, "a block of type", path)
		for _, want := range []string{"Who", "What to do", "Runbook"} {
			require.Contains(t, text, want, path)
		}
		require.Regexp(t, `border-left-color: #[0-9a-f]{6}`, body)
	}
}
