package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

// Invariant 2 of the design: an event counts once, whatever brings it twice; a
// call across accounts gives two events, which are both kept, and one alert.
func TestCopiesOfOneCallAreOneFinding(t *testing.T) {
	needShipped(t)
	at := time.Date(2026, 3, 2, 10, 2, 0, 0, time.UTC)
	key := ourKeys[0]
	worker := "arn:aws:iam::777788889999:role/intruder"
	each := func(n int, add func(h *history, i int, at time.Time)) func(h *history) {
		return func(h *history) {
			for i := range n {
				add(h, i, at.Add(time.Duration(i)*time.Second))
			}
		}
	}
	grant := fields{
		"requestParameters": fields{"granteePrincipal": worker, "operations": []any{"CreateGrant", "Decrypt"}},
		"responseElements":  fields{"grantId": "g-1", "keyId": key},
	}
	tests := []struct {
		name      string
		detection string
		do        func(h *history)
		count     int64
		events    int // whose ids the finding names
	}{
		{"a first use", "KMS-U01", each(1, func(h *history, _ int, at time.Time) {
			h.addBoth(at, second, "Decrypt", key, nil, true, true)
		}), 1, 1},
		{"use off the allow-list", "KMS-U02", each(3, func(h *history, _ int, at time.Time) {
			h.addBoth(at, second, "Decrypt", key, nil, true, true)
		}), 3, 3},
		{"a fan-out over keys", "KMS-U04", each(10, func(h *history, i int, at time.Time) {
			h.addBoth(at, second, "Decrypt", keyARN(ours, usEast, 20+i), nil, true, true)
		}), 10, 10},
		{"a secret harvest", "KMS-U05", each(20, func(h *history, i int, at time.Time) {
			h.addBoth(at, second, "Decrypt", key, fields{"requestParameters": fields{"encryptionContext": fields{
				"SecretARN": fmt.Sprint("arn:aws:secretsmanager:us-east-1:111122223333:secret:s", i),
			}}}, true, true)
		}), 20, 20},
		{"a grant to an outsider", "KMS-G01", each(1, func(h *history, _ int, at time.Time) {
			h.addBoth(at, second, "CreateGrant", key, grant, true, true)
		}), 1, 2},
		{"a grant that can grant", "KMS-G02", each(1, func(h *history, _ int, at time.Time) {
			h.addBoth(at, second, "CreateGrant", key, grant, true, true)
		}), 1, 2},
		{"an unconstrained grant", "KMS-G04", each(1, func(h *history, _ int, at time.Time) {
			h.addBoth(at, second, "CreateGrant", key, grant, true, true)
		}), 1, 2},
		{"the same grant again and again", "KMS-G05", each(3, func(h *history, i int, at time.Time) {
			h.addBoth(at, second, "CreateGrant", key, fields{
				"requestParameters": grant["requestParameters"], "responseElements": fields{"grantId": fmt.Sprint("g-", i), "keyId": key},
			}, true, true)
		}), 3, 6},
		{"grants retired", "KMS-D17", each(5, func(h *history, i int, at time.Time) {
			h.addBoth(at, second, "RetireGrant", key, fields{"requestParameters": nil, "additionalEventData": fields{"grantId": fmt.Sprint("g-", i)}}, true, true)
		}), 5, 5},
		{"use of a dead key", "KMS-D07", each(2, func(h *history, _ int, at time.Time) {
			h.addBoth(at, second, "Decrypt", key, fields{"errorCode": "DisabledException", "errorMessage": key + " is disabled."}, true, true)
		}), 2, 4},
		{"a call in one account", "KMS-D02", each(1, func(h *history, _ int, at time.Time) {
			h.add(h.kms(at, alice, "DisableKey", key, nil))
		}), 1, 1},
	}
	for _, test := range tests {
		for _, listed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, accounts listed: %t", test.name, listed), func(t *testing.T) {
				settings := &analyzer.Settings{KeyAllow: []analyzer.KeyAllow{{Key: key, Principals: []string{"*:role/app"}}}}
				h := &history{}
				if listed {
					settings.Organisation = []analyzer.Account{{ID: ours}, {ID: ours2}}
				} else {
					// That both accounts are ours shows in what their trails deliver.
					h.add(h.kms(at.Add(-time.Hour), second, "ListKeys", "", nil))
					h.add(h.kms(at.Add(-time.Hour), app, "ListKeys", "", nil))
				}
				settings.Defaults()
				only(settings, test.detection)
				before := len(h.entries)
				test.do(h)
				calls := h.entries[before:]

				w := newWorld(t, settings)
				defer w.close()
				// Two trails and EventBridge bring each event, now and later.
				w.ingest(2, pack(asGzip, h.entries), pack(asRecords, h.entries), pack(asEnvelopes, calls))
				w.analyze()
				w.ingest(1, pack(asEnvelopes, calls), pack(asLines, h.entries))
				w.analyze()

				require.Equal(t, int64(len(h.entries)), w.kept, "both copies of a call are kept, each once")
				require.Equal(t, int64(2*len(h.entries)+2*len(calls)), w.repeated, "of three times all and twice the calls")
				var found []analyzer.Finding
				for _, f := range w.list() {
					if f.Detection == test.detection {
						found = append(found, f)
					}
				}
				require.Len(t, found, 1)
				require.Equal(t, test.count, found[0].Count, "calls are counted, not their copies")
				require.Len(t, found[0].EventIDs, test.events)
				if test.detection != "KMS-D07" && test.detection != "KMS-D02" {
					require.Equal(t, "arn:aws:iam::444455556666:role/batch", found[0].Principal, "the caller's own copy says who it was")
				}
				alerts := 0
				for _, a := range w.alerts() {
					if a.Detection == test.detection {
						alerts++
						require.Equal(t, test.count, a.Count)
					}
				}
				require.Equal(t, 1, alerts)
			})
		}
	}
}
