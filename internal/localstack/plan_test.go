package localstack

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// resource is what a test reads of a resource of template.yaml.
type resource struct {
	Type       string
	Properties json.RawMessage
}

type properties struct {
	// functions
	Timeout           int
	MemorySize        any // a number, or the name of a parameter
	Environment       struct{ Variables map[string]any }
	Events            map[string]trigger
	EventInvokeConfig struct{ MaximumRetryAttempts, MaximumEventAgeInSeconds int }
	// queues
	QueueName         string
	VisibilityTimeout int
	FifoQueue         bool
	RedrivePolicy     struct{ MaxReceiveCount int }
	// rules
	EventPattern struct {
		Source []string
		Detail struct {
			EventName []string
		}
	}
}

type trigger struct {
	Type       string
	Properties struct {
		BatchSize                      int
		MaximumBatchingWindowInSeconds int
		FunctionResponseTypes          []string
		ScalingConfig                  struct{ MaximumConcurrency any }
		ScheduleExpression             string
	}
}

type template struct {
	Parameters map[string]struct{ Default any }
	Globals    struct {
		Function struct {
			Environment struct{ Variables map[string]any }
		}
	}
	Resources map[string]resource
}

func readTemplate(t *testing.T) template {
	t.Helper()
	text, err := os.ReadFile("../../template.yaml")
	require.NoError(t, err)
	var any map[string]any
	require.NoError(t, yaml.Unmarshal(text, &any))
	text, err = json.Marshal(any) // whose names of fields are of any case
	require.NoError(t, err)
	var tpl template
	require.NoError(t, json.Unmarshal(text, &tpl))
	return tpl
}

// properties are those of a resource.
func (tpl template) properties(t *testing.T, id string) (p properties) {
	t.Helper()
	require.NoError(t, json.Unmarshal(tpl.Resources[id].Properties, &p), id)
	return p
}

// value is a number of the template, or the default of the parameter it names.
func (tpl template) value(t *testing.T, v any) int {
	t.Helper()
	if name, ok := v.(string); ok {
		v = tpl.Parameters[name].Default
	}
	var n int
	out, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &n))
	return n
}

func TestTheFunctionsAreThoseOfTheTemplate(t *testing.T) {
	tpl := readTemplate(t)
	n := 0
	for id, r := range tpl.Resources {
		if r.Type != "AWS::Serverless::Function" {
			continue
		}
		n++
		f := functionNamed(strings.ToLower(strings.TrimSuffix(id, "Function")))
		p := tpl.properties(t, id)
		require.Equal(t, time.Duration(p.Timeout)*time.Second, f.timeout, id)
		require.Equal(t, tpl.value(t, p.MemorySize), f.memoryMB, id)

		want := map[string]bool{}
		for name := range p.Environment.Variables {
			want[name] = true
		}
		for _, name := range f.env {
			require.True(t, want[name], "%s has no %s", id, name)
			delete(want, name)
		}
		require.Empty(t, want, "%s", id)

		for _, e := range p.Events {
			switch {
			case e.Type == "SQS":
				require.Equal(t, e.Properties.BatchSize, f.batch, id)
				require.Equal(t, time.Duration(e.Properties.MaximumBatchingWindowInSeconds)*time.Second, f.window, id)
				require.Equal(t, tpl.value(t, e.Properties.ScalingConfig.MaximumConcurrency), f.concurrency, id)
				require.Equal(t, []string{"ReportBatchItemFailures"}, e.Properties.FunctionResponseTypes, id)
			case strings.HasPrefix(e.Properties.ScheduleExpression, "rate("):
				minutes := map[string]int{"rate(1 minute)": 1, "rate(1 hour)": 60}[e.Properties.ScheduleExpression]
				require.Equal(t, minutes, f.every, id)
				require.Equal(t, p.EventInvokeConfig.MaximumRetryAttempts, f.retries, id)
				require.Equal(t, p.EventInvokeConfig.MaximumEventAgeInSeconds, f.maxAge*60, id)
			}
		}
	}
	require.Equal(t, len(functions), n)
	require.Equal(t, tpl.value(t, "AnalyzeDisk"), analyzeDiskMB)
	own := globals("", "")
	for name := range tpl.Globals.Function.Environment.Variables {
		require.Contains(t, own, name)
	}
}

func TestTheQueuesAreThoseOfTheTemplate(t *testing.T) {
	tpl := readTemplate(t)
	found := map[string]bool{}
	for id, r := range tpl.Resources {
		if r.Type != "AWS::SQS::Queue" || id == "RuleDeadLetterQueue" { // EventBridge always delivers here
			continue
		}
		p := tpl.properties(t, id)
		q := queueNamed(strings.Replace(p.QueueName, "${AWS::StackName}", Name, 1))
		found[q.name] = true
		require.Equal(t, p.FifoQueue, q.fifo, id)
		require.Equal(t, p.RedrivePolicy.MaxReceiveCount, q.maxReceives, id)
		if q.dead != "" {
			require.Equal(t, time.Duration(p.VisibilityTimeout)*time.Second, q.visibility, id)
		}
	}
	require.Len(t, found, len(queues))
}

func TestTheRulesAreThoseOfTheTemplate(t *testing.T) {
	tpl := readTemplate(t)
	require.Equal(t, trailCalls, tpl.properties(t, "TrailCallsRule").EventPattern.Detail.EventName)
	require.Equal(t, []string{"aws.kms"}, tpl.properties(t, "KmsCallsRule").EventPattern.Source)
}

func TestWhatEventBridgeDelivers(t *testing.T) {
	record := func(source, name, kind string, read bool) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"eventID":"e1","eventSource":%q,"eventName":%q,"eventType":%q,"eventTime":"2026-04-11T01:12:00Z",
			"awsRegion":"eu-west-1","recipientAccountId":"111122223333","readOnly":%t}`, source, name, kind, read))
	}
	for name, c := range map[string]struct {
		record json.RawMessage
		reads  bool
		want   string // its detail-type
	}{
		"a call that changes a key":   {record("kms.amazonaws.com", "PutKeyPolicy", "AwsApiCall", false), false, "AWS API Call via CloudTrail"},
		"a service event":             {record("kms.amazonaws.com", "RotateKey", "AwsServiceEvent", false), false, "AWS Service Event via CloudTrail"},
		"a call that reads":           {record("kms.amazonaws.com", "Decrypt", "AwsApiCall", true), false, ""},
		"a call that reads, if asked": {record("kms.amazonaws.com", "Decrypt", "AwsApiCall", true), true, "AWS API Call via CloudTrail"},
		"a call that changes a trail": {record("cloudtrail.amazonaws.com", "StopLogging", "AwsApiCall", false), false, "AWS API Call via CloudTrail"},
		"another call of CloudTrail":  {record("cloudtrail.amazonaws.com", "AddTags", "AwsApiCall", false), false, ""},
		"another service":             {record("s3.amazonaws.com", "DeleteBucket", "AwsApiCall", false), false, ""},
		"a sign-in":                   {record("signin.amazonaws.com", "ConsoleLogin", "AwsConsoleSignIn", false), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := (&Stack{o: Options{Reads: c.reads}}).envelope(c.record)
			require.NoError(t, err)
			if c.want == "" {
				require.Nil(t, body)
				return
			}
			var e map[string]any
			require.NoError(t, json.Unmarshal(body, &e))
			require.Equal(t, c.want, e["detail-type"])
			require.Equal(t, "111122223333", e["account"])
			require.Equal(t, "2026-04-11T01:12:00Z", e["time"])
			require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, e["id"])
			detail, err := json.Marshal(e["detail"])
			require.NoError(t, err)
			require.JSONEq(t, string(c.record), string(detail))
		})
	}
}

func TestSettingsGetAChannel(t *testing.T) {
	settings, channels, err := settingsOf([]byte("regions: [eu-west-1]\n"))
	require.NoError(t, err)
	require.Equal(t, "regions: [eu-west-1]\n\nslack:\n  channel: \"#alerts\"\n", string(settings))
	require.Equal(t, "C0ALERTS", channels[0].ID)

	text := "slack:\n  channel: \"#security\"\n  channels: {critical: \"#on-call\", \"111122223333\": C0ALERTS, high: \"#security\"}\n"
	settings, channels, err = settingsOf([]byte(text))
	require.NoError(t, err)
	require.Equal(t, text, string(settings))
	var names []string
	for _, c := range channels {
		names = append(names, c.ID+" "+c.Name)
	}
	require.Equal(t, []string{"C0ONCALL on-call", "C0SECURITY security", "C0ALERTS alerts"}, names)

	_, _, err = settingsOf([]byte("slack: ["))
	require.ErrorContains(t, err, "read the settings")
}

func TestTheKeyOfAFile(t *testing.T) {
	for path, want := range map[string]string{
		"/logs/AWSLogs/111122223333/CloudTrail/x.json.gz": "AWSLogs/111122223333/CloudTrail/x.json.gz",
		"/logs/a/AWSLogs/1/AWSLogs/2/x.json.gz":           "AWSLogs/2/x.json.gz",
		"/logs/2026/x.json.gz":                            "2026/x.json.gz",
		"/logs/AWSLogs-old/x.json.gz":                     "AWSLogs-old/x.json.gz",
	} {
		require.Equal(t, want, keyOf("/logs", path))
	}
	require.Equal(t, "20260302T0005Z", delivered("/x/111122223333_CloudTrail_eu-west-1_20260302T0005Z_abc.json.gz"))
	require.Empty(t, delivered("/x/abc.json.gz"))
}
