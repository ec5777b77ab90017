package normalise

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelectorsAreJudgedTogether(t *testing.T) {
	basic := func(selectors string) string { return `{"trailName": "t", "eventSelectors": [` + selectors + `]}` }
	advanced := func(selectors string) string {
		return `{"trailName": "t", "advancedEventSelectors": [` + selectors + `]}`
	}
	const (
		all      = `{"readWriteType": "All", "includeManagementEvents": true, "dataResources": [], "excludeManagementEventSources": []}`
		noKMS    = `{"readWriteType": "All", "includeManagementEvents": true, "excludeManagementEventSources": ["kms.amazonaws.com"]}`
		category = `{"field": "eventCategory", "equals": ["Management"]}`
	)
	for _, c := range []struct {
		name, request string
		blinds, drops []string
	}{
		{"all events", basic(all), nil, nil},
		{"defaults", basic(`{}`), nil, nil},
		{"no selectors", basic(``), nil, nil},
		{"without KMS", basic(noKMS), []string{"excludes kms.amazonaws.com"}, nil},
		{"without KMS, but another selector has it", basic(noKMS + "," + all), nil, nil},
		{
			"without KMS, and another selector has its writes", basic(noKMS + `, {"readWriteType": "WriteOnly", "includeManagementEvents": true}`),
			nil,
			[]string{"KMS read events"},
		},
		{"without RDS data", basic(`{"excludeManagementEventSources": ["rdsdata.amazonaws.com"]}`), nil, nil},
		{"writes only", basic(`{"readWriteType": "WriteOnly", "includeManagementEvents": true}`), nil, []string{"read events"}},
		{"reads only", basic(`{"readWriteType": "ReadOnly", "includeManagementEvents": true}`), nil, []string{"write events"}},
		{"reads and writes in two", basic(`{"readWriteType": "ReadOnly"}, {"readWriteType": "WriteOnly"}`), nil, nil},
		{"no management events", basic(`{"readWriteType": "All", "includeManagementEvents": false}`), nil, []string{"management events"}},
		{"no management events, as text", basic(`{"readWriteType": "All", "includeManagementEvents": "false"}`), nil, []string{"management events"}},
		{
			"writes only and without KMS", basic(`{"readWriteType": "WriteOnly", "excludeManagementEventSources": ["kms.amazonaws.com"]}`),
			[]string{"excludes kms.amazonaws.com"},
			[]string{"read events"},
		},

		{"advanced, all", advanced(`{"fieldSelectors": [` + category + `]}`), nil, nil},
		{
			"advanced, without KMS", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventSource", "notEquals": ["kms.amazonaws.com", "rdsdata.amazonaws.com"]}]}`),
			[]string{"eventSource notEquals excludes kms.amazonaws.com"},
			nil,
		},
		{
			"advanced, without what begins like KMS", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventSource", "notStartsWith": ["kms"]}]}`),
			[]string{"eventSource notStartsWith excludes kms.amazonaws.com"},
			nil,
		},
		{
			"advanced, a list that lacks KMS", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventSource", "equals": ["ec2.amazonaws.com"]}]}`),
			[]string{"eventSource lists others than kms.amazonaws.com"},
			nil,
		},
		{"advanced, a list that has KMS", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventSource", "equals": ["kms.amazonaws.com", "ec2.amazonaws.com"]}]}`), nil, nil},
		{"advanced, another service left out", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventSource", "notEquals": ["rdsdata.amazonaws.com"]}]}`), nil, nil},
		{
			"advanced, without KMS but in another selector", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventSource", "notEquals": ["kms.amazonaws.com"]}]},
				{"fieldSelectors": [` + category + `, {"field": "eventSource", "equals": ["kms.amazonaws.com"]}]}`), nil, nil,
		},
		{"advanced, writes only", advanced(`{"fieldSelectors": [` + category + `, {"field": "readOnly", "equals": ["false"]}]}`), nil, []string{"read events"}},
		{"advanced, data events only", advanced(`{"fieldSelectors": [{"field": "eventCategory", "equals": ["Data"]}, {"field": "resources.type", "equals": ["AWS::S3::Object"]}]}`), nil, []string{"management events"}},
		{
			"advanced, without Decrypt", advanced(`{"fieldSelectors": [` + category + `, {"field": "eventName", "notEquals": ["Decrypt"]}]}`),
			nil,
			[]string{"events not selected by eventName"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, `"eventSource": "cloudtrail.amazonaws.com", "readOnly": false, "eventName": "PutEventSelectors", "resources": null, "requestParameters": `+c.request)
			require.Equal(t, c.blinds, ev.TrailBlinds)
			require.Equal(t, c.drops, ev.TrailDrops)
			require.Equal(t, []string{"t", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/t"}, []string{ev.TrailName, ev.TrailARN})
		})
	}
}

func TestTrailsAreWeakenedByWhatTheRequestSays(t *testing.T) {
	for _, c := range []struct {
		name, call string
		weakens    []string
	}{
		{"stopped", `"StopLogging", "requestParameters": {"name": "t"}`, []string{"logging stopped"}},
		{"deleted", `"DeleteTrail", "requestParameters": {"name": "t"}`, []string{"trail deleted"}},
		{"started", `"StartLogging", "requestParameters": {"name": "t"}`, nil},
		{
			"one Region and no validation", `"UpdateTrail", "requestParameters": {"name": "t", "isMultiRegionTrail": false, "enableLogFileValidation": false, "includeGlobalServiceEvents": "false"}`,
			[]string{"not multi-Region", "no global service events", "no log file validation"},
		},
		{
			"only the response says so", `"UpdateTrail", "requestParameters": {"name": "t"}, "responseElements": {"isMultiRegionTrail": false, "s3BucketName": "b"}`,
			nil,
		},
		{"strengthened", `"UpdateTrail", "requestParameters": {"name": "t", "isMultiRegionTrail": true}`, nil},
		{"another bucket and key", `"UpdateTrail", "requestParameters": {"name": "t", "s3BucketName": "b", "kmsKeyId": "` + otherARN + `"}`, []string{"bucket set", "log key set"}},
		{"no key", `"UpdateTrail", "requestParameters": {"name": "t", "kmsKeyId": ""}`, []string{"log key removed"}},
		{"a new trail of one Region", `"CreateTrail", "requestParameters": {"name": "t", "isMultiRegionTrail": false, "s3BucketName": "b"}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, `"eventSource": "cloudtrail.amazonaws.com", "readOnly": false, "resources": null, "eventName": `+c.call)
			require.Equal(t, c.weakens, ev.TrailWeakens)
			require.Equal(t, "t", ev.TrailName)
			require.Equal(t, "arn:aws:cloudtrail:eu-west-1:111122223333:trail/t", ev.TrailARN)
		})
	}
}

func TestATrailIsNamedByItsARNToo(t *testing.T) {
	ev := eventOf(t, `"eventSource": "cloudtrail.amazonaws.com", "readOnly": false, "eventName": "StopLogging", "requestParameters": {"name": "arn:aws:cloudtrail:us-east-1:111122223333:trail/main"}`)
	require.Equal(t, []string{"main", "arn:aws:cloudtrail:us-east-1:111122223333:trail/main"}, []string{ev.TrailName, ev.TrailARN})
}

func TestEventDataStoresAreJudgedLikeTrails(t *testing.T) {
	const source = `"eventSource": "cloudtrail.amazonaws.com", "readOnly": false, "resources": null, `
	const data = `"advancedEventSelectors": [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Data"]}]}]`
	require.Equal(t, []string{"management events"}, eventOf(t, source+`"eventName": "UpdateEventDataStore", "requestParameters": {"eventDataStore": "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/e", `+data+`}`).TrailDrops)
	require.Empty(t, eventOf(t, source+`"eventName": "CreateEventDataStore", "requestParameters": {"name": "e", `+data+`}`).TrailDrops, "a new store takes nothing away")
	require.Equal(t, []string{"not multi-Region"}, eventOf(t, source+`"eventName": "UpdateEventDataStore", "requestParameters": {"multiRegionEnabled": false}`).TrailWeakens)
}
