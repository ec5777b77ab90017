package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/keytrail/keytrail/analyzer/trail"
)

// object is a log object that a message names.
type object struct {
	Bucket  string
	Key     string // as it is, not encoded
	Version string
	ETag    string // without quotes; empty when the notification does not say
	Size    int64
}

// delivery is what one message brings.
type delivery struct {
	objects []object
	calls   []json.RawMessage // EventBridge envelopes of API calls and of direct KMS events
	ignored string            // why there is nothing to do, when there is not
}

// errUnknown is wrapped by the error for a message that is nothing we know: to
// deliver it again would change nothing.
var errUnknown = errors.New("not a notification that Keytrail knows")

// maxNesting is how many envelopes one message may have: SNS around S3, or
// EventBridge, is one.
const maxNesting = 3

// envelope has the fields that tell the kinds of messages apart.
type envelope struct {
	// S3's notifications
	Records []struct {
		EventSource string `json:"eventSource"`
		EventName   string `json:"eventName"`
		S3          struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key       string `json:"key"` // URL-encoded
				Size      int64  `json:"size"`
				ETag      string `json:"eTag"`
				VersionID string `json:"versionId"`
			} `json:"object"`
		} `json:"s3"`
	} `json:"Records"`
	Event string `json:"Event"` // s3:TestEvent, when notifications are configured

	// SNS
	Type    string `json:"Type"`
	Message string `json:"Message"`

	// CloudTrail's own notifications through SNS
	S3Bucket     string   `json:"s3Bucket"`
	S3ObjectKeys []string `json:"s3ObjectKey"`

	// EventBridge
	Source     string          `json:"source"`
	DetailType string          `json:"detail-type"`
	Detail     json.RawMessage `json:"detail"`
}

// parse says what a message brings.
func parse(body string) (delivery, error) { return parseAt(body, 0) }

func parseAt(body string, depth int) (d delivery, err error) {
	if depth == maxNesting {
		return d, fmt.Errorf("%w: envelopes within envelopes", errUnknown)
	}
	var e envelope
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return d, fmt.Errorf("%w: %w", errUnknown, err)
	}
	switch {
	case e.Event == "s3:TestEvent":
		d.ignored = "S3's test of the notification"
	case e.Type == "Notification" && e.Message != "":
		return parseAt(e.Message, depth+1)
	case e.Type == "SubscriptionConfirmation" || e.Type == "UnsubscribeConfirmation":
		d.ignored = "SNS's " + e.Type
	case len(e.Records) > 0:
		return fromS3(e)
	case e.S3Bucket != "" && len(e.S3ObjectKeys) > 0:
		for _, key := range e.S3ObjectKeys {
			d.objects = append(d.objects, object{Bucket: e.S3Bucket, Key: key})
		}
	case e.Source == "aws.s3":
		return fromEventBridge(e)
	case e.DetailType == "AWS API Call via CloudTrail", e.DetailType == "AWS Service Event via CloudTrail",
		e.DetailType == "AWS Console Sign In via CloudTrail":
		d.calls = append(d.calls, json.RawMessage(body))
	case e.Source == "aws.kms":
		call, err := direct([]byte(body))
		if err != nil {
			return d, err
		}
		d.calls = append(d.calls, call)
	default:
		return d, fmt.Errorf("%w: it is neither from S3, SNS nor EventBridge", errUnknown)
	}
	return d, nil
}

// fromS3 reads S3's own notification. Its keys are URL-encoded.
func fromS3(e envelope) (d delivery, err error) {
	for _, r := range e.Records {
		if r.EventSource != "aws:s3" {
			return d, fmt.Errorf("%w: a record from %q", errUnknown, r.EventSource)
		}
		if !strings.HasPrefix(r.EventName, "ObjectCreated:") {
			d.ignored = "S3's " + r.EventName
			continue
		}
		key, err := trail.DecodeObjectKey(r.S3.Object.Key)
		if err != nil {
			return d, fmt.Errorf("%w: %w", errUnknown, err)
		}
		if r.S3.Bucket.Name == "" || key == "" {
			return d, fmt.Errorf("%w: S3's record names no object", errUnknown)
		}
		d.objects = append(d.objects, object{r.S3.Bucket.Name, key, r.S3.Object.VersionID, r.S3.Object.ETag, r.S3.Object.Size})
	}
	return d, nil
}

// fromEventBridge reads S3's notification as EventBridge gives it. Its key is
// not encoded.
func fromEventBridge(e envelope) (d delivery, err error) {
	if e.DetailType != "Object Created" {
		d.ignored = "S3's " + e.DetailType
		return d, nil
	}
	var detail struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			Size      int64  `json:"size"`
			ETag      string `json:"etag"`
			VersionID string `json:"version-id"`
		} `json:"object"`
	}
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return d, fmt.Errorf("%w: %w", errUnknown, err)
	}
	if detail.Bucket.Name == "" || detail.Object.Key == "" {
		return d, fmt.Errorf("%w: S3's event names no object", errUnknown)
	}
	d.objects = append(d.objects, object{detail.Bucket.Name, detail.Object.Key, detail.Object.VersionID, detail.Object.ETag, detail.Object.Size})
	return d, nil
}
