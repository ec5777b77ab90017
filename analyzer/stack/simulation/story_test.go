package simulation

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ours    = "111122223333"
	ours2   = "444455556666" // goes to the other shard, when there are two
	outside = "999900001111"
	region  = "eu-west-1"
)

type fields = map[string]any

// record is a record of the story.
type record struct {
	at    time.Time
	owner string // account
	body  fields
	write bool // EventBridge delivers it too
}

// story is what happens in the account, drawn from a seed: the same for a run
// with faults and one without.
type story struct {
	rng     *rand.Rand
	n       int
	account string // of the act under way
	records []record
}

func (s *story) key(n int) string {
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/%08d-12ab-34cd-56ef-1234567890ab", region, s.account, n)
}

// call adds a call of KMS.
func (s *story) call(at time.Time, who, name, keyARN string, more fields) {
	s.n++
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", s.rng.Uint32(), s.n)
	body := fields{
		"eventVersion": "1.11", "eventTime": at.Format(time.RFC3339), "eventSource": "kms.amazonaws.com", "eventName": name,
		"awsRegion": region, "sourceIPAddress": "203.0.113.7", "userAgent": "aws-cli/2.15.0", "eventID": id,
		"eventType": "AwsApiCall", "recipientAccountId": s.account, "managementEvent": true, "eventCategory": "Management",
		"readOnly": name == "Decrypt",
		"userIdentity": fields{
			"type": "IAMUser", "principalId": "AIDAEXAMPLE" + who, "accountId": s.account, "userName": who,
			"arn": "arn:aws:iam::" + s.account + ":user/" + who, "accessKeyId": "AKIAEXAMPLE",
		},
		"requestParameters": fields{"keyId": keyARN},
	}
	if keyARN != "" {
		body["resources"] = []any{fields{"accountId": s.account, "type": "AWS::KMS::Key", "ARN": keyARN}}
	}
	for k, v := range more {
		body[k] = v
	}
	s.records = append(s.records, record{at: at, owner: s.account, body: body, write: name != "Decrypt"})
}

// acts are what may happen, each with the findings that it is to give.
func (s *story) act(at time.Time) {
	k := s.key(1 + s.rng.IntN(3))
	switch s.rng.IntN(9) {
	case 0:
		s.call(at, "mallory", "ScheduleKeyDeletion", k, fields{"requestParameters": fields{"keyId": k, "pendingWindowInDays": 7}})
	case 1:
		s.call(at, "mallory", "DisableKey", k, nil)
	case 2:
		s.call(at, "mallory", "CreateGrant", k, fields{
			"requestParameters": fields{"keyId": k, "granteePrincipal": "arn:aws:iam::" + outside + ":role/intruder", "operations": []any{"Decrypt", "CreateGrant"}},
			"responseElements":  fields{"grantId": fmt.Sprintf("%064x", s.n), "keyId": k},
		})
	case 3:
		s.call(at, "mallory", "PutKeyPolicy", k, fields{"requestParameters": fields{"keyId": k, "policyName": "default", "policy": `{"Version":"2012-10-17","Statement":[` +
			`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}]}`}})
	case 4:
		for i := range 4 {
			s.call(at.Add(time.Duration(i)*time.Minute), "mallory", "DisableKey", s.key(10+i), nil)
		}
	case 5:
		s.call(at, "mallory", "ScheduleKeyDeletion", k, fields{
			"errorCode":    "AccessDenied",
			"errorMessage": "User: arn:aws:iam::111122223333:user/mallory is not authorized to perform: kms:ScheduleKeyDeletion on resource: " + k,
		})
	case 6:
		for i := range 1 + s.rng.IntN(5) {
			s.call(at.Add(time.Duration(i)*20*time.Second), "app", "Decrypt", k, nil)
		}
	case 7:
		s.call(at, "app", "Decrypt", k, fields{"errorCode": "KMSInvalidStateException", "errorMessage": k + " is pending deletion."})
	case 8:
		s.call(at, "root", "DisableKey", k, fields{"userIdentity": fields{
			"type": "Root", "principalId": s.account, "accountId": s.account, "arn": "arn:aws:iam::" + s.account + ":root",
		}})
	}
}

// newStory draws what happens within an hour and a half.
func newStory(seed uint64) *story {
	s := &story{rng: rand.New(rand.NewPCG(seed, 1))}
	for range 2 + s.rng.IntN(6) {
		s.account = []string{ours, ours2}[s.rng.IntN(2)]
		s.act(epoch.Add(time.Duration(s.rng.IntN(90*60)) * time.Second))
	}
	slices.SortStableFunc(s.records, func(a, b record) int { return a.at.Compare(b.at) })
	return s
}

// deliver says how the story reaches the account. Everything comes as a file of
// the trail, minutes later; calls that change something may come by EventBridge
// too, and a second trail may bring everything again.
func (w *world) deliver(s *story, faulty bool) {
	late := func() time.Duration {
		d := 3*time.Minute + time.Duration(w.rng.IntN(5*60))*time.Second
		if faulty && w.rng.IntN(5) == 0 {
			d += time.Duration(w.rng.IntN(25*60)) * time.Second // less than the lateness in all
		}
		return d
	}
	trails := []string{""}
	if faulty && w.rng.IntN(3) == 0 {
		trails = append(trails, "second/")
	}
	for _, prefix := range trails {
		for _, account := range []string{ours, ours2} {
			rest := slices.DeleteFunc(slices.Clone(s.records), func(r record) bool { return r.owner != account })
			for n := 0; len(rest) > 0; n++ {
				part := rest[:min(1+w.rng.IntN(4), len(rest))]
				rest = rest[len(part):]
				last := part[len(part)-1].at
				w.deliveries = append(w.deliveries, delivery{
					at: last.Add(late()),
					key: fmt.Sprintf("%sAWSLogs/%s/CloudTrail/%s/2026/03/02/%s_CloudTrail_%s_%sZ_%016d.json.gz",
						prefix, account, region, account, region, last.Format("20060102T1504"), n),
					log: w.file(part),
				})
			}
		}
	}
	if faulty {
		for _, r := range s.records {
			if r.write && w.rng.IntN(2) == 0 {
				w.deliveries = append(w.deliveries, delivery{at: r.at.Add(time.Duration(1+w.rng.IntN(20)) * time.Second), msg: w.json(fields{
					"version": "0", "source": "aws.kms", "detail-type": "AWS API Call via CloudTrail", "account": r.owner, "region": region, "detail": r.body,
				})})
			}
		}
		if w.rng.IntN(4) == 0 {
			w.misfits++
			w.deliveries = append(w.deliveries, delivery{at: epoch.Add(time.Duration(w.rng.IntN(3600)) * time.Second), msg: `{"what":"is this?"}`})
		}
		if w.rng.IntN(4) == 0 {
			w.poison = append(w.poison, "not an alert")
		}
	}
	slices.SortStableFunc(w.deliveries, func(a, b delivery) int { return a.at.Compare(b.at) })
}

func (w *world) json(v any) string {
	b, err := json.Marshal(v)
	require.NoError(w.t, err)
	return string(b)
}

// file packs records as CloudTrail does.
func (w *world) file(records []record) []byte {
	list := make([]fields, len(records))
	for i, r := range records {
		list[i] = r.body
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(w.json(fields{"Records": list})))
	require.NoError(w.t, err)
	require.NoError(w.t, z.Close())
	return b.Bytes()
}
