package cases_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer/cases"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

// What keytrail test runs must be readable before it is run.
func TestTheShippedCasesAreValid(t *testing.T) {
	c, err := catalog.Load(queries.Files, catalog.Options{Cases: fixtures.Cases})
	require.NoError(t, err)
	ids := map[string]string{}
	for _, d := range c.Detections() {
		list, err := cases.Load(fixtures.Cases, d)
		require.NoError(t, err, d.ID)
		for _, one := range list {
			for _, r := range one.Records() {
				parsed := gjson.ParseBytes(r)
				for _, field := range []string{"eventTime", "eventSource", "eventName", "awsRegion", "userIdentity.type", "recipientAccountId"} {
					if field == "userIdentity.type" && parsed.Get("eventType").String() == "AwsServiceEvent" {
						continue // nobody is behind it
					}
					require.NotEmpty(t, parsed.Get(field).String(), "%s: %s", one.Path, field)
				}
				id := parsed.Get("eventID").String()
				require.Empty(t, ids[id], "%s repeats an eventID", one.Path)
				ids[id] = one.Path
			}
		}
	}
}
