package mapping

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// record is a message as Lambda gives it to a function.
type record struct {
	MessageID         string               `json:"messageId"`
	ReceiptHandle     string               `json:"receiptHandle"`
	Body              string               `json:"body"`
	Attributes        map[string]string    `json:"attributes"`
	MessageAttributes map[string]attribute `json:"messageAttributes"`
	MD5OfBody         string               `json:"md5OfBody"`
	EventSource       string               `json:"eventSource"`
	EventSourceARN    string               `json:"eventSourceARN"`
	AWSRegion         string               `json:"awsRegion"`
}

type attribute struct {
	StringValue      *string  `json:"stringValue,omitempty"`
	BinaryValue      string   `json:"binaryValue,omitempty"`
	StringListValues []string `json:"stringListValues"`
	BinaryListValues []string `json:"binaryListValues"`
	DataType         string   `json:"dataType"`
}

// eventOf writes the event with as many of the first messages as fit into limit
// bytes, but at least one, and returns how many those are.
func eventOf(batch []types.Message, arn string, limit int) (event []byte, n int, err error) {
	const head, tail = `{"Records":[`, `]}`
	event = append(event, head...)
	for ; n < len(batch); n++ {
		one, err := json.Marshal(recordOf(batch[n], arn))
		if err != nil {
			return nil, 0, fmt.Errorf("write message %s: %w", aws.ToString(batch[n].MessageId), err)
		}
		if n > 0 {
			if len(event)+1+len(one)+len(tail) > limit {
				break
			}
			event = append(event, ',')
		}
		event = append(event, one...)
	}
	return append(event, tail...), n, nil
}

func recordOf(m types.Message, arn string) record {
	r := record{
		MessageID: aws.ToString(m.MessageId), ReceiptHandle: aws.ToString(m.ReceiptHandle), Body: aws.ToString(m.Body),
		Attributes: m.Attributes, MessageAttributes: map[string]attribute{}, MD5OfBody: aws.ToString(m.MD5OfBody),
		EventSource: "aws:sqs", EventSourceARN: arn, AWSRegion: regionOf(arn),
	}
	for name, a := range m.MessageAttributes {
		r.MessageAttributes[name] = attribute{
			StringValue: a.StringValue, BinaryValue: base64.StdEncoding.EncodeToString(a.BinaryValue),
			StringListValues: []string{}, BinaryListValues: []string{}, DataType: aws.ToString(a.DataType),
		}
	}
	return r
}

// regionOf takes the Region out of an ARN.
func regionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 5); len(parts) == 5 {
		return parts[3]
	}
	return ""
}

// failures reads which messages a function's answer keeps in the queue. An error
// means that all of them stay. What Lambda takes for what is in
// docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html.
func failures(answer []byte, batch []types.Message) (map[string]bool, error) {
	if len(answer) == 0 {
		return nil, nil
	}
	var fields map[string]json.RawMessage // not a struct, which would take names of any case
	if err := json.Unmarshal(answer, &fields); err != nil {
		return nil, fmt.Errorf("read the function's answer: %w", err)
	}
	var items []map[string]json.RawMessage
	if list, ok := fields["batchItemFailures"]; ok {
		if err := json.Unmarshal(list, &items); err != nil {
			return nil, fmt.Errorf("read the function's answer: batchItemFailures: %w", err)
		}
	}
	known := make(map[string]bool, len(batch))
	for _, m := range batch {
		known[aws.ToString(m.MessageId)] = true
	}
	failed := make(map[string]bool, len(items))
	for _, item := range items {
		var id string
		if err := json.Unmarshal(item["itemIdentifier"], &id); err != nil || id == "" {
			return nil, errors.New("read the function's answer: a failure has no itemIdentifier")
		}
		if !known[id] {
			return nil, fmt.Errorf("read the function's answer: %s is no message of the batch", id)
		}
		failed[id] = true
	}
	return failed, nil
}
