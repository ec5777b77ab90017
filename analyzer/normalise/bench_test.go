package normalise

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// massRecords returns records as they come in masses: n calls by sessions of a
// few applications, the most of them on data seen before.
func massRecords(n int) (records [][]byte, size int64) {
	for i := range n {
		session := i * 7919 % 400
		record := fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE%[1]d:worker-%[2]d","arn":"arn:aws:sts::111122223333:assumed-role/app-%[1]d/worker-%[2]d","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE%[2]d","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE%[1]d","arn":"arn:aws:iam::111122223333:role/service/app-%[1]d","accountId":"111122223333","userName":"app-%[1]d"},"attributes":{"creationDate":"2026-03-02T08:00:00Z","mfaAuthenticated":"false"}},"invokedBy":"AWS Internal"},"eventTime":"2026-03-02T09:%02[3]d:%02[4]dZ","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"eu-west-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal","requestParameters":{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::example-documents/%[5]d.pdf"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"},"responseElements":null,"additionalEventData":{"keyMaterialId":"4803b6b943f8760cc204e282262ac10d68c40ee0247515930a7fc7775a3bbea6"},"requestID":"369429a8-4006-43ac-b753-%012[6]x","eventID":"fbea7715-053d-4e2f-beac-%012[6]x","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/4ff01bcd-55e3-4dae-a27d-%012[1]x"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
			session%20, session, i/60%60, i%60, i*31%3000, i)
		records = append(records, []byte(record))
		size += int64(len(record))
	}
	return records, size / int64(n)
}

// BenchmarkMassEvents measures records that the reader has parsed, which is how
// they come when logs are read.
func BenchmarkMassEvents(b *testing.B) {
	records, size := massRecords(500)
	docs := make([]jsonscan.Doc, len(records))
	for i := range docs {
		require.NoError(b, docs[i].Parse(records[i]))
	}
	n := New()
	var ev analyzer.Event
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := n.Record(docs[i%len(docs)].Root(), Hint{}, &ev); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkControlEvents(b *testing.B) {
	data := recordOf(b, createGrant+`{"keyId": "x", "granteePrincipal": "arn:aws:iam::444455556666:role/app", "operations": ["Decrypt"], "constraints": {"encryptionContextSubset": {"a": "1"}}}`)
	n := New()
	var ev analyzer.Event
	b.ReportAllocs()
	for b.Loop() {
		if err := n.Event(data, Hint{}, &ev); err != nil {
			b.Fatal(err)
		}
	}
}
