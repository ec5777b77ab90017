package ingest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// directNames are the events that KMS gives to EventBridge itself, beside the
// trail, and the service events of CloudTrail that say the same
// (docs.aws.amazon.com/kms/latest/developerguide/kms-events.html).
var directNames = map[string]string{
	"KMS CMK Deletion":                     "DeleteKey",
	"KMS CMK Rotation":                     "RotateKey",
	"KMS Imported Key Material Expiration": "DeleteExpiredKeyMaterial",
}

// direct turns such an event into the record that CloudTrail writes of the same
// effect, in EventBridge's envelope. The two have different ids: a detection
// that reads them counts one effect on a key once a day, not once an id.
func direct(body []byte) (json.RawMessage, error) {
	var e struct {
		ID         string   `json:"id"`
		DetailType string   `json:"detail-type"`
		Account    string   `json:"account"`
		Time       string   `json:"time"`
		Region     string   `json:"region"`
		Resources  []string `json:"resources"`
		Detail     struct {
			KeyID string `json:"key-id"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	name, ok := directNames[e.DetailType]
	if !ok {
		return nil, fmt.Errorf("%w: KMS's event %q", errUnknown, e.DetailType)
	}
	key := ""
	for _, arn := range e.Resources {
		if strings.HasPrefix(arn, "arn:") && strings.Contains(arn, ":key/") {
			key = arn
		}
	}
	if key == "" && e.Detail.KeyID != "" {
		key = fmt.Sprintf("arn:%s:kms:%s:%s:key/%s", partition(e.Region), e.Region, e.Account, e.Detail.KeyID)
	}
	if key == "" || e.ID == "" {
		return nil, fmt.Errorf("%w: KMS's event %q names no key", errUnknown, e.DetailType)
	}
	type m = map[string]any
	record, err := json.Marshal(m{
		"detail-type": "AWS Service Event via CloudTrail", "source": "aws.kms", "account": e.Account, "region": e.Region,
		"detail": m{
			"eventVersion": "1.11", "eventSource": "kms.amazonaws.com", "eventName": name, "eventType": "AwsServiceEvent",
			"eventTime": e.Time, "awsRegion": e.Region, "eventID": e.ID, "recipientAccountId": e.Account, "readOnly": false,
			"userIdentity":    m{"accountId": e.Account, "invokedBy": "AWS Internal"},
			"sourceIPAddress": "AWS Internal", "userAgent": "AWS Internal", "eventCategory": "Management", "managementEvent": true,
			"resources":           []m{{"accountId": e.Account, "type": "AWS::KMS::Key", "ARN": key}},
			"serviceEventDetails": m{"keyId": e.Detail.KeyID},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return record, nil
}

// partition is the first part of the ARNs of a Region.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
