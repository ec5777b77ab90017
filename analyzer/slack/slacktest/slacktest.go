// Package slacktest is a Slack of our own: an HTTP server that answers the Web
// API methods and incoming webhooks that Keytrail uses as the real one does,
// with its limits, its words for errors and its ways to fail.
//
// It knows chat.postMessage, chat.update, conversations.history, .replies,
// .info and .list, auth.test, and webhooks; it takes bodies as forms and as
// JSON, tokens in the Authorization header and in forms. Text is kept exactly
// as it was sent.
//
// A Fault makes a call fail. Whether the message was posted before it failed is
// the interesting part, and up to the fault. The rate limit of one message a
// second and channel runs on the clock that the server is given, so that tests
// need not wait.
package slacktest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Token is the bot token that a new Server accepts.
const Token = "xoxb-000000000000-000000000000-slacktestslacktestslackt"

// BotID and UserID are who the token belongs to.
const (
	BotID  = "B0KEYTRAIL"
	UserID = "U0KEYTRAIL"
)

// Channel is a conversation of the workspace.
type Channel struct {
	ID       string
	Name     string
	Member   bool // whether the bot is in it
	Archived bool
	Private  bool
}

// Message is a message as the workspace holds it.
type Message struct {
	Channel     string          `json:"-"`
	TS          string          `json:"ts"`
	ThreadTS    string          `json:"thread_ts,omitempty"`
	Type        string          `json:"type"`
	Subtype     string          `json:"subtype,omitempty"` // thread_broadcast
	User        string          `json:"user,omitempty"`
	BotID       string          `json:"bot_id,omitempty"`
	Text        string          `json:"text"`
	Blocks      json.RawMessage `json:"blocks,omitempty"`
	Attachments json.RawMessage `json:"attachments,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	Edited      bool            `json:"-"`
	Edits       int             `json:"-"`
	Webhook     bool            `json:"-"`
}

// Fault is how one call fails. The zero Fault is a call that goes well.
type Fault struct {
	// Code is an answer {"ok":false,"error":Code} with status 200; for a
	// webhook, the body of Status.
	Code string
	// Status is an HTTP status in place of an answer.
	Status int
	// RetryAfter is the header of that name; only with Status.
	RetryAfter string
	// Body replaces the answer's body.
	Body string
	// Drop cuts the connection without an answer.
	Drop bool
	// Stall gives no answer until the client gives up.
	Stall bool
	// Posted lets the call take effect before it fails.
	Posted bool
	// Then is called once the call has taken effect, or been refused, and before
	// anything is answered. It must not call the server.
	Then func()
}

// Call is a request that the server received.
type Call struct {
	Method string
	Form   url.Values // also of JSON bodies, nested values as JSON
	Answer string     // "ok", Slack's error word, or how it failed
}

// Server is the workspace. Its methods may be called while it serves.
type Server struct {
	URL string // of the Web API, with a slash at the end

	http *httptest.Server
	done chan struct{}

	mu       sync.Mutex
	now      func() time.Time
	token    string
	scopes   map[string]bool
	channels map[string]*Channel
	messages []*Message
	hooks    map[string]string // path → channel id
	faults   map[string][]Fault
	calls    []Call
	rate     bool
	buckets  map[string]*bucket
	last     int64 // timestamp of the newest message, in microseconds
	noEdits  bool
}

// bucket holds the right to post of one channel.
type bucket struct {
	tokens float64
	at     time.Time
}

// burst is how many messages a channel takes at once.
const burst = 4

// New starts a server with one channel, C0ALERTS named alerts, that the bot is
// in. now is its clock; nil means the real one. Close it after use.
func New(now func() time.Time) *Server {
	if now == nil {
		now = time.Now
	}
	s := &Server{
		now:   now,
		token: Token,
		scopes: map[string]bool{
			"chat:write": true, "channels:history": true, "channels:read": true, "groups:history": true, "groups:read": true,
		},
		channels: map[string]*Channel{},
		hooks:    map[string]string{},
		faults:   map[string][]Fault{},
		buckets:  map[string]*bucket{},
		done:     make(chan struct{}),
	}
	s.AddChannel(Channel{ID: "C0ALERTS", Name: "alerts", Member: true})
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL + "/api/"
	return s
}

// Close stops the server and releases stalled calls.
func (s *Server) Close() {
	close(s.done)
	s.http.Close()
}

// AddChannel adds a channel, or replaces the one with the same id.
func (s *Server) AddChannel(c Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[c.ID] = &c
}

// SetScopes replaces the scopes of the token.
func (s *Server) SetScopes(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes = map[string]bool{}
	for _, sc := range scopes {
		s.scopes[sc] = true
	}
}

// LimitRate switches Slack's rule of one message a second and channel on.
func (s *Server) LimitRate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = true
}

// ForbidEdits makes chat.update answer edit_window_closed, as a workspace
// setting does.
func (s *Server) ForbidEdits() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noEdits = true
}

// Webhook returns the address of an incoming webhook of the channel.
func (s *Server) Webhook(channel string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := fmt.Sprintf("/services/T0TEST/B%07d/slacktestwebhooksecret%02d", len(s.hooks), len(s.hooks))
	s.hooks[path] = channel
	return s.http.URL + path
}

// Fail makes the next calls of a method ("chat.postMessage", "webhook") fail,
// one fault a call in the order given.
func (s *Server) Fail(method string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[method] = append(s.faults[method], faults...)
}

// Delete removes a message as a person in Slack would.
func (s *Server) Delete(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m *Message) bool { return m.Channel == channel && m.TS == ts })
}

// Say posts a message of somebody else.
func (s *Server) Say(channel, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, &Message{Channel: channel, TS: s.stamp(), Type: "message", User: "U0SOMEBODY", Text: text})
}

// Messages returns what the channel shows, oldest first: no replies, except
// those that were broadcast.
func (s *Server) Messages(channel string) []Message {
	return s.find(func(m *Message) bool {
		return m.Channel == channel && (m.ThreadTS == "" || m.ThreadTS == m.TS || m.Subtype == "thread_broadcast")
	})
}

// Thread returns the replies to a message, oldest first.
func (s *Server) Thread(channel, ts string) []Message {
	return s.find(func(m *Message) bool { return m.Channel == channel && m.ThreadTS == ts && m.TS != ts })
}

func (s *Server) find(want func(*Message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Message
	for _, m := range s.messages {
		if want(m) {
			list = append(list, *m)
		}
	}
	return list
}

// Calls returns the requests of a method so far, or all when method is "".
func (s *Server) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Call
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			list = append(list, c)
		}
	}
	return list
}

// answer is what a method returns: fields beside ok, or an error.
type answer struct {
	fields   map[string]any
	code     string
	messages []string
	needed   string
	retry    time.Duration // of a 429
}

func word(code string) answer { return answer{code: code} }

// ServeHTTP is one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, hook := strings.CutPrefix(r.URL.Path, "/api/")
	hook = !hook
	if hook {
		method = "webhook"
	}
	form, bad := read(r)

	s.mu.Lock()
	var fault Fault
	if q := s.faults[method]; len(q) > 0 {
		fault, s.faults[method] = q[0], q[1:]
	}
	fails := fault.Code != "" || fault.Status != 0 || fault.Drop || fault.Stall || fault.Body != ""
	var a answer
	switch {
	case fails && !fault.Posted:
		a = word("fault")
	case bad != "":
		a = word(bad)
	case hook:
		a = s.webhook(r.URL.Path, form)
	default:
		a = s.call(method, r, form)
	}
	said := cmp.Or(a.code, "ok")
	if fails {
		said = "fault"
	}
	form.Del("token") // what is kept for tests and demos holds no secret
	s.calls = append(s.calls, Call{Method: method, Form: form, Answer: said})
	s.mu.Unlock()

	if fault.Then != nil {
		fault.Then()
	}
	if fails {
		s.fail(w, r, fault, hook)
		return
	}
	if hook {
		webhookAnswer(w, a)
		return
	}
	apiAnswer(w, a)
}

// fail answers as the fault says.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault, hook bool) {
	switch {
	case f.Stall:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(f.Status)
		body := f.Body
		if body == "" && hook {
			body = f.Code
		}
		if body == "" {
			body = "<html><body>" + http.StatusText(f.Status) + "</body></html>" // Slack's 5xx are HTML
		}
		_, _ = io.WriteString(w, body) // the client may be gone
	case f.Body != "":
		_, _ = io.WriteString(w, f.Body)
	default:
		apiAnswer(w, word(f.Code))
	}
}

func apiAnswer(w http.ResponseWriter, a answer) {
	if a.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((a.retry+time.Second-1)/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"ok":false,"error":"ratelimited"}`)
		return
	}
	out := map[string]any{"ok": a.code == ""}
	for k, v := range a.fields {
		out[k] = v
	}
	if a.code != "" {
		out["error"] = a.code
	}
	if a.messages != nil {
		short := make([]string, len(a.messages))
		for i, m := range a.messages {
			short[i] = strings.TrimPrefix(m, "[ERROR] ")
		}
		out["errors"] = short
		out["response_metadata"] = map[string]any{"messages": a.messages}
	}
	if a.needed != "" {
		out["needed"], out["provided"] = a.needed, "identify"
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(out) // the client may be gone
}

// webhookStatus gives the status of each word that a webhook answers.
var webhookStatus = map[string]int{
	"": http.StatusOK, "no_service": http.StatusNotFound, "channel_not_found": http.StatusNotFound,
	"channel_is_archived": http.StatusGone, "action_prohibited": http.StatusForbidden, "invalid_token": http.StatusForbidden,
}

func webhookAnswer(w http.ResponseWriter, a answer) {
	if a.retry > 0 {
		apiAnswer(w, a)
		return
	}
	status, ok := webhookStatus[a.code]
	if !ok {
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, cmp.Or(a.code, "ok")) // the client may be gone
}

// read takes the arguments out of a form, a query or a JSON body.
func read(r *http.Request) (form url.Values, bad string) {
	form = url.Values{}
	for k, v := range r.URL.Query() {
		form[k] = v
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body, rerr := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	switch {
	case rerr != nil:
		return form, "request_timeout"
	case len(body) == 0:
		return form, ""
	case err != nil:
		return form, "invalid_form_data"
	case kind == "application/x-www-form-urlencoded":
		q, err := url.ParseQuery(string(body))
		if err != nil {
			return form, "invalid_form_data"
		}
		for k, v := range q {
			form[k] = v
		}
	case kind == "application/json":
		var o map[string]json.RawMessage
		if json.Unmarshal(body, &o) != nil {
			if strings.HasPrefix(r.URL.Path, "/services/") {
				return form, "invalid_payload"
			}
			return form, "invalid_json"
		}
		delete(o, "token") // Slack takes no token from a JSON body
		for k, raw := range o {
			var s string
			if json.Unmarshal(raw, &s) == nil {
				form.Set(k, s)
			} else {
				form.Set(k, string(raw))
			}
		}
	default:
		return form, "invalid_post_type"
	}
	return form, ""
}

// needs is the scope of each method.
var needs = map[string]string{
	"chat.postMessage": "chat:write", "chat.update": "chat:write",
	"conversations.history": "channels:history", "conversations.replies": "channels:history",
	"conversations.info": "channels:read", "conversations.list": "channels:read", "auth.test": "",
}

// call runs a method of the Web API.
func (s *Server) call(method string, r *http.Request, form url.Values) answer {
	token := form.Get("token")
	if h, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = h
	}
	switch {
	case token == "":
		return word("not_authed")
	case token != s.token:
		return word("invalid_auth")
	}
	scope, ok := needs[method]
	if !ok {
		return word("unknown_method")
	}
	if scope != "" && !s.scopes[scope] {
		return answer{code: "missing_scope", needed: scope}
	}
	switch method {
	case "auth.test":
		return answer{fields: map[string]any{
			"url": "https://example.slack.com/", "team": "Example", "user": "keytrail",
			"team_id": "T0TEST", "user_id": UserID, "bot_id": BotID,
		}}
	case "chat.postMessage":
		return s.post(form)
	case "chat.update":
		return s.update(form)
	case "conversations.list":
		return s.list(form)
	}
	c, a := s.channel(form.Get("channel"), method != "conversations.info")
	if a.code != "" {
		return a
	}
	switch method {
	case "conversations.info":
		return answer{fields: map[string]any{"channel": c.json()}}
	case "conversations.history":
		return s.history(c, form)
	}
	return s.replies(c, form)
}

func (c *Channel) json() map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "is_channel": !c.Private, "is_private": c.Private,
		"is_archived": c.Archived, "is_member": c.Member,
	}
}

// channel finds a channel by id and checks that the bot may read it.
func (s *Server) channel(id string, read bool) (*Channel, answer) {
	c := s.channels[id]
	switch {
	case c == nil, c.Private && !c.Member:
		return nil, word("channel_not_found")
	case read && !c.Member:
		return nil, word("not_in_channel")
	}
	return c, answer{}
}

// destination finds the channel to post to, by id or name.
func (s *Server) destination(name string) (*Channel, answer) {
	c := s.channels[name]
	for _, other := range s.channels {
		if c == nil && other.Name == strings.TrimPrefix(name, "#") {
			c = other
		}
	}
	switch {
	case c == nil, c.Private && !c.Member:
		return nil, word("channel_not_found")
	case c.Archived:
		return nil, word("is_archived")
	case !c.Member:
		return nil, word("not_in_channel")
	}
	return c, answer{}
}

// take spends the channel's right to one message.
func (s *Server) take(channel string) (wait time.Duration) {
	if !s.rate {
		return 0
	}
	now := s.now()
	b := s.buckets[channel]
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		s.buckets[channel] = b
	}
	b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) * float64(time.Second))
	}
	b.tokens--
	return 0
}

// stamp makes the unique timestamp of a message.
func (s *Server) stamp() string {
	s.last = max(s.now().UnixMicro(), s.last+1)
	return fmt.Sprintf("%d.%06d", s.last/1e6, s.last%1e6)
}

func payloadOf(form url.Values) payload {
	return payload{
		Text: form.Get("text"), Blocks: json.RawMessage(form.Get("blocks")),
		Attachments: json.RawMessage(form.Get("attachments")), Metadata: json.RawMessage(form.Get("metadata")),
	}
}

func (s *Server) post(form url.Values) answer {
	c, a := s.destination(form.Get("channel"))
	if a.code != "" {
		return a
	}
	if wait := s.take(c.ID); wait > 0 {
		return answer{code: "ratelimited", retry: wait}
	}
	p := payloadOf(form)
	if code, messages := p.verdict(maxText); code != "" {
		return answer{code: code, messages: messages}
	}
	m := &Message{Channel: c.ID, TS: s.stamp(), Type: "message", User: UserID, BotID: BotID, Text: p.Text}
	m.set(p)
	if thread := form.Get("thread_ts"); thread != "" {
		if !validTS(thread) {
			return word("invalid_thread_ts")
		}
		// A reply to a message that was deleted is posted on its own.
		if parent := s.message(c.ID, thread); parent != nil {
			m.ThreadTS = cmp.Or(parent.ThreadTS, parent.TS)
			parent.ThreadTS = cmp.Or(parent.ThreadTS, parent.TS)
			if form.Get("reply_broadcast") == "true" {
				m.Subtype = "thread_broadcast"
			}
		}
	}
	s.messages = append(s.messages, m)
	return answer{fields: map[string]any{"channel": c.ID, "ts": m.TS, "message": m}}
}

// set writes what was given; what was not stays, as in chat.update.
func (m *Message) set(p payload) {
	if given(p.Blocks) {
		m.Blocks = p.Blocks
	}
	if given(p.Attachments) {
		m.Attachments = p.Attachments
	}
	switch {
	case string(p.Metadata) == "{}":
		m.Metadata = nil
	case given(p.Metadata):
		m.Metadata = p.Metadata
	}
}

func validTS(s string) bool {
	a, b, ok := strings.Cut(s, ".")
	_, err1 := strconv.ParseInt(a, 10, 64)
	_, err2 := strconv.ParseInt(b, 10, 64)
	return ok && err1 == nil && err2 == nil && len(b) == 6
}

func (s *Server) message(channel, ts string) *Message {
	for _, m := range s.messages {
		if m.Channel == channel && m.TS == ts {
			return m
		}
	}
	return nil
}

func (s *Server) update(form url.Values) answer {
	c := s.channels[form.Get("channel")] // by id only
	if c == nil || c.Private && !c.Member {
		return word("channel_not_found")
	}
	m := s.message(c.ID, form.Get("ts"))
	switch {
	case c.Archived:
		return word("is_archived")
	case m == nil:
		return word("message_not_found")
	case m.BotID != BotID || m.Webhook:
		return word("cant_update_message")
	case s.noEdits:
		return word("edit_window_closed")
	}
	p := payloadOf(form)
	if code, messages := p.verdict(maxUpdateText); code != "" {
		return answer{code: code, messages: messages}
	}
	if _, ok := form["text"]; ok {
		m.Text = p.Text
	}
	m.set(p)
	m.Edited = true
	m.Edits++
	return answer{fields: map[string]any{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": m}}
}

func (s *Server) list(form url.Values) answer {
	private := strings.Contains(form.Get("types"), "private_channel")
	if private && !s.scopes["groups:read"] {
		return answer{code: "missing_scope", needed: "groups:read"}
	}
	var list []map[string]any
	for _, c := range s.channels {
		if c.Private && (!private || !c.Member) || c.Archived && form.Get("exclude_archived") == "true" {
			continue
		}
		list = append(list, c.json())
	}
	slices.SortFunc(list, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	return page(list, form, "channels")
}

// within tells whether a message is in the range of a query.
func within(m *Message, form url.Values) bool {
	inclusive := form.Get("inclusive") == "1" || form.Get("inclusive") == "true"
	if o := form.Get("oldest"); o != "" && (m.TS < o || m.TS == o && !inclusive) {
		return false
	}
	if l := form.Get("latest"); l != "" && (m.TS > l || m.TS == l && !inclusive) {
		return false
	}
	return true
}

// shown is a message without its metadata unless that was asked for.
func shown(m *Message, form url.Values) Message {
	out := *m
	if v := form.Get("include_all_metadata"); v != "1" && v != "true" {
		out.Metadata = nil
	}
	return out
}

func (s *Server) history(c *Channel, form url.Values) answer {
	var list []Message
	for _, m := range slices.Backward(s.messages) {
		if m.Channel == c.ID && (m.ThreadTS == "" || m.ThreadTS == m.TS || m.Subtype != "") && within(m, form) {
			list = append(list, shown(m, form))
		}
	}
	return page(list, form, "messages")
}

func (s *Server) replies(c *Channel, form url.Values) answer {
	ts := form.Get("ts")
	parent := s.message(c.ID, ts)
	if parent == nil {
		return word("thread_not_found")
	}
	list := []Message{shown(parent, form)}
	for _, m := range s.messages {
		if m.Channel == c.ID && m.ThreadTS == ts && m.TS != ts && within(m, form) {
			list = append(list, shown(m, form))
		}
	}
	return page(list, form, "messages")
}

// page cuts a list by limit and cursor.
func page[T any](list []T, form url.Values, name string) answer {
	limit, err := strconv.Atoi(cmp.Or(form.Get("limit"), "100"))
	if err != nil || limit < 1 {
		return word("invalid_limit")
	}
	limit = min(limit, 999)
	from := 0
	if c := form.Get("cursor"); c != "" {
		if from, err = strconv.Atoi(strings.TrimPrefix(c, "next-")); err != nil || from > len(list) {
			return word("invalid_cursor")
		}
	}
	to := min(from+limit, len(list))
	next := ""
	if to < len(list) {
		next = fmt.Sprintf("next-%d", to)
	}
	out := list[from:to]
	if out == nil {
		out = []T{}
	}
	return answer{fields: map[string]any{
		name: out, "has_more": next != "", "response_metadata": map[string]any{"next_cursor": next},
	}}
}

func (s *Server) webhook(path string, form url.Values) answer {
	id, ok := s.hooks[path]
	c := s.channels[id]
	switch {
	case !ok:
		return word("no_service")
	case c == nil:
		return word("channel_not_found")
	case c.Archived:
		return word("channel_is_archived")
	}
	if wait := s.take(c.ID); wait > 0 {
		return answer{code: "ratelimited", retry: wait}
	}
	p := payloadOf(form)
	p.Metadata = nil
	if code, messages := p.verdict(maxText); code != "" {
		return answer{code: code, messages: messages}
	}
	m := &Message{Channel: c.ID, TS: s.stamp(), Type: "message", BotID: BotID, Text: p.Text, Webhook: true}
	m.set(p)
	s.messages = append(s.messages, m)
	return answer{}
}
