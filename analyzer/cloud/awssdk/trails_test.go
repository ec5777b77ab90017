package awssdk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud/awssdk/cloudtrail"
	"github.com/keytrail/keytrail/analyzer/cloud/trails"
)

const trailARN = "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit"

func described() object {
	return object{
		"Name": "audit", "TrailARN": trailARN, "HomeRegion": "us-east-1", "S3BucketName": "logs", "IsMultiRegionTrail": true,
		"IsOrganizationTrail": true, "LogFileValidationEnabled": true,
	}
}

func TestATrailIsReadWithAllThatSaysWhatItRecords(t *testing.T) {
	started, stopped := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	status := reply{body: object{
		"IsLogging": false, "StartLoggingTime": started.Unix(), "StopLoggingTime": stopped.Unix(), "LatestDeliveryTime": stopped.Unix(),
		"LatestDeliveryError": "AccessDenied", "LatestDigestDeliveryError": "NoSuchBucket", "LatestNotificationError": "AuthorizationError",
	}}
	classic := reply{body: object{"TrailARN": trailARN, "EventSelectors": []object{
		{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": true, "ExcludeManagementEventSources": []string{"kms.amazonaws.com"}},
		{"ReadWriteType": "All", "IncludeManagementEvents": false},
		{},
	}}}
	advanced := reply{body: object{"TrailARN": trailARN, "AdvancedEventSelectors": []object{{
		"Name": "no kms", "FieldSelectors": []object{
			{"Field": "eventCategory", "Equals": []string{"Management"}},
			{"Field": "eventSource", "NotEquals": []string{"kms.amazonaws.com"}},
			{"Field": "x", "StartsWith": []string{"a"}, "EndsWith": []string{"b"}, "NotStartsWith": []string{"c"}, "NotEndsWith": []string{"d"}},
		},
	}}}}
	list := reply{body: object{"trailList": []object{described(), described()}}}
	s := serve(t, list, status, classic, reply{body: object{"IsLogging": true}}, advanced)
	got, err := cloudtrail.New(clients(t, quick)).Trails(t.Context())
	require.NoError(t, err)

	bare := trails.Trail{
		Name: "audit", ARN: trailARN, HomeRegion: "us-east-1", Bucket: "logs", MultiRegion: true, Organization: true, Validated: true, Logging: true,
		Advanced: []trails.AdvancedSelector{{Name: "no kms", Fields: []trails.Field{
			{Field: "eventCategory", Equals: []string{"Management"}},
			{Field: "eventSource", NotEquals: []string{"kms.amazonaws.com"}},
			{Field: "x", StartsWith: []string{"a"}, EndsWith: []string{"b"}, NotStartsWith: []string{"c"}, NotEndsWith: []string{"d"}},
		}}},
	}
	full := bare
	full.Advanced = nil
	full.Logging, full.Started, full.Stopped, full.Delivered = false, started, stopped, stopped
	full.DeliveryError, full.DigestError, full.NotificationError = "AccessDenied", "NoSuchBucket", "AuthorizationError"
	full.Selectors = []trails.Selector{
		{ReadWrite: "WriteOnly", Management: true, Excluded: []string{"kms.amazonaws.com"}},
		{ReadWrite: "All"},
		{Management: true},
	}
	require.Equal(t, []trails.Trail{full, bare}, got)

	calls := s.calls()
	require.Equal(t, object{"includeShadowTrails": false}, calls[0].body)
	require.Contains(t, calls[0].Header.Get("Authorization"), "/eu-central-1/cloudtrail/")
	for _, c := range calls[1:] {
		require.Contains(t, c.Header.Get("Authorization"), "/us-east-1/cloudtrail/", "of its home Region")
	}
	require.Equal(t, object{"Name": trailARN}, calls[1].body)
	require.Equal(t, object{"TrailName": trailARN}, calls[2].body)
}

func TestShadowTrailsAreAskedForOnlyIfWanted(t *testing.T) {
	s := serve(t, reply{body: object{"trailList": []object{}}})
	c := cloudtrail.New(clients(t, quick))
	c.Shadows = true
	got, err := c.Trails(t.Context())
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, object{"includeShadowTrails": true}, s.calls()[0].body)
}

func TestATrailThatCannotBeReadDoesNotHideTheOthers(t *testing.T) {
	other := described()
	other["TrailARN"], other["Name"] = strings.Replace(trailARN, "audit", "other", 1), "other"
	gone := described()
	serve(t, reply{body: object{"trailList": []object{gone, described(), other}}},
		refusal("TrailNotFoundException"),
		reply{body: object{"IsLogging": true}}, refusal("AccessDeniedException"),
		reply{body: object{"IsLogging": true}}, ok)
	got, err := cloudtrail.New(clients(t, quick)).Trails(t.Context())
	require.ErrorContains(t, err, "read the trail "+trailARN)
	require.ErrorContains(t, err, "AccessDeniedException")
	require.NotContains(t, err.Error(), "TrailNotFound", "it was deleted meanwhile")
	require.Len(t, got, 1)
	require.Equal(t, "other", got[0].Name)

	serve(t, refusal("AccessDeniedException"))
	_, err = cloudtrail.New(clients(t, quick)).Trails(t.Context())
	require.ErrorContains(t, err, "list the trails")
}
