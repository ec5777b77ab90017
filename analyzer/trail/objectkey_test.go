package trail_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/trail"
)

func TestObjectKeys(t *testing.T) {
	at := func(hour, minute, second int) time.Time {
		return time.Date(2026, 3, 2, hour, minute, second, 0, time.UTC)
	}
	for _, test := range []struct {
		name, key string
		hint      trail.FileHint
		no        bool
	}{
		{name: "a trail of one account", key: "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json.gz", hint: trail.FileHint{Kind: trail.KindLog, Account: "111122223333", Region: "eu-west-1", Delivered: at(9, 5, 0)}},
		{name: "an organisation's trail with a prefix", key: "my/o-notanorg/AWSLogs/o-exampleorgid/444455556666/CloudTrail/us-gov-west-1/2026/03/02/444455556666_CloudTrail_us-gov-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json.gz", hint: trail.FileHint{Kind: trail.KindLog, Account: "444455556666", Org: "o-exampleorgid", Region: "us-gov-west-1", Delivered: at(9, 5, 0)}},
		{name: "a file's name alone, not gzipped", key: "111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json", hint: trail.FileHint{Kind: trail.KindLog, Account: "111122223333", Region: "eu-west-1", Delivered: at(9, 5, 0)}},
		{name: "a path of Windows", key: `C:\logs\o-exampleorgid\111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json.gz`, hint: trail.FileHint{Kind: trail.KindLog, Account: "111122223333", Org: "o-exampleorgid", Region: "eu-west-1", Delivered: at(9, 5, 0)}},
		{name: "an encoded key of a notification", key: "my+logs/AWSLogs%2F111122223333%2FCloudTrail%2F111122223333%5FCloudTrail%5Feu-west-1%5F20260302T0905Z%5FAbCd.json.gz", hint: trail.FileHint{Kind: trail.KindLog, Account: "111122223333", Region: "eu-west-1", Delivered: at(9, 5, 0)}},
		{name: "a digest of a trail with underscores in its name", key: "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/111122223333_CloudTrail-Digest_eu-west-1_my_trail_eu-west-1_20260302T090512Z.json.gz", hint: trail.FileHint{Kind: trail.KindDigest, Account: "111122223333", Region: "eu-west-1", Delivered: at(9, 5, 12)}},
		{name: "Insights", key: "AWSLogs/111122223333/CloudTrail-Insight/eu-west-1/2026/03/02/111122223333_CloudTrail-Insight_eu-west-1_20260302T0905Z_AbCd.json.gz", hint: trail.FileHint{Kind: trail.KindInsight, Account: "111122223333", Region: "eu-west-1", Delivered: at(9, 5, 0)}},
		{name: "an account id of the wrong width", key: "11112222_CloudTrail_eu-west-1_20260302T0905Z_AbCd.json.gz", no: true},
		{name: "a date that is none", key: "111122223333_CloudTrail_eu-west-1_20261302T0905Z_AbCd.json.gz", no: true},
		{name: "another service's log", key: "111122223333_vpcflowlogs_eu-west-1_fl-1_20260302T0905Z_AbCd.log.gz", no: true},
		{name: "another service's log in JSON", key: "111122223333_Config_eu-west-1_20260302T0905Z_AbCd.json.gz", no: true},
		{name: "any file", key: "logs/a.json", no: true},
		{name: "a broken encoding", key: "a%2", no: true},
		{name: "nothing", key: "", no: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			hint, ok := trail.ParseObjectKey(test.key)
			require.Equal(t, !test.no, ok)
			require.Equal(t, test.hint, hint)
		})
	}
	key, err := trail.DecodeObjectKey("a+b%2Bc/%C3%A9")
	require.NoError(t, err)
	require.Equal(t, "a b+c/é", key)
	_, err = trail.DecodeObjectKey("a%zz")
	require.ErrorContains(t, err, `decode object key "a%zz"`)
}
