package slacktest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
)

// clock is set by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

type client struct {
	t     *testing.T
	s     *slacktest.Server
	clock *clock
}

func start(t *testing.T) client {
	t.Helper()
	c := &clock{time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	s := slacktest.New(c.now)
	t.Cleanup(s.Close)
	return client{t, s, c}
}

func (c client) do(req *http.Request) (status int, header http.Header, body string) {
	c.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	require.NoError(c.t, resp.Body.Close())
	return resp.StatusCode, resp.Header, string(b)
}

// form calls a method with pairs of arguments.
func (c client) form(method string, pairs ...string) map[string]any {
	c.t.Helper()
	v := url.Values{"token": {slacktest.Token}}
	for p := range slices.Chunk(pairs, 2) {
		v.Set(p[0], p[1])
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.s.URL+method, strings.NewReader(v.Encode()))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, _, body := c.do(req)
	var out map[string]any
	require.NoError(c.t, json.Unmarshal([]byte(body), &out), body)
	return out
}

func (c client) hook(u, body string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, u, strings.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", "application/json")
	status, _, answer := c.do(req)
	return status, answer
}

func TestBodiesMayBeFormsOrJSON(t *testing.T) {
	c := start(t)
	require.Equal(t, true, c.form("chat.postMessage", "channel", "C0ALERTS", "text", "a form")["ok"])

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.s.URL+"chat.postMessage",
		strings.NewReader(`{"channel":"#alerts","text":"JSON <!here> &amp; *x*","metadata":{"event_type":"x","event_payload":{"n":1}}}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Authorization", "Bearer "+slacktest.Token)
	_, _, body := c.do(req)
	require.Contains(t, body, `"ok":true`)

	list := c.s.Messages("C0ALERTS")
	require.Len(t, list, 2)
	require.Equal(t, "JSON <!here> &amp; *x*", list[1].Text, "text is kept as sent")
	require.JSONEq(t, `{"event_type":"x","event_payload":{"n":1}}`, string(list[1].Metadata))
	require.NotContains(t, fmt.Sprint(c.s.Calls("")), slacktest.Token)

	req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, c.s.URL+"auth.test", strings.NewReader(`{"token":"`+slacktest.Token+`"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	_, _, body = c.do(req)
	require.Contains(t, body, "not_authed", "Slack takes no token from JSON")
}

func TestErrorsHaveSlacksWords(t *testing.T) {
	blocks := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"type":"divider"},`, n), ",") + "]"
	}
	section := func(text string) string {
		return `[{"type":"section","text":{"type":"mrkdwn","text":"` + text + `"}}]`
	}
	for name, c := range map[string]struct {
		args    []string
		want    string
		message string
	}{
		"nothing to say":      {[]string{}, "no_text", ""},
		"a wrong token":       {[]string{"token", "xoxb-1", "text", "x"}, "invalid_auth", ""},
		"no token":            {[]string{"token", "", "text", "x"}, "not_authed", ""},
		"an unknown channel":  {[]string{"channel", "C0X", "text", "x"}, "channel_not_found", ""},
		"a foreign channel":   {[]string{"channel", "C0OTHER", "text", "x"}, "not_in_channel", ""},
		"an archived channel": {[]string{"channel", "C0OLD", "text", "x"}, "is_archived", ""},
		"blocks not JSON":     {[]string{"blocks", "{"}, "invalid_blocks_format", ""},
		"51 blocks":           {[]string{"blocks", blocks(51)}, "invalid_blocks", "[ERROR] no more than 50 items allowed [json-pointer:/blocks]"},
		"long section":        {[]string{"blocks", section(strings.Repeat("a", 3001))}, "invalid_blocks", "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
		"empty section":       {[]string{"blocks", section("")}, "invalid_blocks", "[ERROR] must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		"long header":         {[]string{"blocks", `[{"type":"header","text":{"type":"plain_text","text":"` + strings.Repeat("a", 151) + `"}}]`}, "invalid_blocks", "[ERROR] must be less than 151 characters [json-pointer:/blocks/0/text/text]"},
		"mrkdwn header":       {[]string{"blocks", `[{"type":"header","text":{"type":"mrkdwn","text":"a"}}]`}, "invalid_blocks", "[ERROR] unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"},
		"11 fields":           {[]string{"blocks", `[{"type":"section","fields":[` + strings.TrimSuffix(strings.Repeat(`{"type":"mrkdwn","text":"a"},`, 11), ",") + `]}]`}, "invalid_blocks", "[ERROR] no more than 10 items allowed [json-pointer:/blocks/0/fields]"},
		"long field":          {[]string{"blocks", `[{"type":"section","fields":[{"type":"mrkdwn","text":"` + strings.Repeat("a", 2001) + `"}]}]`}, "invalid_blocks", "[ERROR] must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"},
		"11 context elements": {[]string{"blocks", `[{"type":"context","elements":[` + strings.TrimSuffix(strings.Repeat(`{"type":"mrkdwn","text":"a"},`, 11), ",") + `]}]`}, "invalid_blocks", "[ERROR] no more than 10 items allowed [json-pointer:/blocks/0/elements]"},
		"long block id":       {[]string{"blocks", `[{"type":"divider","block_id":"` + strings.Repeat("a", 256) + `"}]`}, "invalid_blocks", "[ERROR] must be less than 256 characters [json-pointer:/blocks/0/block_id]"},
		"unknown block":       {[]string{"blocks", `[{"type":"banner"}]`}, "invalid_blocks", "[ERROR] unsupported type: banner [json-pointer:/blocks/0/type]"},
		"empty rich text":     {[]string{"blocks", `[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[]}]}]`}, "invalid_blocks", "[ERROR] no less than 1 items allowed [json-pointer:/blocks/0/elements/0/elements]"},
		"too much in all":     {[]string{"blocks", "[" + strings.TrimSuffix(strings.Repeat(strings.Trim(section(strings.Repeat("a", 2900)), "[]")+",", 5), ",") + "]"}, "msg_blocks_too_long", ""},
		"legacy attachment":   {[]string{"attachments", `[{"title":"x","blocks":[{"type":"divider"}]}]`}, "invalid_attachments", "[ERROR] invalid_keys"},
		"attachment blocks":   {[]string{"attachments", `[{"blocks":[{"type":"banner"}]}]`}, "invalid_attachments", "[ERROR] unsupported type: banner [json-pointer:/attachments/0/blocks/0/type]"},
		"long text":           {[]string{"text", strings.Repeat("a", 40_001)}, "msg_too_long", ""},
		"bad metadata":        {[]string{"text", "x", "metadata", "["}, "invalid_metadata_format", ""},
		"odd metadata":        {[]string{"text", "x", "metadata", `{"event_type":"a b","event_payload":{}}`}, "invalid_metadata_schema", ""},
		"huge metadata":       {[]string{"text", "x", "metadata", `{"event_type":"a","event_payload":{"x":"` + strings.Repeat("a", 17_000) + `"}}`}, "metadata_too_large", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.s.AddChannel(slacktest.Channel{ID: "C0OTHER", Name: "other"})
			s.s.AddChannel(slacktest.Channel{ID: "C0OLD", Name: "old", Member: true, Archived: true})
			got := s.form("chat.postMessage", append([]string{"channel", "C0ALERTS"}, c.args...)...)
			require.Equal(t, false, got["ok"])
			require.Equal(t, c.want, got["error"], got)
			if c.message != "" {
				require.Equal(t, []any{c.message}, got["response_metadata"].(map[string]any)["messages"])
			}
			require.Empty(t, s.s.Messages("C0ALERTS"))
		})
	}
}

func TestOneMessageASecondAfterABurst(t *testing.T) {
	c := start(t)
	c.s.LimitRate()
	post := func() (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.s.URL+"chat.postMessage",
			strings.NewReader(url.Values{"token": {slacktest.Token}, "channel": {"C0ALERTS"}, "text": {"x"}}.Encode()))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		status, header, _ := c.do(req)
		return status, header.Get("Retry-After")
	}
	for range 4 {
		status, _ := post()
		require.Equal(t, 200, status)
	}
	status, after := post()
	require.Equal(t, 429, status)
	require.Equal(t, "1", after)
	c.clock.t = c.clock.t.Add(time.Second)
	status, _ = post()
	require.Equal(t, 200, status)
}

func TestThreadsAndUpdates(t *testing.T) {
	c := start(t)
	ts := c.form("chat.postMessage", "channel", "C0ALERTS", "text", "parent", "metadata", `{"event_type":"x","event_payload":{}}`)["ts"].(string)
	reply := c.form("chat.postMessage", "channel", "C0ALERTS", "text", "reply", "thread_ts", ts)
	require.Equal(t, ts, reply["message"].(map[string]any)["thread_ts"])
	c.form("chat.postMessage", "channel", "C0ALERTS", "text", "loud", "thread_ts", ts, "reply_broadcast", "true")
	require.Len(t, c.s.Thread("C0ALERTS", ts), 2)
	require.Len(t, c.s.Messages("C0ALERTS"), 2, "the parent and what was broadcast")

	require.Equal(t, true, c.form("chat.update", "channel", "C0ALERTS", "ts", ts, "text", "new")["ok"])
	parent := c.s.Messages("C0ALERTS")[0]
	require.Equal(t, "new", parent.Text)
	require.NotEmpty(t, parent.Metadata, "kept when the update brings none")

	c.s.Say("C0ALERTS", "somebody")
	list := c.s.Messages("C0ALERTS")
	require.Equal(t, "cant_update_message", c.form("chat.update", "channel", "C0ALERTS", "ts", list[len(list)-1].TS, "text", "x")["error"])
	require.Equal(t, "message_not_found", c.form("chat.update", "channel", "C0ALERTS", "ts", "1.000000", "text", "x")["error"])
	require.Equal(t, "msg_too_long", c.form("chat.update", "channel", "C0ALERTS", "ts", ts, "text", strings.Repeat("a", 4001))["error"])

	c.s.Delete("C0ALERTS", ts)
	alone := c.form("chat.postMessage", "channel", "C0ALERTS", "text", "late", "thread_ts", ts)
	require.Nil(t, alone["message"].(map[string]any)["thread_ts"], "the parent is gone")
	require.Equal(t, "thread_not_found", c.form("conversations.replies", "channel", "C0ALERTS", "ts", ts)["error"])
}

func TestHistoryPagesBackInTime(t *testing.T) {
	c := start(t)
	for i := range 7 {
		c.clock.t = c.clock.t.Add(time.Second)
		c.form("chat.postMessage", "channel", "C0ALERTS", "text", fmt.Sprint(i), "metadata", `{"event_type":"x","event_payload":{}}`)
	}
	read := func(args ...string) (texts []string, last map[string]any) {
		cursor := ""
		for {
			last = c.form("conversations.history", append([]string{"channel", "C0ALERTS", "limit", "3", "cursor", cursor}, args...)...)
			for _, m := range last["messages"].([]any) {
				texts = append(texts, m.(map[string]any)["text"].(string))
			}
			if last["has_more"] == false {
				return texts, last
			}
			cursor = last["response_metadata"].(map[string]any)["next_cursor"].(string)
		}
	}
	texts, last := read()
	require.Equal(t, strings.Split("6543210", ""), texts)
	require.Nil(t, last["messages"].([]any)[0].(map[string]any)["metadata"], "only when asked for")

	list := c.s.Messages("C0ALERTS")
	texts, last = read("oldest", list[2].TS, "latest", list[5].TS, "inclusive", "1", "include_all_metadata", "1")
	require.Equal(t, strings.Split("5432", ""), texts)
	require.NotNil(t, last["messages"].([]any)[0].(map[string]any)["metadata"])
	texts, _ = read("oldest", list[2].TS, "latest", list[5].TS)
	require.Equal(t, strings.Split("43", ""), texts)
}

func TestWebhooksAnswerInWords(t *testing.T) {
	c := start(t)
	u := c.s.Webhook("C0ALERTS")
	for _, w := range []struct {
		url, body string
		status    int
		word      string
	}{
		{u, `{"text":"x"}`, 200, "ok"},
		{u, `{}`, 400, "no_text"},
		{u, `{`, 400, "invalid_payload"},
		{u, `{"blocks":[{"type":"banner"}]}`, 400, "invalid_blocks"},
		{u + "x", `{"text":"x"}`, 404, "no_service"},
	} {
		status, word := c.hook(w.url, w.body)
		require.Equal(t, w.status, status)
		require.Equal(t, w.word, word)
	}
	c.s.AddChannel(slacktest.Channel{ID: "C0ALERTS", Name: "alerts", Member: true, Archived: true})
	status, word := c.hook(u, `{"text":"x"}`)
	require.Equal(t, 410, status)
	require.Equal(t, "channel_is_archived", word)
	require.Len(t, c.s.Messages("C0ALERTS"), 1)
}

func TestFaultsHappenOnceAndInOrder(t *testing.T) {
	c := start(t)
	then := 0
	c.s.Fail("chat.postMessage", slacktest.Fault{Code: "internal_error", Posted: true, Then: func() { then++ }}, slacktest.Fault{Code: "fatal_error"})
	require.Equal(t, "internal_error", c.form("chat.postMessage", "channel", "C0ALERTS", "text", "a")["error"])
	require.Equal(t, "fatal_error", c.form("chat.postMessage", "channel", "C0ALERTS", "text", "b")["error"])
	require.Equal(t, true, c.form("chat.postMessage", "channel", "C0ALERTS", "text", "c")["ok"])
	require.Equal(t, 1, then)
	list := c.s.Messages("C0ALERTS")
	require.Len(t, list, 2)
	require.Equal(t, "a", list[0].Text)
	require.Equal(t, "c", list[1].Text)
}
