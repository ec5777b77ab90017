package front

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Call is one thing that a function asked of AWS, as IAM would check it. A
// request may be several.
type Call struct {
	Function string `json:"function"`
	Action   string `json:"action"`   // as in policies: s3:GetObject
	Resource string `json:"resource"` // ARN, or *
}

// callsOf names what a request asks for, each once.
func (f *Front) callsOf(r *request) []Call {
	var calls []Call
	switch r.service {
	case "s3":
		calls = objectCalls(r)
	case "dynamodb":
		calls = f.tableCalls(r)
	case "sqs":
		var in struct{ QueueUrl string }
		_ = json.Unmarshal(r.body, &in) // moto says what is wrong with it
		calls = []Call{{Action: "sqs:" + strings.TrimSuffix(r.target, "Batch"), Resource: f.arn(r, "sqs", queueName(in.QueueUrl))}}
	case "secretsmanager":
		var in struct{ SecretId string }
		_ = json.Unmarshal(r.body, &in) // moto says what is wrong with it
		calls = []Call{{Action: "secretsmanager:" + r.target, Resource: orAny(in.SecretId)}}
	case "ssm":
		var in struct{ Name string }
		_ = json.Unmarshal(r.body, &in) // moto says what is wrong with it
		resource := in.Name
		if !strings.HasPrefix(resource, "arn:") {
			resource = f.arn(r, "ssm", "parameter/"+strings.TrimPrefix(in.Name, "/"))
		}
		calls = []Call{{Action: "ssm:" + r.target, Resource: resource}}
	case "cloudtrail":
		var in struct{ TrailName, Name string } // names, or ARNs
		_ = json.Unmarshal(r.body, &in)         // moto says what is wrong with it
		resource := cmp.Or(in.TrailName, in.Name, "*")
		if resource != "*" && !strings.HasPrefix(resource, "arn:") {
			resource = f.arn(r, "cloudtrail", "trail/"+resource)
		}
		calls = []Call{{Action: "cloudtrail:" + operation(r), Resource: resource}}
	default:
		calls = []Call{{Action: r.service + ":" + operation(r), Resource: "*"}}
	}
	slices.SortFunc(calls, func(a, b Call) int { return strings.Compare(a.Action+a.Resource, b.Action+b.Resource) })
	return slices.Compact(calls)
}

func orAny(resource string) string {
	if resource == "" {
		return "*"
	}
	return resource
}

// operation names what is asked of a service: in a header, in a form, or, for
// services that have neither, by method and path.
func operation(r *request) string {
	if r.target != "" {
		return r.target
	}
	if form, err := url.ParseQuery(string(r.body)); err == nil && form.Get("Action") != "" {
		return form.Get("Action")
	}
	return r.Method + " " + r.URL.Path
}

func (f *Front) arn(r *request, service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, r.region, f.account, resource)
}

// transactActions are the actions of the parts of a transaction.
var transactActions = map[string]string{
	"Put": "dynamodb:PutItem", "Delete": "dynamodb:DeleteItem", "Update": "dynamodb:UpdateItem",
	"ConditionCheck": "dynamodb:ConditionCheckItem", "Get": "dynamodb:GetItem",
}

// tableCalls names what is asked of DynamoDB. The parts of a transaction are
// permitted one by one
// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html).
func (f *Front) tableCalls(r *request) (calls []Call) {
	var in struct {
		TableName     string
		RequestItems  map[string]json.RawMessage
		TransactItems []map[string]struct{ TableName string }
	}
	_ = json.Unmarshal(r.body, &in) // moto says what is wrong with it
	table := func(name string) string { return f.arn(r, "dynamodb", "table/"+name) }
	for _, item := range in.TransactItems {
		for kind, part := range item {
			calls = append(calls, Call{Action: transactActions[kind], Resource: table(part.TableName)})
		}
	}
	for name := range in.RequestItems {
		calls = append(calls, Call{Action: "dynamodb:" + r.target, Resource: table(name)})
	}
	if in.TableName != "" {
		calls = append(calls, Call{Action: "dynamodb:" + r.target, Resource: table(in.TableName)})
	}
	if len(calls) == 0 {
		calls = []Call{{Action: "dynamodb:" + r.target, Resource: "*"}}
	}
	return calls
}

// bucketActions are the actions of sub-resources of a bucket, by method.
var bucketActions = map[string]string{
	"GET versions": "s3:ListBucketVersions", "GET uploads": "s3:ListBucketMultipartUploads", "GET location": "s3:GetBucketLocation",
	"GET versioning": "s3:GetBucketVersioning", "GET notification": "s3:GetBucketNotification", "GET policy": "s3:GetBucketPolicy",
	"PUT notification": "s3:PutBucketNotification", "PUT versioning": "s3:PutBucketVersioning", "PUT policy": "s3:PutBucketPolicy",
}

// objectCalls names what is asked of S3, with the bucket in the path
// (docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html).
func objectCalls(r *request) []Call {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	bucketARN := "arn:aws:s3:::" + bucket
	switch {
	case bucket == "":
		return []Call{{Action: "s3:ListAllMyBuckets", Resource: "*"}}
	case key == "" && r.Method == http.MethodPost && q.Has("delete"):
		return deletions(bucketARN, r.body)
	case key == "":
		for sub, action := range bucketActions {
			if method, name, _ := strings.Cut(sub, " "); method == r.Method && q.Has(name) {
				return []Call{{Action: action, Resource: bucketARN}}
			}
		}
		action := map[string]string{
			http.MethodGet: "s3:ListBucket", http.MethodHead: "s3:ListBucket", http.MethodPut: "s3:CreateBucket", http.MethodDelete: "s3:DeleteBucket",
		}[r.Method]
		return []Call{{Action: action, Resource: bucketARN}}
	}
	action := "s3:PutObject"
	version := ""
	if q.Has("versionId") {
		version = "Version"
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		action = "s3:GetObject" + version
	case http.MethodDelete:
		action = "s3:DeleteObject" + version
		if q.Has("uploadId") {
			action = "s3:AbortMultipartUpload"
		}
	}
	calls := []Call{{Action: action, Resource: bucketARN + "/" + key}}
	if source, err := url.PathUnescape(r.Header.Get("X-Amz-Copy-Source")); err == nil && source != "" {
		calls = append(calls, Call{Action: "s3:GetObject", Resource: "arn:aws:s3:::" + strings.TrimPrefix(source, "/")})
	}
	return calls
}

// deletions names what DeleteObjects asks for.
func deletions(bucket string, body []byte) (calls []Call) {
	var in struct {
		Object []struct {
			Key       string
			VersionID string `xml:"VersionId"`
		}
	}
	_ = xml.Unmarshal(body, &in) //nolint:gosec // two texts are read, for a log; moto says what is wrong with the rest
	for _, o := range in.Object {
		action := "s3:DeleteObject"
		if o.VersionID != "" {
			action += "Version"
		}
		calls = append(calls, Call{Action: action, Resource: bucket + "/" + o.Key})
	}
	return calls
}

// missing is what else is needed when an object is not there: S3 says so only to
// those who may list the bucket, and forbids it to others.
func missing(r *request, resp *response, calls []Call) []Call {
	if r.service != "s3" || resp.status != http.StatusNotFound || len(calls) != 1 || !strings.HasPrefix(calls[0].Action, "s3:GetObject") {
		return nil
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return []Call{{Action: "s3:ListBucket", Resource: "arn:aws:s3:::" + bucket}}
}
