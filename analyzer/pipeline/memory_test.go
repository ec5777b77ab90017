package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

// Each of these needs one thing that only memory knows when its last events
// come, days or months after the first. Random histories find them too, but not
// in every run.
func TestWhatMemoryKnowsIsWhatTheLogsSaid(t *testing.T) {
	needShipped(t)
	key, other := ourKeys[0], ourKeys[1]
	worker := "arn:aws:iam::111122223333:role/worker"
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	day := func(n float64) time.Time { return start.Add(time.Duration(n * float64(24*time.Hour))) }
	grant := func(h *history, at time.Time, n int) {
		h.add(h.kms(at, app, "CreateGrant", key, fields{
			"requestParameters": fields{"granteePrincipal": worker, "operations": []any{"Decrypt"}},
			"responseElements":  fields{"grantId": fmt.Sprint("g-", n), "keyId": key},
		}))
	}
	trail := func(h *history, at time.Time, who caller, name string, request fields) {
		r := h.kms(at, who, name, "", fields{"requestParameters": request, "readOnly": false})
		r["eventSource"] = "cloudtrail.amazonaws.com"
		h.add(r)
	}
	burst := func(h *history, at time.Time, who caller, n int) {
		for i := range n {
			h.add(h.kms(at.Add(time.Duration(i)*20*time.Second), who, "Decrypt", key, nil))
		}
	}
	alias := func(h *history, at time.Time, call, key string) {
		h.add(h.kms(at, alice, call, key, fields{"requestParameters": fields{"keyId": nil, "aliasName": "alias/prod", "targetKeyId": key}}))
	}
	quiet := func(h *history, at time.Time) { h.add(h.kms(at, app, "EnableKey", keyARN(ours, usEast, 99), nil)) }

	tests := []struct {
		name      string
		detection string
		settings  analyzer.Settings
		params    map[string]any
		do        func(h *history)
		cuts      []time.Time // before each time goes on, and what is old by then is folded
		check     func(t *testing.T, found []analyzer.Finding)
	}{
		{
			name: "who scheduled a key that is gone a month later", detection: "KMS-D06",
			do: func(h *history) {
				h.add(h.kms(day(-3), app, "ScheduleKeyDeletion", key, nil))
				h.add(h.kms(day(0), alice, "ScheduleKeyDeletion", key, nil))
				quiet(h, day(20))
				h.add(h.kms(day(30), app, "DeleteKey", key, fields{
					"eventType": "AwsServiceEvent", "userIdentity": fields{"accountId": ours, "invokedBy": "AWS Internal"}, "serviceEventDetails": fields{"keyId": key},
				}))
			},
			cuts: []time.Time{day(-1), day(5), day(29)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Equal(t, "arn:aws:iam::111122223333:user/alice", found[0].Evidence["scheduled_by"])
			},
		},
		{
			name: "a key used longer ago than anything counts", detection: "KMS-D01",
			do: func(h *history) {
				h.add(h.kms(day(0), app, "Decrypt", key, nil))
				quiet(h, day(50))
				quiet(h, day(110))
				h.add(h.kms(day(120), alice, "ScheduleKeyDeletion", key, fields{"requestParameters": fields{"pendingWindowInDays": 30}}))
			},
			cuts: []time.Time{day(1), day(51), day(119)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Equal(t, analyzer.Low, found[0].Severity)
			},
		},
		{
			name: "a key used some weeks ago", detection: "KMS-D01",
			do: func(h *history) {
				h.add(h.kms(day(0), app, "Decrypt", key, nil))
				quiet(h, day(10))
				h.add(h.kms(day(20), alice, "ScheduleKeyDeletion", key, fields{"requestParameters": fields{"pendingWindowInDays": 30}}))
			},
			cuts: []time.Time{day(1), day(11)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Equal(t, analyzer.High, found[0].Severity)
			},
		},
		{
			name: "the bucket of a trail that was updated without one, beside a namesake", detection: "KMS-A03",
			do: func(h *history) {
				trail(h, day(0), alice, "CreateTrail", fields{"name": "management", "s3BucketName": "logs-a"})
				trail(h, day(0.1), alice, "UpdateTrail", fields{"name": "management", "s3BucketName": "logs-b"})
				trail(h, day(1), alice, "UpdateTrail", fields{"name": "management"})
				trail(h, day(2), second, "UpdateTrail", fields{"name": "management", "s3BucketName": "logs-c"})
				trail(h, day(8), alice, "UpdateTrail", fields{"name": "management", "s3BucketName": "logs-c"})
			},
			cuts: []time.Time{day(0.5), day(1.5), day(5)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Equal(t, "logs-b", found[len(found)-1].Evidence["bucket_before"])
			},
		},
		{
			name: "the selectors of a trail, beside those of a namesake", detection: "KMS-A01",
			do: func(h *history) {
				selectors := func(at time.Time, who caller, reads string, exclude ...any) {
					trail(h, at, who, "PutEventSelectors", fields{"trailName": "management", "eventSelectors": []any{
						fields{"readWriteType": reads, "includeManagementEvents": true, "excludeManagementEventSources": exclude},
					}})
				}
				selectors(day(0), alice, "All")
				selectors(day(1), second, "WriteOnly")
				selectors(day(8), alice, "All", "kms.amazonaws.com")
			},
			cuts: []time.Time{day(5)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.NotContains(t, found[0].Evidence["selectors_before"], "WriteOnly")
			},
		},
		{
			name: "a grant of long ago that is revoked and made again", detection: "KMS-G05",
			do: func(h *history) {
				grant(h, day(0), 1)
				quiet(h, day(4))
				h.add(h.kms(day(9), alice, "RevokeGrant", key, fields{"requestParameters": fields{"grantId": "g-1"}}))
				grant(h, day(9).Add(5*time.Minute), 2)
			},
			cuts: []time.Time{day(0.5), day(5)},
		},
		{
			name: "days of grants that overlap", detection: "KMS-G05",
			do: func(h *history) {
				grant(h, day(0), 1)                                 // in the day's window only
				grant(h, day(0).Add(5*time.Hour), 2)                // in the afternoon: in that from noon, too
				grant(h, day(0).Add(6*time.Hour), 3)                // the same
				quiet(h, day(1).Add(time.Hour))                     // time goes on
				grant(h, day(1).Add(2*time.Hour+30*time.Minute), 4) // the third of the window from noon
			},
			cuts:  []time.Time{day(0.5), day(1).Add(2 * time.Hour)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 2) },
		},
		{
			name: "a grant on an outside key, used days later", detection: "KMS-U08",
			do: func(h *history) {
				h.add(h.kms(day(0), app, "CreateGrant", outsideKey, fields{
					"requestParameters": fields{"granteePrincipal": worker, "operations": []any{"Decrypt"}}, "responseElements": fields{"grantId": "g-1"},
				}))
				h.add(h.kms(day(3), app, "Encrypt", outsideKey, nil))
			},
			cuts:  []time.Time{day(1)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 2) },
		},
		{
			name: "a caller whose account delivers only later", detection: "KMS-U01",
			do: func(h *history) {
				h.addBoth(day(0), second, "Decrypt", key, nil, true, false)
				h.add(h.kms(day(3), second, "ListKeys", "", nil))
				h.addBoth(day(4), second, "Decrypt", other, nil, true, true)
			},
			cuts:  []time.Time{day(1), day(3.5)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 2) },
		},
		{
			name: "a grant on a key whose account delivers only later", detection: "KMS-G01",
			do: func(h *history) {
				h.add(h.kms(day(0), intruder, "CreateGrant", keyARN(ours2, usEast, 4), fields{
					"requestParameters": fields{"granteePrincipal": "arn:aws:iam::777788889999:role/intruder", "operations": []any{"Decrypt"}}, "responseElements": fields{"grantId": "g-1"},
				}))
				h.add(h.kms(day(4), second, "ListKeys", "", nil))
				h.add(h.kms(day(5), alice, "CreateGrant", key, fields{
					"requestParameters": fields{"granteePrincipal": "arn:aws:iam::777700001111:role/x", "operations": []any{"Decrypt"}}, "responseElements": fields{"grantId": "g-2"},
				}))
			},
			cuts:  []time.Time{day(1), day(4.5)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 1) },
		},
		{
			name: "a pair known since long ago", detection: "KMS-U01",
			do: func(h *history) {
				h.add(h.kms(day(0), app, "Decrypt", key, nil))
				h.add(h.kms(day(20), app, "Decrypt", key, nil))
				h.add(h.kms(day(30), app, "Decrypt", key, nil))
				h.add(h.kms(day(31), etl, "Decrypt", key, nil))
			},
			cuts:  []time.Time{day(1), day(21), day(30.5)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 1) },
		},
		{
			name: "learning that ends while nothing is used", detection: "KMS-U01",
			do: func(h *history) {
				h.add(h.kms(day(0), app, "Decrypt", key, nil))
				quiet(h, day(20))
				h.add(h.kms(day(21), app, "Decrypt", key, nil))
				h.add(h.kms(day(22), etl, "Decrypt", key, nil))
			},
			cuts:  []time.Time{day(1), day(20.5), day(21.5)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 1) },
		},
		{
			name: "learning that ends for a detection that need not learn", detection: "KMS-U07",
			settings: analyzer.Settings{Organisation: []analyzer.Account{{ID: ours}}},
			do: func(h *history) {
				h.addBoth(day(0), intruder, "Decrypt", key, nil, true, false)
				h.addBoth(day(20), intruder, "Decrypt", key, nil, true, false)
			},
			cuts:  []time.Time{day(1)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 2) },
		},
		{
			name: "an outside account seen long ago", detection: "KMS-U07",
			do: func(h *history) {
				h.addBoth(day(0), intruder, "Decrypt", key, nil, true, false)
				h.addBoth(day(20), intruder, "Decrypt", key, nil, true, false)
				h.addBoth(day(21), intruder, "Decrypt", other, nil, true, false)
			},
			cuts:  []time.Time{day(1), day(20.5)},
			check: func(t *testing.T, found []analyzer.Finding) { require.Len(t, found, 1) },
		},
		{
			name: "a busy hour of the week before", detection: "KMS-U03",
			params: map[string]any{"floor": 30, "baseline": "48h", "burst": 1000},
			do: func(h *history) {
				h.add(h.kms(day(-3), app, "Decrypt", key, nil))
				h.add(h.kms(day(-3), etl, "Decrypt", key, nil))
				burst(h, day(0), app, 60)
				quiet(h, day(3))
				burst(h, day(7), app, 120) // twice as much is usual enough
				burst(h, day(7), etl, 120)
			},
			cuts: []time.Time{day(1), day(4)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Len(t, found, 2, "the first hour of the one, and that of the other")
				require.Contains(t, found[1].Principal, "etl")
			},
		},
		{
			name: "a burst of which each tick sees a part", detection: "KMS-U03",
			params: map[string]any{"burst": 25, "floor": 1000},
			do:     func(h *history) { burst(h, day(0), alice, 30) },
			cuts:   []time.Time{day(0).Add(100 * time.Second), day(0).Add(4 * time.Minute), day(0).Add(8 * time.Minute)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Equal(t, int64(30), found[len(found)-1].Count)
				require.Len(t, found[len(found)-1].EventIDs, 30)
			},
		},
		{
			name: "secrets of which each tick sees some", detection: "KMS-U05",
			do: func(h *history) {
				for i := range 12 {
					h.add(h.kms(day(0).Add(time.Duration(i)*20*time.Second), alice, "Decrypt", key, fields{"requestParameters": fields{
						"encryptionContext": fields{"SecretARN": fmt.Sprint("arn:aws:secretsmanager:us-east-1:111122223333:secret:s", i)},
					}}))
				}
			},
			cuts: []time.Time{day(0).Add(30 * time.Second), day(0).Add(3 * time.Minute)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Len(t, found[0].EventIDs, 12)
			},
		},
		{
			name: "an alias that was moved long ago", detection: "KMS-U02",
			settings: analyzer.Settings{KeyAllow: []analyzer.KeyAllow{{Key: "alias/prod", Principals: []string{"*:role/app"}}}},
			do: func(h *history) {
				alias(h, day(0), "CreateAlias", key)
				alias(h, day(1), "UpdateAlias", other)
				quiet(h, day(6))
				h.add(h.kms(day(9), etl, "Decrypt", key, nil))
				h.add(h.kms(day(9), etl, "Decrypt", other, nil))
			},
			cuts: []time.Time{day(0.5), day(3), day(8)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Len(t, found, 1)
				require.Equal(t, other, found[0].Key)
				require.Equal(t, "alias/prod", found[0].Evidence["key_alias"])
			},
		},
		{
			name: "an alias that only requests showed", detection: "KMS-D02",
			do: func(h *history) {
				h.add(h.kms(day(0), app, "Encrypt", key, fields{"requestParameters": fields{"keyId": "alias/prod"}}))
				quiet(h, day(6))
				h.add(h.kms(day(9), alice, "DisableKey", key, nil))
			},
			cuts: []time.Time{day(3), day(8)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Equal(t, "alias/prod", found[0].Evidence["key_alias"])
			},
		},
		{
			name: "an account that is ours since long ago", detection: "KMS-P02",
			do: func(h *history) {
				h.add(h.kms(day(0), second, "ListKeys", "", nil))
				quiet(h, day(6))
				for i, policy := range []int{1, 2} {
					h.add(h.kms(day(9+float64(i)), alice, "PutKeyPolicy", key, fields{"requestParameters": fields{"policyName": "default", "policy": policies[policy]}}))
				}
			},
			cuts: []time.Time{day(3), day(8)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Len(t, found, 2)
				require.Nil(t, found[1].Evidence["outside_accounts"])
			},
		},
		{
			name: "material that is imported again just in time", detection: "KMS-D04",
			do: func(h *history) {
				h.add(h.kms(day(0), alice, "DeleteImportedKeyMaterial", key, nil))
				h.add(h.kms(day(0).Add(9*time.Minute), app, "ImportKeyMaterial", key, nil))
				h.add(h.kms(day(1), alice, "DeleteImportedKeyMaterial", key, nil))
				quiet(h, day(1).Add(time.Hour))
			},
			cuts: []time.Time{day(0).Add(time.Minute), day(0.5), day(1).Add(time.Minute)},
			check: func(t *testing.T, found []analyzer.Finding) {
				require.Len(t, found, 2)
				require.Equal(t, []analyzer.Severity{analyzer.High, analyzer.Critical}, []analyzer.Severity{found[0].Severity, found[1].Severity})
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			settings := test.settings
			settings.Defaults()
			only(&settings, test.detection)
			settings.Detections[test.detection] = analyzer.DetectionSettings{Params: test.params}
			h := &history{}
			test.do(h)
			for _, cut := range test.cuts {
				quiet(h, cut)
			}
			h.sort()

			batch := newWorld(t, &settings)
			defer batch.close()
			batch.ingest(1, pack(asRecords, h.entries))
			batch.analyze()
			found := batch.list()
			require.NotEmpty(t, found)
			if test.check != nil {
				test.check(t, found)
			}

			stream := newWorld(t, &settings)
			defer stream.close()
			rest := h.entries
			for _, cut := range append(test.cuts, day(1000)) {
				// What happened, and then that time went on.
				for _, until := range []time.Time{cut, cut.Add(time.Second)} {
					n := 0
					for n < len(rest) && rest[n].at.Before(until) {
						n++
					}
					if n > 0 {
						stream.ingest(1, pack(asRecords, rest[:n]))
						stream.analyze()
					}
					rest = rest[n:]
				}
			}
			require.Greater(t, stream.ticks, len(test.cuts))
			require.Empty(t, differences(batch.findings(), stream.findings()))
		})
	}
}
