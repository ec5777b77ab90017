package normalise

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

// FuzzEvent feeds arbitrary bytes: no panic, no event that the lake or a
// database could not hold, and the same event whatever the caches know.
func FuzzEvent(f *testing.F) {
	f.Add(recordOf(f, ""))
	f.Add(recordOf(f, `"requestParameters": {"encryptionContext": {"b": "2", "a": "\u00e9\ud800"}}`))
	f.Add(recordOf(f, `"eventName": "CreateGrant", "readOnly": false, "requestParameters": {"granteePrincipal": " x:", "operations": "[", "constraints": []}`))
	f.Add(recordOf(f, `"eventSource": "cloudtrail.amazonaws.com", "eventName": "PutEventSelectors", "readOnly": "x", "requestParameters": {"eventSelectors": [[{}]], "advancedEventSelectors": {"fieldSelectors": 1}}`))
	f.Add(recordOf(f, `"userIdentity": [], "resources": {}, "tlsDetails": 1, "additionalEventData": [[]], "errorCode": "AccessDenied", "errorMessage": "arn:aws:kms arn:aws:kms:::"`))
	f.Add([]byte(`{"eventName":"a","eventSource":"b","eventTime":"2026-03-02T09:00:00Z","eventID":"\`))
	f.Add([]byte(` { "eventTime" : 1772442000.25 , "eventName":"\n","eventSource":"` + "\xff" + `"} `))
	n, other := New(WithPolicyJudge(func(*analyzer.Event) {})), New()
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, again analyzer.Event
		err := n.Event(data, Hint{}, &first)
		if err != nil {
			if !errors.Is(err, ErrIncomplete) {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid(data) {
			return // the reader of records lets none of these through
		}
		checkText(t, &first)
		for range 2 {
			require.NoError(t, other.Event(data, Hint{}, &again))
			require.Equal(t, first, again)
		}
	})
}
