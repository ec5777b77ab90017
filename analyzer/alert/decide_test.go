package alert_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
)

func TestDecide(t *testing.T) {
	active := func(s analyzer.Severity) alert.Judged {
		return alert.Judged{Severity: s, Status: analyzer.FindingActive}
	}
	silenced := func(s analyzer.Severity, silence alert.Silence) alert.Judged {
		return alert.Judged{Severity: s, Status: analyzer.FindingActive, Silence: &silence}
	}
	suppressed := func(s analyzer.Severity, by string) alert.Judged {
		return alert.Judged{Severity: s, Status: analyzer.FindingSuppressed, Suppression: by}
	}
	until := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)
	named := alert.Silence{Silence: analyzer.Silence{Name: "migration", Until: until}}

	for _, test := range []struct {
		name     string
		findings []alert.Judged
		peak     analyzer.Severity
		action   analyzer.Action
		reason   string
	}{
		{"critical pages", []alert.Judged{active(analyzer.Critical)}, 0, "page", "severity critical"},
		{"high pages", []alert.Judged{active(analyzer.High)}, 0, "page", "severity high"},
		{"medium is posted", []alert.Judged{active(analyzer.Medium)}, 0, "post", "severity medium"},
		{"low waits for the digest", []alert.Judged{active(analyzer.Low)}, 0, "digest", "severity low"},
		{"info waits for the digest", []alert.Judged{active(analyzer.Info)}, 0, "digest", "severity info"},
		{
			"the strongest decides",
			[]alert.Judged{active(analyzer.Low), active(analyzer.High), active(analyzer.Medium)},
			0, "page", "severity high",
		},
		{
			"an alert that was worth a page stays worth one",
			[]alert.Judged{active(analyzer.Low)},
			analyzer.High, "page", "severity high",
		},
		{
			"what was worth a page and is hidden now does not notify",
			[]alert.Judged{suppressed(analyzer.High, "rule nightly")},
			analyzer.High, "none", "suppressed by rule nightly",
		},
		{
			"a staged detection never notifies",
			[]alert.Judged{{Severity: analyzer.Critical, Status: analyzer.FindingStaged}},
			0, "none", "staged detection",
		},
		{
			"learning never notifies",
			[]alert.Judged{{Severity: analyzer.Info, Status: analyzer.FindingLearning}},
			0, "none", "learning",
		},
		{
			"a suppression is named",
			[]alert.Judged{suppressed(analyzer.High, "change window deploy-2026-03")},
			0, "none", "suppressed by change window deploy-2026-03",
		},
		{
			"a suppression without a name is still told",
			[]alert.Judged{suppressed(analyzer.High, "")},
			0, "none", "suppressed by settings",
		},
		{
			"a silence is named with its end",
			[]alert.Judged{silenced(analyzer.High, named)},
			0, "none", "silenced by migration until 2026-03-04 10:00 UTC",
		},
		{
			"a silence without an end is named",
			[]alert.Judged{silenced(analyzer.High, alert.Silence{Actor: "ana"})},
			0, "none", "silenced by ana",
		},
		{
			"one finding that notifies is enough",
			[]alert.Judged{silenced(analyzer.Medium, named), active(analyzer.Medium), suppressed(analyzer.Low, "rule a")},
			0, "post", "severity medium",
		},
		{
			"something graver that is hidden is told",
			[]alert.Judged{active(analyzer.Medium), suppressed(analyzer.Critical, "rule a")},
			0, "post", "severity medium; critical suppressed by rule a",
		},
		{
			"the gravest hidden one gives the reason",
			[]alert.Judged{suppressed(analyzer.Low, "rule a"), suppressed(analyzer.High, "rule b"), suppressed(analyzer.Medium, "rule c")},
			0, "none", "suppressed by rule b",
		},
		{
			"of equal hidden ones the reason does not depend on the order",
			[]alert.Judged{suppressed(analyzer.High, "rule b"), suppressed(analyzer.High, "rule a")},
			0, "none", "suppressed by rule a",
		},
		{
			"a suppressed finding that is silenced too counts as suppressed",
			[]alert.Judged{{Severity: analyzer.High, Status: analyzer.FindingSuppressed, Suppression: "rule a", Silence: &named}},
			0, "none", "suppressed by rule a",
		},
		{
			"withdrawn findings count for nothing",
			[]alert.Judged{{Severity: analyzer.Critical, Status: analyzer.FindingWithdrawn}, active(analyzer.Low)},
			0, "digest", "severity low",
		},
		{
			"when all are withdrawn nothing is asked for",
			[]alert.Judged{{Severity: analyzer.Critical, Status: analyzer.FindingWithdrawn}},
			analyzer.Critical, "none", "withdrawn",
		},
		{"no finding asks for nothing", nil, analyzer.High, "none", "withdrawn"},
	} {
		t.Run(test.name, func(t *testing.T) {
			action, reason := alert.Decide(test.findings, test.peak)
			require.Equal(t, test.action, action)
			require.Equal(t, test.reason, reason)
		})
	}
}
