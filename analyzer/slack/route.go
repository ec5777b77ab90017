package slack

import "github.com/keytrail/keytrail/analyzer"

// Route picks the channel of an alert: that of its account, else that of its
// severity, else the default. Account comes before severity because it is the
// more specific of the two.
func Route(s analyzer.SlackSettings, a analyzer.Alert) string {
	if c := s.Channels[a.Account]; c != "" {
		return c
	}
	if c := s.Channels[a.Severity.String()]; c != "" {
		return c
	}
	return s.Channel
}
