// Package slackpage shows the messages of a fake Slack in a browser, roughly as
// Slack would: channels, threads, Block Kit, attachments. What it shows is
// written by attackers, too: all of it is text to html/template, and the page
// allows no script but its own.
package slackpage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
)

//go:embed page.html page.css page.js
var files embed.FS

var page = template.Must(template.ParseFS(files, "page.html"))

// Workspace is where the messages are. A *slacktest.Server is one.
type Workspace interface {
	Messages(channel string) []slacktest.Message
	Thread(channel, ts string) []slacktest.Message
}

var _ Workspace = (*slacktest.Server)(nil)

// Channel is a channel to show.
type Channel struct {
	ID   string
	Name string // without #
}

// handler is the page.
type handler struct {
	slack    Workspace
	channels []Channel
}

// Handler returns the page for some channels of a workspace. The first is shown
// first.
func Handler(slack Workspace, channels []Channel) http.Handler {
	h := &handler{slack, slices.Clone(channels)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if len(h.channels) == 0 {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, "/channels/"+h.channels[0].ID, http.StatusFound)
	})
	mux.HandleFunc("GET /channels/{id}", func(w http.ResponseWriter, r *http.Request) { h.show(w, r, "page") })
	mux.HandleFunc("GET /channels/{id}/messages", func(w http.ResponseWriter, r *http.Request) { h.show(w, r, "messages") })
	for _, name := range []string{"page.css", "page.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	return mux
}

// view is what the template shows.
type view struct {
	Channels []channelView
	Name     string
	ID       string
	Messages []messageView
}

type channelView struct {
	Channel
	Current bool
	Count   int
}

type messageView struct {
	TS          string
	At          string // time of day, UTC
	Day         string // set when the day is not that of the message before
	From        string
	App         bool
	Edited      bool
	Broadcast   bool // a reply that the channel shows, too
	Lines       []line
	Blocks      []block
	Attachments []attachment
	Replies     []messageView
}

func (h *handler) show(w http.ResponseWriter, r *http.Request, name string) {
	id := r.PathValue("id")
	i := slices.IndexFunc(h.channels, func(c Channel) bool { return c.ID == id })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	v := view{ID: id, Name: h.channels[i].Name, Messages: h.messages(id)}
	for _, c := range h.channels {
		v.Channels = append(v.Channels, channelView{c, c.ID == id, len(h.slack.Messages(c.ID))})
	}
	var out bytes.Buffer
	if err := page.ExecuteTemplate(&out, name, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(out.Bytes())
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cache-Control", "no-cache")
	head.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = out.WriteTo(w) // the browser may be gone
}

// messages are those of a channel with their threads.
func (h *handler) messages(channel string) []messageView {
	var list []messageView
	day := ""
	for _, m := range h.slack.Messages(channel) {
		v, at := viewOf(m)
		if d := at.Format("Monday, 2 January 2006"); d != day {
			v.Day, day = d, d
		}
		for _, reply := range h.slack.Thread(channel, m.TS) {
			rv, _ := viewOf(reply)
			v.Replies = append(v.Replies, rv)
		}
		list = append(list, v)
	}
	return list
}

func viewOf(m slacktest.Message) (messageView, time.Time) {
	at := timeOf(m.TS)
	v := messageView{
		TS: m.TS, At: at.Format("15:04:05"), Edited: m.Edited, Broadcast: m.Subtype == "thread_broadcast",
		From: m.User, App: m.BotID != "" || m.Webhook,
		Blocks: blocksOf(m.Blocks), Attachments: attachmentsOf(m.Attachments),
	}
	if v.App {
		v.From = "Keytrail"
	}
	// Beside blocks, the text is for notifications only.
	if len(v.Blocks) == 0 && (m.Text != "" || len(v.Attachments) == 0) {
		v.Lines = mrkdwn(m.Text)
	}
	return v, at
}

// timeOf reads a message's timestamp: seconds and microseconds.
func timeOf(ts string) time.Time {
	s, us, _ := strings.Cut(ts, ".")
	seconds, err1 := strconv.ParseInt(s, 10, 64)
	micros, err2 := strconv.ParseInt(us, 10, 64)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	return time.Unix(seconds, micros*1000).UTC()
}

// Title of the page.
func (v view) Title() string { return fmt.Sprintf("#%s (%d)", v.Name, len(v.Messages)) }
