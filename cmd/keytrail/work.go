package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/store"
	"github.com/keytrail/keytrail/analyzer/store/typed"
)

// runOptions are the flags of the verbs that work on logs and lakes.
type runOptions struct {
	lake         string
	learnUntil   timeFlag
	failOn       string
	slackPreview bool
	slack        bool
	workers      int
	memory       sizeFlag
	rules        string
}

func (o *runOptions) register(f *pflag.FlagSet) {
	f.Var(&o.learnUntil, "learn-until", "`time` (2026-03-01 or RFC 3339) until which baseline detections only learn")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 3 when an alert reaches this `severity`")
	f.BoolVar(&o.slackPreview, "slack-preview", false, "print the Slack messages as JSON in place of the report; send nothing")
	f.BoolVar(&o.slack, "slack", false, "send the alerts to Slack (KEYTRAIL_SLACK_TOKEN or KEYTRAIL_SLACK_WEBHOOK)")
	f.IntVar(&o.workers, "workers", 0, "files read at once (default: one a processor)")
	f.Var(&o.memory, "memory", "memory for the analysis, as 1GiB (default 1GiB)")
	f.StringVar(&o.rules, "queries", "", "`folder` of detections to use in place of the built-in ones")
}

// work is one run over logs or a lake, from opening to the summary.
type work struct {
	*app
	options  runOptions
	failOn   analyzer.Severity
	settings *analyzer.Settings
	catalog  *catalog.Catalog
	lake     *lake.Lake
	store    *store.Bolt
	temp     string // folder to remove at the end, or empty
	progress *report.Progress
	lines    *report.Lines

	ingested intake.Ingested
	analyzed pipeline.Analyzed
}

// open checks the options and settings and opens the lake.
func (a *app) open(o runOptions) (_ *work, err error) {
	w := &work{app: a, options: o, failOn: analyzer.Critical + 1}
	if o.failOn != "" {
		if w.failOn, err = analyzer.ParseSeverity(o.failOn); err != nil {
			return nil, usagef("--fail-on: %w", err)
		}
	}
	if o.slackPreview && (a.format == formatJSON || o.slack) {
		return nil, usagef("--slack-preview prints messages in place of the report: leave out --format json and --slack")
	}
	if w.catalog, err = loadCatalog(o.rules); err != nil {
		return nil, err
	}
	if w.settings, err = a.loadSettings(w.catalog); err != nil {
		return nil, err
	}
	root := o.lake
	if root == "" {
		if w.temp, err = os.MkdirTemp("", "keytrail-lake-"); err != nil {
			return nil, fmt.Errorf("make a temporary lake: %w", err)
		}
		root = w.temp
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, fmt.Errorf("open the lake: %w", err)
	}
	if w.lake, err = lake.Open(root); err != nil {
		return nil, err
	}
	var storeOptions []store.Option
	if w.temp != "" {
		storeOptions = append(storeOptions, store.WithoutSync())
	}
	if w.store, err = store.Open(filepath.Join(root, "state.db"), storeOptions...); err != nil {
		return nil, err
	}
	w.progress = a.progress()
	if a.format == formatJSON {
		w.lines = report.NewLines(a.stdout)
	}
	return w, nil
}

func (w *work) close() error {
	w.progress.Close()
	var errs []error
	if w.store != nil {
		errs = append(errs, w.store.Close())
	}
	if w.temp != "" {
		errs = append(errs, os.RemoveAll(w.temp))
	}
	return errors.Join(errs...)
}

// loadCatalog reads the built-in detections, or those of a folder.
func loadCatalog(folder string) (*catalog.Catalog, error) {
	if folder == "" {
		return builtInCatalog()
	}
	c, err := catalog.Load(os.DirFS(folder), catalog.Options{Memory: intake.MemoryEvents})
	if err != nil {
		return nil, fmt.Errorf("the detections in %s are not valid:\n%w", folder, err)
	}
	return c, nil
}

// loadSettings reads the settings that --config or the folder names, or takes
// the defaults.
func (a *app) loadSettings(c *catalog.Catalog) (*analyzer.Settings, error) {
	path := a.configPath
	if path == "" {
		path = settings.Discover(a.env)
	}
	if path == "" {
		return settings.Default(), nil
	}
	return settings.Load(path, settings.WithDetections(c.Detections()))
}

// ingest reads the paths into the lake.
func (w *work) ingest(ctx context.Context, paths []string) error {
	in := intake.Ingest{Lake: w.lake, Run: runName(time.Now()), Events: w.catalog.Events(), Workers: w.options.workers}
	if w.lines != nil {
		in.Reject = w.lines.Reject
	}
	var step *report.Step
	var done int64
	in.Progress = func(bytes, total int64) {
		if step == nil {
			step = w.progress.Start("reading", total, report.Bytes)
		}
		step.Add(bytes - done)
		done = bytes
	}
	if w.env("GOGC") == "" {
		// What lives while reading is bounded and small, so collecting it less
		// often costs some tens of megabytes and saves a tenth of the time.
		defer debug.SetGCPercent(debug.SetGCPercent(400))
	}
	var err error
	w.ingested, err = in.Paths(ctx, paths)
	step.Done()
	return err
}

// runName names what one run writes into a lake: by time, with enough chance
// that two runs in one second differ.
func runName(now time.Time) string {
	return fmt.Sprintf("%s-%06x", now.UTC().Format("20060102T150405"), rand.N(1<<24)) //nolint:gosec // a name, not a secret
}

// analyze runs the detections over what is new.
func (w *work) analyze(ctx context.Context) error {
	an := pipeline.Analysis{
		Lake: w.lake, Memory: memory.Open(filepath.Join(w.lake.Root(), "memory")), Store: w.store,
		Settings: w.settings, Catalog: w.catalog, LearnUntil: time.Time(w.options.learnUntil),
		MemoryLimit: int64(w.options.memory), Forget: w.temp != "",
	}
	var step *report.Step
	var before int64
	an.Progress = func(done, total int64) {
		if step == nil {
			step = w.progress.Start("analysing", total, report.Items)
		}
		step.Add(done - before)
		before = done
	}
	var err error
	w.analyzed, err = an.Run(ctx)
	step.Done()
	return err
}

// finish prints what was found, sends it when asked, and decides the status.
func (w *work) finish(ctx context.Context, started time.Time) error {
	edition, err := alert.Unprinted(ctx, w.store)
	if err != nil {
		return err
	}
	summary, err := w.summary(ctx, started, edition)
	if err != nil {
		return err
	}
	w.progress.Close()
	switch {
	case w.options.slackPreview:
		err = w.preview(edition.Alerts)
	case w.lines != nil:
		if err = edition.Write(w.lines.Write); err == nil {
			err = w.lines.Summary(&summary)
		}
	default:
		err = w.print(edition.Alerts, summary)
	}
	if err != nil {
		return err
	}
	if !w.options.slackPreview {
		if err := alert.MarkPrinted(ctx, w.store, edition); err != nil {
			return err
		}
	}
	if w.options.slack {
		if err := w.send(ctx); err != nil {
			return err
		}
	}
	return w.status(edition.Alerts, &summary)
}

// status is 3 when an alert reached --fail-on, else 1 when something was
// rejected.
func (w *work) status(alerts []analyzer.Alert, s *report.Summary) error {
	for _, al := range alerts {
		if al.Severity >= w.failOn && al.Action != analyzer.ActionNone {
			return &statusError{status: statusFailOn}
		}
	}
	return rejectedStatus(s)
}

func rejectedStatus(s *report.Summary) error {
	if s.Records.Rejected > 0 || s.Files.Rejected > 0 {
		return &statusError{status: statusFailed}
	}
	return nil
}

// finishIngest prints the summary of reading alone.
func (w *work) finishIngest(started time.Time) error {
	s := w.ingestSummary(started)
	w.progress.Close()
	if w.lines != nil {
		if err := w.lines.Summary(&s); err != nil {
			return err
		}
		return rejectedStatus(&s)
	}
	if !w.quiet {
		run := report.Run{Summary: s}
		if err := run.SummaryText(w.stdout, w.layout()); err != nil {
			return err
		}
	}
	return rejectedStatus(&s)
}

func (w *work) ingestSummary(started time.Time) report.Summary {
	return report.Summary{
		Files: w.ingested.Files, Skipped: w.ingested.Skipped, Records: w.ingested.Records, EventsBySource: w.ingested.EventsBySource,
		Rejects: w.ingested.Rejects, RejectCount: w.ingested.RejectCount,
		Elapsed: time.Since(started), MaxRSSBytes: report.MaxRSS(),
	}
}

// summary joins what reading and analysing counted: an event that the analysis
// knew already is a duplicate, not kept.
func (w *work) summary(ctx context.Context, started time.Time, edition alert.Edition) (report.Summary, error) {
	s := w.ingestSummary(started)
	// What was waiting in the lake is read by this run as much as the files are.
	waited := w.analyzed.Counts.Events - s.Records.Kept
	s.Records.Read += waited
	s.Records.Kept, s.Records.Duplicate = w.analyzed.Counts.Kept, s.Records.Duplicate+w.analyzed.Counts.Duplicate
	s.EventsBySource = w.analyzed.Counts.EventsBySource
	s.First, s.Last = w.analyzed.First, w.analyzed.Now
	s.Late = w.analyzed.Counts.Late
	s.Assumptions = settings.Assumptions(w.settings)
	s.Titles = map[string]string{}
	for _, d := range w.catalog.Detections() {
		s.Titles[d.ID] = d.Title
	}
	for _, l := range w.analyzed.Learning {
		s.Learning = append(s.Learning, report.Learning{Detection: l.Detection, Had: l.History, Need: l.Needed, New: int64(l.Findings)})
	}
	var err error
	if s.Suppressed, err = w.store.Hidden(ctx); err != nil {
		return s, err
	}
	s.Findings = map[string]int64{}
	for _, f := range edition.Findings {
		if f.Status != analyzer.FindingWithdrawn {
			s.Findings[f.Detection]++
		}
	}
	// Programs count the lines; people are shown what asks for their attention.
	s.Alerts = map[analyzer.Severity]int64{}
	for _, al := range edition.Alerts {
		if w.lines != nil || al.Action != analyzer.ActionNone {
			s.Alerts[al.Severity]++
		}
	}
	return s, nil
}

// notices says alerts in words.
func (w *work) notices(alerts []analyzer.Alert) []slack.Notice {
	names := slack.NamesOf(w.settings)
	notices := make([]slack.Notice, 0, len(alerts))
	for _, al := range alerts {
		d, ok := w.catalog.ByID(al.Detection)
		if !ok {
			d = analyzer.Detection{ID: al.Detection, Title: al.Title}
		}
		notices = append(notices, slack.BuildNotice(al, d, names))
	}
	return notices
}

// shownLearned is how many first uses the report lists while learning.
const shownLearned = 20

// print writes the report for people.
func (w *work) print(alerts []analyzer.Alert, s report.Summary) error {
	run := report.Run{Summary: s}
	shown, more := w.shown(alerts)
	for _, n := range w.notices(shown) {
		run.Alerts = append(run.Alerts, report.AlertView{
			Alert: n.Alert, What: n.What, AtRisk: n.AtRisk, Undo: n.Undo, RunbookURL: n.RunbookURL,
			AccountName: n.AccountName, KeyAlias: n.KeyAlias, Who: n.Who, From: n.From, Changed: n.Changed,
		})
	}
	if w.quiet {
		return run.Quiet(w.stdout, w.layout())
	}
	if more > 0 {
		run.Notes = append(run.Notes, fmt.Sprintf("%d more first uses are not shown; --format json lists all.", more))
	}
	return run.Text(w.stdout, w.layout())
}

// shown picks the alerts that people are shown. What is only learned is listed
// while there is too little history to judge it, as a folder of an incident
// often has no more; but only some of it, and more counts the others.
func (w *work) shown(alerts []analyzer.Alert) (shown []analyzer.Alert, more int) {
	learned := 0
	for _, al := range alerts {
		if al.Action == analyzer.ActionNone {
			if al.Latest.Status != analyzer.FindingLearning || w.quiet {
				continue
			}
			if learned++; learned > shownLearned {
				more++
				continue
			}
		}
		shown = append(shown, al)
	}
	return shown, more
}

// preview prints the Slack messages without sending them.
func (w *work) preview(alerts []analyzer.Alert) error {
	alerts = slices.DeleteFunc(slices.Clone(alerts), func(al analyzer.Alert) bool { return al.Action == analyzer.ActionNone })
	mentions, err := slack.MentionsOf(w.settings)
	if err != nil {
		return err
	}
	// A webhook knows no threads; only with one and no token is it used.
	webhook := w.env("KEYTRAIL_SLACK_TOKEN") == "" && w.env("KEYTRAIL_SLACK_WEBHOOK") != ""
	view := slack.View{Threads: !webhook, Mentions: mentions}
	b, err := slack.Preview(w.notices(alerts), w.settings.Slack, view, w.analyzed.Now)
	if err != nil {
		return err
	}
	_, err = w.stdout.Write(b)
	return err
}

// send tells Slack of every alert that it does not show yet.
func (w *work) send(ctx context.Context) error {
	mentions, err := slack.MentionsOf(w.settings)
	if err != nil {
		return err
	}
	options := slack.Options{
		Mentions: mentions,
		Token:    slack.Secret(w.env("KEYTRAIL_SLACK_TOKEN")), WebhookURL: slack.Secret(w.env("KEYTRAIL_SLACK_WEBHOOK")),
		Settings: w.settings.Slack, Ledger: typed.Space[slack.Posted]{Values: w.store, Name: "slack"},
		BaseURL: w.env("KEYTRAIL_SLACK_API"),
	}
	var notifier slack.Notifier
	switch {
	case w.env("KEYTRAIL_SLACK_TOKEN") != "":
		notifier, err = slack.NewBot(options)
	case w.env("KEYTRAIL_SLACK_WEBHOOK") != "":
		notifier, err = slack.NewWebhook(options)
	default:
		return usagef("--slack needs KEYTRAIL_SLACK_TOKEN (a bot token) or KEYTRAIL_SLACK_WEBHOOK in the environment")
	}
	if err != nil {
		return err
	}
	if err := notifier.Check(ctx); err != nil {
		return err
	}
	names := slack.NamesOf(w.settings)
	told, err := alert.Deliver(ctx, w.store, time.Now(), func(ctx context.Context, al analyzer.Alert) error {
		d, ok := w.catalog.ByID(al.Detection)
		if !ok {
			d = analyzer.Detection{ID: al.Detection, Title: al.Title}
		}
		n := slack.BuildNotice(al, d, names)
		return slack.Patient(ctx, slack.WallClock{}, slackTries, func(ctx context.Context) (bool, error) { return notifier.Notify(ctx, n) })
	})
	if err == nil {
		err = w.sendDigest(ctx, notifier)
	}
	if !w.quiet {
		w.say(fmt.Sprintf("Slack was told of %d alerts.", told))
	}
	return err
}

// slackTries is how often one message is tried before the run gives it up for
// the next one to send.
const slackTries = 5

func (w *work) sendDigest(ctx context.Context, notifier slack.Notifier) error {
	digest, err := alert.DueDigest(ctx, w.store, w.analyzed.Now)
	if err != nil || len(digest.Alerts) == 0 {
		return err
	}
	notices := w.notices(digest.Alerts)
	if err := slack.Patient(ctx, slack.WallClock{}, slackTries, func(ctx context.Context) (bool, error) {
		return notifier.NotifyDigest(ctx, notices, w.analyzed.Now)
	}); err != nil {
		return err
	}
	return alert.MarkDigested(ctx, w.store, digest)
}

// timeFlag is a time given as a date or in RFC 3339.
type timeFlag time.Time

// Set reads the flag's value.
func (t *timeFlag) Set(s string) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if v, err := time.Parse(layout, s); err == nil {
			*t = timeFlag(v.UTC())
			return nil
		}
	}
	return fmt.Errorf("%q is not a time such as 2026-03-01 or 2026-03-01T12:00:00Z", s)
}

// String writes the value as Set reads it.
func (t *timeFlag) String() string {
	if v := time.Time(*t); !v.IsZero() {
		return v.Format(time.RFC3339)
	}
	return ""
}

// Type is what help calls the value.
func (t *timeFlag) Type() string { return "time" }

// sizeFlag is a number of bytes given as 512MiB or 2GiB.
type sizeFlag int64

// Set reads the flag's value.
func (b *sizeFlag) Set(s string) error {
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"GB", 1e9}, {"MB", 1e6}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			var v float64
			if _, err := fmt.Sscanf(n, "%f", &v); err != nil || v <= 0 {
				break
			}
			*b = sizeFlag(v * float64(u.bytes))
			return nil
		}
	}
	return fmt.Errorf("%q is not a size such as 512MiB or 2GiB", s)
}

// String writes the value as Set reads it.
func (b *sizeFlag) String() string {
	if *b == 0 {
		return ""
	}
	return fmt.Sprintf("%dMiB", int64(*b)>>20)
}

// Type is what help calls the value.
func (b *sizeFlag) Type() string { return "size" }
