package trails_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud/trails"
)

// Sentences about a whole direction.
const (
	nothing  = "It does not record the calls of KMS: "
	noReads  = "It does not record the reads of KMS (Decrypt, Encrypt, GenerateDataKey and others): "
	noWrites = "It does not record the writes of KMS (ScheduleKeyDeletion, PutKeyPolicy, CreateGrant and others): "
	some     = "Of the calls of KMS it records only those where "
	someRead = "Of the reads of KMS (Decrypt, Encrypt, GenerateDataKey and others) it records only those where "
	data     = "It records no management events, and the calls of KMS are management events."
	excluded = "a selector excludes the source kms.amazonaws.com."
)

func classic(selectors ...trails.Selector) trails.Trail {
	return trails.Trail{Logging: true, Selectors: selectors}
}

// advanced is a trail with one advanced selector of management events.
func advanced(fields ...trails.Field) trails.Trail {
	return trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{management(fields...)}}
}

func management(fields ...trails.Field) trails.AdvancedSelector {
	category := trails.Field{Field: "eventCategory", Equals: []string{"Management"}}
	return trails.AdvancedSelector{Fields: append([]trails.Field{category}, fields...)}
}

func is(field string, values ...string) trails.Field {
	return trails.Field{Field: field, Equals: values}
}

func not(field string, values ...string) trails.Field {
	return trails.Field{Field: field, NotEquals: values}
}

var without = []string{"kms.amazonaws.com"}

func TestWhatATrailDoesNotSee(t *testing.T) {
	for name, c := range map[string]struct {
		trail trails.Trail
		want  []string
	}{
		"all, by default":        {trails.Trail{Logging: true}, nil},
		"all, as said":           {classic(trails.Selector{ReadWrite: "All", Management: true}), nil},
		"all, as not said":       {classic(trails.Selector{Management: true}), nil},
		"all but another source": {classic(trails.Selector{Management: true, Excluded: []string{"rdsdata.amazonaws.com"}}), nil},
		"reads in one, writes in another": {classic(
			trails.Selector{ReadWrite: "ReadOnly", Management: true}, trails.Selector{ReadWrite: "WriteOnly", Management: true}), nil},
		"KMS excluded in one, all in another": {classic(
			trails.Selector{Management: true, Excluded: without}, trails.Selector{Management: true}), nil},
		"data events beside all": {classic(trails.Selector{ReadWrite: "WriteOnly"}, trails.Selector{Management: true}), nil},

		"writes only":                     {classic(trails.Selector{ReadWrite: "WriteOnly", Management: true}), []string{noReads + "no selector takes reads."}},
		"reads only":                      {classic(trails.Selector{ReadWrite: "ReadOnly", Management: true}), []string{noWrites + "no selector takes writes."}},
		"data events":                     {classic(trails.Selector{ReadWrite: "All"}), []string{data}},
		"KMS excluded":                    {classic(trails.Selector{Management: true, Excluded: without}), []string{nothing + excluded}},
		"KMS excluded, written otherwise": {classic(trails.Selector{Management: true, Excluded: []string{" KMS.amazonaws.com"}}), []string{nothing + excluded}},
		"reads without KMS, and writes": {
			classic(
				trails.Selector{ReadWrite: "ReadOnly", Management: true, Excluded: without}, trails.Selector{ReadWrite: "WriteOnly", Management: true}),
			[]string{noReads + excluded},
		},
		"writes only, without KMS": {
			classic(trails.Selector{ReadWrite: "WriteOnly", Management: true, Excluded: without}),
			[]string{noReads + "no selector takes reads.", noWrites + excluded},
		},

		"advanced: all":             {advanced(), nil},
		"advanced: all, as said":    {advanced(is("eventSource", "kms.amazonaws.com")), nil},
		"advanced: a list with KMS": {advanced(is("eventSource", "s3.amazonaws.com", "kms.amazonaws.com")), nil},
		"advanced: begins with":     {advanced(trails.Field{Field: "eventSource", StartsWith: []string{"km", "s3"}}), nil},
		"advanced: another is not":  {advanced(not("eventSource", "rdsdata.amazonaws.com")), nil},
		"advanced: reads and writes apart": {trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
			management(is("readOnly", "true")), management(is("readOnly", "false")),
		}}, nil},
		"advanced: some, and all": {trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
			management(is("eventName", "Decrypt")), management(),
		}}, nil},

		"advanced: KMS is not": {
			advanced(not("eventSource", "kms.amazonaws.com")),
			[]string{nothing + "an advanced selector takes events only where eventSource is not \"kms.amazonaws.com\"."},
		},
		"advanced: others than KMS": {
			advanced(is("eventSource", "s3.amazonaws.com", "iam.amazonaws.com")),
			[]string{nothing + "an advanced selector takes events only where eventSource is \"s3.amazonaws.com\" or \"iam.amazonaws.com\"."},
		},
		"advanced: does not begin with": {
			advanced(trails.Field{Field: "eventSource", NotStartsWith: []string{"kms."}}),
			[]string{nothing + "an advanced selector takes events only where eventSource does not begin with \"kms.\"."},
		},
		"advanced: ends otherwise": {
			advanced(trails.Field{Field: "eventSource", EndsWith: []string{".aws"}, NotEndsWith: []string{".com"}}),
			[]string{nothing + "an advanced selector takes events only where eventSource ends with \".aws\" and does not end with \".com\"."},
		},
		"advanced: both, which contradict": {
			advanced(trails.Field{Field: "eventSource", Equals: []string{"kms.amazonaws.com"}, NotEquals: []string{"kms.amazonaws.com"}}),
			[]string{nothing + "an advanced selector takes events only where eventSource is \"kms.amazonaws.com\" and is not \"kms.amazonaws.com\"."},
		},
		"advanced: writes only": {advanced(is("readOnly", "false")), []string{noReads + "no selector takes reads."}},
		"advanced: reads only":  {advanced(is("readOnly", "true")), []string{noWrites + "no selector takes writes."}},
		"advanced: readOnly twice, which contradicts": {
			advanced(is("readOnly", "true"), is("readOnly", "false")),
			[]string{noReads + "no selector takes reads.", noWrites + "no selector takes writes."},
		},
		"advanced: no reads of KMS": {
			trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
				management(is("readOnly", "true"), not("eventSource", "kms.amazonaws.com")), management(is("readOnly", "false")),
			}},
			[]string{noReads + "an advanced selector takes events only where eventSource is not \"kms.amazonaws.com\"."},
		},
		"advanced: two ways to leave it out": {
			trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
				management(not("eventSource", "kms.amazonaws.com")), management(is("eventSource", "s3.amazonaws.com")), management(is("eventSource", "s3.amazonaws.com")),
			}},
			[]string{nothing + "an advanced selector takes events only where eventSource is \"s3.amazonaws.com\", " +
				"and an advanced selector takes events only where eventSource is not \"kms.amazonaws.com\"."},
		},
		"advanced: data events": {trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
			{Fields: []trails.Field{is("eventCategory", "Data"), is("resources.type", "AWS::S3::Object")}},
		}}, []string{data}},
		"advanced: no category": {trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
			{Fields: []trails.Field{is("readOnly", "true")}},
		}}, []string{data}},
		"advanced: calls through VPC endpoints": {trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
			{Fields: []trails.Field{is("eventCategory", "NetworkActivity"), is("eventSource", "kms.amazonaws.com")}},
		}}, []string{data}},

		"advanced: some names": {advanced(not("eventName", "Decrypt", "Encrypt")), []string{some + "eventName is not \"Decrypt\" or \"Encrypt\"."}},
		"advanced: some reads": {
			trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
				management(is("readOnly", "true"), is("eventName", "Decrypt")), management(is("readOnly", "false")),
			}},
			[]string{someRead + "eventName is \"Decrypt\"."},
		},
		"advanced: some and some": {
			advanced(is("eventType", "AwsApiCall"), is("sessionCredentialFromConsole", "true")),
			[]string{some + "eventType is \"AwsApiCall\" and sessionCredentialFromConsole is \"true\"."},
		},
		"advanced: some or some": {
			trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
				management(is("eventName", "Encrypt")), management(is("eventName", "Decrypt")), management(is("eventName", "Decrypt")),
			}},
			[]string{some + "eventName is \"Decrypt\", or where eventName is \"Encrypt\"."},
		},
		"advanced: some is better than none": {
			trails.Trail{Logging: true, Advanced: []trails.AdvancedSelector{
				management(not("eventSource", "kms.amazonaws.com")), management(is("eventName", "Decrypt")),
			}},
			[]string{some + "eventName is \"Decrypt\"."},
		},
		"advanced: a long list": {
			advanced(not("userIdentity.arn", "a", "b", "c", "d", "e", "f", "g")),
			[]string{some + "userIdentity.arn is not \"a\" or \"b\" or \"c\" or \"d\" or \"e\" or one of 2 others."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, trails.Blind(c.trail))
		})
	}
}

func TestATrailThatIsOff(t *testing.T) {
	stopped := time.Date(2026, 3, 2, 10, 0, 0, 0, time.FixedZone("CET", 3600))
	require.Equal(t, []string{"It records nothing: logging was stopped at 2026-03-02T09:00:00Z."}, trails.Blind(trails.Trail{Stopped: stopped}))
	require.Equal(t, []string{"It records nothing: logging was never started."}, trails.Blind(trails.Trail{}))

	both := classic(trails.Selector{Management: true, Excluded: without})
	both.Logging = false
	require.Len(t, trails.Blind(both), 2, "who starts it learns that this is not enough")

	on := trails.Trail{Logging: true, Started: stopped.Add(time.Hour), Stopped: stopped}
	require.Empty(t, trails.Blind(on), "it was stopped once")
}

func TestATrailThatDoesNotDeliver(t *testing.T) {
	require.Equal(t, []string{
		"The last log file could not be delivered to the bucket logs: AccessDenied.",
		"The last digest file could not be delivered to the bucket logs: NoSuchBucket.",
		"The last message to the trail's SNS topic could not be sent: AuthorizationError.",
	}, trails.Blind(trails.Trail{
		Logging: true, Bucket: "logs", DeliveryError: "AccessDenied", DigestError: "NoSuchBucket", NotificationError: "AuthorizationError.",
	}))
}
