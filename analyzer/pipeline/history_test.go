package pipeline_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cases"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

// The histories that the properties are tried on: few accounts, keys and
// callers, so that what they do falls into the same windows, and every kind of
// call that a detection or memory reads.

const (
	ours     = "111122223333"
	ours2    = "444455556666" // its trail delivers later, or never
	outside  = "777788889999"
	partner  = "999900001111"
	monday   = "2026-03-02T00:00:00Z"
	usEast   = "us-east-1"
	euWest   = "eu-west-1"
	s3Source = "s3.amazonaws.com"
)

// entry is one record of a history.
type entry struct {
	at          time.Time
	id, account string
	text        []byte
}

func (e entry) key() string { return e.account + " " + e.id }

// caller is who makes calls.
type caller struct {
	name     string
	account  string
	identity map[string]any
	ip       string
	agent    string
}

func role(account, path, session string) map[string]any {
	name := path[strings.LastIndex(path, "/")+1:]
	return map[string]any{
		"type": "AssumedRole", "principalId": "AROAEXAMPLE:" + session, "accountId": account, "accessKeyId": "ASIAEXAMPLE",
		"arn": "arn:aws:sts::" + account + ":assumed-role/" + name + "/" + session,
		"sessionContext": map[string]any{"sessionIssuer": map[string]any{
			"type": "Role", "principalId": "AROAEXAMPLE", "accountId": account, "userName": name, "arn": "arn:aws:iam::" + account + ":role/" + path,
		}},
	}
}

var (
	app       = caller{"app", ours, role(ours, "app", "i-0123456789abcdef0"), "198.51.100.10", "aws-sdk-java/2.20.0"}
	etl       = caller{"etl", ours, role(ours, "etl", "eks-etl-1"), "198.51.100.11", "Boto3/1.34 Python/3.11"}
	terraform = caller{"terraform", ours, role(ours, "terraform", "terraform-1"), "198.51.100.12", "APN/1.0 HashiCorp/1.0 Terraform/1.9"}
	sso       = caller{
		"sso", ours, role(ours, "aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef", "bob@example.com"),
		"203.0.113.7", "aws-cli/2.15.0 md/command#kms.decrypt",
	}
	alice = caller{"alice", ours, map[string]any{
		"type": "IAMUser", "principalId": "AIDAEXAMPLE", "accountId": ours, "userName": "alice",
		"arn": "arn:aws:iam::" + ours + ":user/alice", "accessKeyId": "AKIAEXAMPLE",
	}, "203.0.113.8", "aws-cli/2.15.0"}
	root = caller{"root", ours, map[string]any{
		"type": "Root", "principalId": ours, "accountId": ours, "arn": "arn:aws:iam::" + ours + ":root",
	}, "203.0.113.9", "Mozilla/5.0"}
	// A name that would like to be SQL.
	hostile = caller{"hostile", ours, map[string]any{
		"type": "IAMUser", "principalId": "AIDAHOSTILE", "accountId": ours, "userName": "o'brien\x00\\",
		"arn": "arn:aws:iam::" + ours + ":user/o'brien\x00\\'); drop table uses_5m; --", "accessKeyId": "AKIAEXAMPLE",
	}, "203.0.113.13", "aws-cli/2.15.0 '; --"}
	second   = caller{"second", ours2, role(ours2, "batch", "i-00000000000000001"), "198.51.100.20", "aws-sdk-go-v2/1.30"}
	intruder = caller{"intruder", outside, role(outside, "intruder", "x"), "192.0.2.66", "Boto3/1.34 Python/3.11"}
	friend   = caller{"friend", partner, role(partner, "friend", "y"), "192.0.2.67", "Boto3/1.34 Python/3.11"}

	ourCallers = []caller{app, etl, terraform, sso, alice, root, hostile}
)

func keyARN(account, region string, n int) string {
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/%08d-12ab-34cd-56ef-1234567890ab", region, account, n)
}

func keyAccount(arn string) string { return strings.Split(arn, ":")[4] }
func keyRegion(arn string) string  { return strings.Split(arn, ":")[3] }

// ourKeys are the keys that most happens to.
var ourKeys = []string{keyARN(ours, usEast, 1), keyARN(ours, usEast, 2), keyARN(ours, euWest, 3), keyARN(ours2, usEast, 4)}

var outsideKey = keyARN(outside, usEast, 7)

// history is what a case of a property works on.
type history struct {
	t       *rapid.T
	start   time.Time
	centers []time.Time
	entries []entry
	acts    []string
}

// offsets are where windows of all sizes begin and end.
var offsets = []time.Duration{
	0, time.Second, -time.Second, time.Minute, 5 * time.Minute, 5*time.Minute - time.Second, -5 * time.Minute, 10 * time.Minute,
	10*time.Minute + time.Second, -10 * time.Minute, 15 * time.Minute, 30 * time.Minute, -30 * time.Minute, time.Hour - time.Second,
	time.Hour, -time.Hour, 2 * time.Hour, 12 * time.Hour, -12 * time.Hour, 13 * time.Hour, 24 * time.Hour, 24*time.Hour - time.Second, -24 * time.Hour,
}

// spans are how long histories are: within the lateness, over the frontiers,
// over the learning of two weeks, and over all that memory keeps.
var spans = []time.Duration{6 * time.Hour, 30 * time.Hour, 5 * 24 * time.Hour, 20 * 24 * time.Hour, 45 * 24 * time.Hour, 130 * 24 * time.Hour}

func drawHistory(t *rapid.T, maxActs int) *history {
	h := &history{t: t}
	h.start, _ = time.Parse(time.RFC3339, monday)
	span := rapid.SampledFrom(spans).Draw(t, "span")
	for range rapid.IntRange(1, 5).Draw(t, "moments") {
		at := time.Duration(rapid.Int64Range(0, int64(span/time.Minute)).Draw(t, "moment")) * time.Minute
		h.centers = append(h.centers, h.start.Add(at.Truncate(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "border"))))
	}
	least := rapid.SampledFrom([]int{1, maxActs / 3, maxActs}).Draw(t, "at least")
	for range rapid.IntRange(least, maxActs).Draw(t, "acts") {
		a := rapid.SampledFrom(acts).Draw(t, "act")
		h.acts = append(h.acts, a.name)
		a.do(h)
	}
	h.sort()
	return h
}

// sort puts the records into the order in which they happened.
func (h *history) sort() {
	slices.SortStableFunc(h.entries, func(a, b entry) int { return a.at.Compare(b.at) })
}

func pick[T any](h *history, name string, from ...T) T {
	return rapid.SampledFrom(from).Draw(h.t, name)
}

func (h *history) int(name string, from, to int) int { return rapid.IntRange(from, to).Draw(h.t, name) }

// moment is a time near one of the few that things happen at.
func (h *history) moment() time.Time {
	at := pick(h, "near", h.centers...).Add(pick(h, "offset", offsets...))
	if h.int("jitter", 0, 3) == 0 {
		at = at.Add(time.Duration(h.int("seconds", -4000, 4000)) * time.Second)
	}
	return at
}

// eventID is an id whose order has nothing to do with time.
func (h *history) eventID() string {
	sum := sha256.Sum256(fmt.Append(nil, "event ", len(h.entries)))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

type fields = map[string]any

// kms makes a record of a KMS call on a key.
func (h *history) kms(at time.Time, who caller, name, key string, more fields) fields {
	r := fields{
		"eventVersion": "1.11", "eventSource": "kms.amazonaws.com", "eventName": name, "eventType": "AwsApiCall",
		"eventTime": at.UTC().Format("2006-01-02T15:04:05Z"), "awsRegion": usEast, "eventCategory": "Management", "managementEvent": true,
		"userIdentity": who.identity, "sourceIPAddress": who.ip, "userAgent": who.agent, "recipientAccountId": who.account,
		"requestParameters": fields{}, "responseElements": nil,
		"readOnly": !slices.Contains(writes, name),
	}
	if key != "" {
		r["awsRegion"] = keyRegion(key)
		r["resources"] = []any{fields{"accountId": keyAccount(key), "type": "AWS::KMS::Key", "ARN": key}}
		r["requestParameters"] = fields{"keyId": key}
	}
	for k, v := range more {
		if k == "requestParameters" && key != "" && v != nil {
			v := maps.Clone(v.(fields))
			if _, ok := v["keyId"]; !ok {
				v["keyId"] = key
			}
			r[k] = v
			continue
		}
		r[k] = v
	}
	return r
}

var writes = []string{
	"ScheduleKeyDeletion", "CancelKeyDeletion", "DisableKey", "EnableKey", "CreateGrant", "RevokeGrant", "RetireGrant", "PutKeyPolicy",
	"CreateKey", "ReplicateKey", "CreateAlias", "UpdateAlias", "DeleteAlias", "ImportKeyMaterial", "DeleteImportedKeyMaterial", "DeleteKey",
	"DeleteExpiredKeyMaterial", "UpdatePrimaryRegion",
}

// add puts a record into the history.
func (h *history) add(r fields) {
	if _, ok := r["eventID"]; !ok {
		r["eventID"] = h.eventID()
	}
	at, err := time.Parse(time.RFC3339, r["eventTime"].(string))
	text, err2 := json.Marshal(r)
	if err != nil || err2 != nil {
		h.t.Fatal(err, err2)
	}
	h.entries = append(h.entries, entry{at: at, id: r["eventID"].(string), account: r["recipientAccountId"].(string), text: text})
}

// addBoth adds both copies of a call across accounts, or the one that only
// some trails give.
func (h *history) addBoth(at time.Time, who caller, name, key string, more fields, owner, own bool) {
	shared := "shared-" + h.eventID()
	if own || !owner {
		r := h.kms(at, who, name, key, more)
		r["sharedEventID"] = shared
		h.add(r)
	}
	if owner {
		r := h.kms(at, who, name, key, more)
		r["sharedEventID"], r["recipientAccountId"] = shared, keyAccount(key)
		r["userIdentity"] = fields{"type": "AWSAccount", "principalId": "AROAEXAMPLE:x", "accountId": who.account}
		h.add(r)
	}
}

// crypto adds one cryptographic call, with the copies that its accounts ask for.
func (h *history) crypto(at time.Time, who caller, name, key string, more fields) {
	if who.account == keyAccount(key) {
		h.add(h.kms(at, who, name, key, more))
		return
	}
	h.addBoth(at, who, name, key, more, keyAccount(key) == ours, who.account == ours || (who.account == ours2 && at.Unix()%2 == 0))
}

type act struct {
	name string
	do   func(h *history)
}

var cryptoNames = []string{"Decrypt", "Decrypt", "Decrypt", "GenerateDataKey", "Encrypt", "ReEncrypt", "Sign"}

var aliasNames = []string{"alias/prod", "alias/billing"}

var policies = []string{
	`{"Statement":[{"Sid":"root","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`,
	`{"Statement":[{"Sid":"ext","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::777788889999:root"},"Action":"kms:Decrypt","Resource":"*"}]}`,
	`{"Statement":[{"Sid":"two","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::444455556666:role/batch","AROAUNKNOWNEXAMPLE"]},"Action":"kms:*","Resource":"*"}]}`,
	`{"Statement":[{"Sid":"any","Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}]}`,
}

var acts = []act{
	{"a few uses", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", ourCallers...), pick(h, "key", ourKeys...)
		for i := range h.int("times", 1, 6) {
			h.crypto(at.Add(time.Duration(i)*90*time.Second), who, pick(h, "call", cryptoNames...), key, nil)
		}
	}},
	{"use every few hours", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", ourCallers...), pick(h, "key", ourKeys...)
		every := time.Duration(h.int("every", 1, 60)) * time.Hour
		for i := range h.int("times", 2, 12) {
			h.crypto(at.Add(time.Duration(i)*every), who, "Decrypt", key, nil)
		}
	}},
	{"a burst", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", app, alice), pick(h, "key", ourKeys[:2]...)
		name, step := pick(h, "call", "Decrypt", "GenerateDataKey"), time.Duration(h.int("step", 1, 40))*time.Second
		for i := range h.int("times", 25, 110) {
			h.crypto(at.Add(time.Duration(i)*step), who, name, key, nil)
		}
	}},
	{"fan-out over keys", func(h *history) {
		at, who := h.moment(), pick(h, "who", app, alice, sso, hostile)
		step := time.Duration(h.int("step", 1, 150)) * time.Second
		for i := range h.int("keys", 3, 9) {
			h.crypto(at.Add(time.Duration(i)*step), who, pick(h, "call", "Decrypt", "ReEncrypt"), keyARN(ours, usEast, 20+i), nil)
		}
	}},
	{"secrets read", func(h *history) {
		at, who := h.moment(), pick(h, "who", app, alice, sso)
		step := time.Duration(h.int("step", 1, 150)) * time.Second
		kind := pick(h, "kind", "SecretARN", "PARAMETER_ARN", "aws:s3:arn")
		first, via := h.int("first", 0, 3), h.int("via", 0, 1) == 1
		identity := maps.Clone(who.identity)
		if via {
			identity["invokedBy"] = "secretsmanager.amazonaws.com"
		}
		for i := range h.int("items", 3, 9) {
			item := map[string]string{ //nolint:gosec // made-up names, no secrets
				"SecretARN": "arn:aws:secretsmanager:us-east-1:111122223333:secret:s", "PARAMETER_ARN": "arn:aws:ssm:us-east-1:111122223333:parameter/p", "aws:s3:arn": "arn:aws:s3:::bucket/o",
			}[kind] + fmt.Sprint(first+i)
			h.add(h.kms(at.Add(time.Duration(i)*step), who, "Decrypt", ourKeys[0], fields{
				"userIdentity": identity, "requestParameters": fields{"encryptionContext": fields{kind: item}},
			}))
		}
	}},
	{"service traffic", func(h *history) {
		at := h.moment()
		for i := range h.int("times", 1, 8) {
			h.add(h.kms(at.Add(time.Duration(i)*time.Minute), app, pick(h, "call", "GenerateDataKey", "Decrypt"), ourKeys[0], fields{
				"userIdentity": fields{"type": "AWSService", "invokedBy": s3Source}, "sourceIPAddress": s3Source, "userAgent": s3Source,
			}))
		}
	}},
	{"a key deleted or disabled", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", alice, terraform, app), pick(h, "key", ourKeys...)
		name := pick(h, "call", "ScheduleKeyDeletion", "DisableKey", "CancelKeyDeletion", "EnableKey")
		more := fields{}
		if name == "ScheduleKeyDeletion" {
			more = fields{
				"requestParameters": fields{"pendingWindowInDays": pick(h, "days", 7, 30)},
				"responseElements":  fields{"keyId": key, "keyState": "PendingDeletion", "deletionDate": "Apr 12, 2026 6:58:30 PM"},
			}
		}
		h.add(h.kms(at, callerOf(who, key), name, key, more))
	}},
	{"many keys attacked", func(h *history) {
		at, who := h.moment(), pick(h, "who", alice, terraform)
		step := time.Duration(h.int("step", 1, 1500)) * time.Second
		for i := range h.int("keys", 2, 5) {
			name := pick(h, "call", "ScheduleKeyDeletion", "DisableKey", "DeleteImportedKeyMaterial")
			r := h.kms(at.Add(time.Duration(i)*step), who, name, keyARN(ours, usEast, 1+i%4), nil)
			if h.int("denied", 0, 3) == 0 {
				deny(r)
			}
			h.add(r)
		}
	}},
	{"a key gone", func(h *history) {
		key := pick(h, "key", ourKeys...)
		h.add(h.kms(h.moment(), app, pick(h, "effect", "DeleteKey", "DeleteExpiredKeyMaterial"), key, fields{
			"eventType": "AwsServiceEvent", "userIdentity": fields{"accountId": keyAccount(key), "invokedBy": "AWS Internal"},
			"recipientAccountId": keyAccount(key), "sourceIPAddress": "AWS Internal", "userAgent": "AWS Internal",
			"serviceEventDetails": fields{"keyId": key}, "requestParameters": nil,
		}))
	}},
	{"material deleted and imported", func(h *history) {
		at, key := h.moment(), pick(h, "key", ourKeys[:3]...)
		h.add(h.kms(at, pick(h, "who", alice, terraform), "DeleteImportedKeyMaterial", key, nil))
		for range h.int("imports", 0, 2) {
			h.add(h.kms(at.Add(time.Duration(h.int("after", -100, 700))*time.Second), pick(h, "importer", alice, app), "ImportKeyMaterial", key,
				fields{"requestParameters": fields{"expirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}}))
		}
	}},
	{"a key made", func(h *history) {
		key := pick(h, "key", append(slices.Clone(ourKeys), keyARN(ours, usEast, 21))...)
		h.add(h.kms(h.moment(), callerOf(pick(h, "who", alice, terraform), key), "CreateKey", key, fields{
			"requestParameters": fields{"origin": "AWS_KMS", "policy": pick(h, "policy", policies...), "bypassPolicyLockoutSafetyCheck": h.int("bypass", 0, 3) == 0},
			"responseElements":  fields{"keyMetadata": fields{"arn": key, "keyState": "Enabled"}},
		}))
	}},
	{"a policy put", func(h *history) {
		key := pick(h, "key", ourKeys...)
		r := h.kms(h.moment(), callerOf(pick(h, "who", alice, terraform, app), key), "PutKeyPolicy", key, fields{
			"requestParameters": fields{"policyName": "default", "policy": pick(h, "policy", policies...), "bypassPolicyLockoutSafetyCheck": h.int("bypass", 0, 3) == 0},
		})
		if h.int("denied", 0, 3) == 0 {
			deny(r)
		}
		h.add(r)
	}},
	{"grants made", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", alice, app, terraform), pick(h, "key", ourKeys[:3]...)
		grantee := pick(h, "grantee", "arn:aws:iam::111122223333:role/worker", "arn:aws:iam::777788889999:role/intruder", "arn:aws:iam::444455556666:role/batch", "ebs.amazonaws.com")
		step := time.Duration(h.int("step", 1, 30000)) * time.Second
		for i := range h.int("grants", 1, 4) {
			h.grant(at.Add(time.Duration(i)*step), who, key, grantee, h.int("grant", 0, 6), nil)
		}
	}},
	{"a grant made by an outsider", func(h *history) {
		h.grant(h.moment(), pick(h, "who", intruder, second, friend), pick(h, "key", ourKeys[:2]...), "arn:aws:iam::777788889999:role/intruder", h.int("grant", 0, 6), nil)
	}},
	{"a grant on an outside key", func(h *history) {
		h.grant(h.moment(), pick(h, "who", app, alice), outsideKey, "arn:aws:iam::111122223333:role/worker", h.int("grant", 0, 6), nil)
	}},
	{"grants ended", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", alice, app), pick(h, "key", ourKeys[:3]...)
		step := time.Duration(h.int("step", 1, 260)) * time.Second
		first := h.int("first", 0, 6)
		for i := range h.int("grants", 1, 7) {
			id := fmt.Sprint("g-", (first+i)%7)
			if pick(h, "end", "RevokeGrant", "RetireGrant") == "RevokeGrant" {
				h.add(h.kms(at.Add(time.Duration(i)*step), who, "RevokeGrant", key, fields{"requestParameters": fields{"grantId": id}}))
			} else {
				h.add(h.kms(at.Add(time.Duration(i)*step), who, "RetireGrant", key, fields{"requestParameters": nil, "additionalEventData": fields{"grantId": id}}))
			}
		}
	}},
	{"a grant revoked and made again", func(h *history) {
		at, key := h.moment(), pick(h, "key", ourKeys[:3]...)
		grantee, old := "arn:aws:iam::111122223333:role/worker", h.int("grant", 0, 6)
		h.grant(at.Add(-pick(h, "before", time.Minute, 10*time.Hour, 30*time.Hour, 200*time.Hour)), app, key, grantee, old, nil)
		h.add(h.kms(at, pick(h, "who", alice, app), "RevokeGrant", key, fields{"requestParameters": fields{"grantId": fmt.Sprint("g-", old)}}))
		h.grant(at.Add(time.Duration(h.int("after", 0, 700))*time.Second), app, key, grantee, (old+1)%7, nil)
	}},
	{"an alias moved", func(h *history) {
		key, name := pick(h, "key", ourKeys...), pick(h, "alias", aliasNames...)
		call := pick(h, "call", "CreateAlias", "UpdateAlias", "DeleteAlias")
		h.add(h.kms(h.moment(), callerOf(alice, key), call, key, fields{
			"requestParameters": fields{"keyId": nil, "aliasName": name, "targetKeyId": key},
		}))
	}},
	{"use by alias", func(h *history) {
		key, name := pick(h, "key", ourKeys[:2]...), pick(h, "alias", aliasNames...)
		at := h.moment()
		for i := range h.int("times", 1, 3) {
			h.add(h.kms(at.Add(time.Duration(i)*time.Minute), pick(h, "who", app, etl, alice), "Encrypt", key, fields{"requestParameters": fields{"keyId": name}}))
		}
	}},
	{"use of a dead key", func(h *history) {
		at, key := h.moment(), pick(h, "key", ourKeys...)
		for i := range h.int("times", 1, 4) {
			code, state := "KMSInvalidStateException", " is pending deletion."
			if h.int("disabled", 0, 1) == 1 {
				code, state = "DisabledException", " is disabled."
			}
			who := pick(h, "who", app, etl, second)
			more := fields{"errorCode": code, "errorMessage": key + state}
			if who.account == keyAccount(key) {
				h.add(h.kms(at.Add(time.Duration(i)*time.Hour), who, "Decrypt", key, more))
			} else {
				h.addBoth(at.Add(time.Duration(i)*time.Hour), who, "Decrypt", key, more, true, true)
			}
		}
	}},
	{"refusals", func(h *history) {
		at, who := h.moment(), pick(h, "who", app, alice, intruder)
		step := time.Duration(h.int("step", 1, 100)) * time.Second
		for i := range h.int("times", 2, 13) {
			r := h.kms(at.Add(time.Duration(i)*step), who, pick(h, "call", "Decrypt", "DescribeKey", "ListGrants", "GetKeyPolicy", "CreateGrant"), pick(h, "key", ourKeys...), nil)
			deny(r)
			h.add(r)
		}
	}},
	{"an outsider uses our key", func(h *history) {
		at, who, key := h.moment(), pick(h, "who", intruder, second, friend), pick(h, "key", ourKeys[:3]...)
		for i := range h.int("times", 1, 4) {
			h.crypto(at.Add(time.Duration(i)*pick(h, "step", time.Minute, 50*time.Minute)), who, pick(h, "call", cryptoNames...), key, nil)
		}
	}},
	{"we use an outside key", func(h *history) {
		at, who := h.moment(), pick(h, "who", app, alice)
		for i := range h.int("times", 1, 4) {
			name := pick(h, "call", cryptoNames...)
			h.addBoth(at.Add(time.Duration(i)*pick(h, "step", time.Minute, 50*time.Minute)), who, name, outsideKey, nil, h.int("their trail", 0, 4) == 0, true)
		}
	}},
	{"another account begins to deliver", func(h *history) {
		account := pick(h, "account", ours2, outside)
		who := second
		if account == outside {
			who = intruder
		}
		h.add(h.kms(h.moment(), who, pick(h, "call", "ListKeys", "CreateKey"), "", nil))
	}},
	{"root", func(h *history) {
		at := h.moment()
		for i := range h.int("times", 1, 4) {
			name := pick(h, "call", "DescribeKey", "ListKeys", "Decrypt", "DisableKey", "PutKeyPolicy")
			key := pick(h, "key", ourKeys[:3]...)
			if name == "ListKeys" {
				key = ""
			}
			h.add(h.kms(at.Add(time.Duration(i)*pick(h, "step", time.Second, 20*time.Minute)), root, name, key, nil))
		}
	}},
	{"looking around", func(h *history) {
		at := h.moment()
		for i := range h.int("times", 1, 4) {
			h.add(h.kms(at.Add(time.Duration(i)*time.Minute), pick(h, "who", alice, app), pick(h, "call", "DescribeKey", "GetKeyPolicy", "ListGrants"), pick(h, "key", ourKeys[:3]...), nil))
		}
	}},
	{"a trail changed", func(h *history) {
		at := h.moment()
		for i := range h.int("times", 1, 3) {
			h.trail(at.Add(time.Duration(i) * pick(h, "step", time.Second, 5*time.Minute, 20*time.Hour)))
		}
	}},
	{"other services", func(h *history) {
		r := h.kms(h.moment(), app, "PutObject", "", nil)
		r["eventSource"] = s3Source
		h.add(r)
	}},
	{"a shipped case", func(h *history) {
		c := pick(h, "case", loadShipped().cases...)
		h.replay(c, h.moment())
	}},
}

// callerOf is the caller in the account of a key: administration does not
// cross accounts here.
func callerOf(who caller, key string) caller {
	if keyAccount(key) == ours2 {
		return second
	}
	return who
}

func deny(r fields) {
	key := ""
	if res, ok := r["resources"].([]any); ok {
		key = res[0].(fields)["ARN"].(string)
	}
	r["errorCode"] = "AccessDenied"
	r["errorMessage"] = fmt.Sprintf("User: arn:aws:iam::111122223333:user/x is not authorized to perform: kms:%s on resource: %s because no identity-based policy allows the kms:%[1]s action", r["eventName"], key)
	r["requestParameters"], r["resources"] = nil, nil
}

// grant makes one of a few grants; a name makes KMS return the grant that is
// there already, so ids come again.
func (h *history) grant(at time.Time, who caller, key, grantee string, n int, more fields) {
	request := fields{"granteePrincipal": grantee, "operations": pick(h, "operations", []any{"Decrypt"}, []any{"Decrypt", "CreateGrant"}, []any{"RetireGrant"})}
	if h.int("constrained", 0, 1) == 1 {
		request["constraints"] = fields{"encryptionContextSubset": fields{"tenant": "42"}}
	}
	r := fields{"requestParameters": request, "responseElements": fields{"grantId": fmt.Sprint("g-", n), "keyId": key}}
	maps.Copy(r, more)
	if who.account != keyAccount(key) {
		h.addBoth(at, who, "CreateGrant", key, r, keyAccount(key) == ours, who.account == ours || h.int("their trail", 0, 3) == 0)
		return
	}
	h.add(h.kms(at, who, "CreateGrant", key, r))
}

// trail changes a trail; two accounts have one of the same name.
func (h *history) trail(at time.Time) {
	account := pick(h, "account", ours, ours, ours2)
	who := callerOf(alice, keyARN(account, usEast, 1))
	name := pick(h, "call", "CreateTrail", "UpdateTrail", "UpdateTrail", "PutEventSelectors", "StopLogging", "StartLogging", "DeleteTrail")
	trail := pick(h, "trail", "management", "data")
	request := fields{"name": trail}
	switch name {
	case "CreateTrail", "UpdateTrail":
		if name == "CreateTrail" || h.int("bucket", 0, 1) == 1 {
			request["s3BucketName"] = pick(h, "bucket", "logs-a", "logs-b")
		}
		if h.int("key", 0, 2) == 0 {
			request["kmsKeyId"] = pick(h, "log key", ourKeys[:2]...)
		}
		if h.int("weaker", 0, 2) == 0 {
			request["isMultiRegionTrail"] = false
		}
	case "PutEventSelectors":
		selector := fields{"readWriteType": pick(h, "reads", "All", "WriteOnly"), "includeManagementEvents": true, "excludeManagementEventSources": []any{}}
		if h.int("exclude", 0, 1) == 1 {
			selector["excludeManagementEventSources"] = []any{"kms.amazonaws.com"}
		}
		request = fields{"trailName": trail, "eventSelectors": []any{selector}}
	}
	r := h.kms(at, who, name, "", fields{"requestParameters": request, "readOnly": false})
	r["eventSource"] = "cloudtrail.amazonaws.com"
	if h.int("denied", 0, 4) == 0 {
		r["errorCode"], r["errorMessage"] = "AccessDenied", "User is not authorized to perform: cloudtrail:"+name
	}
	h.add(r)
}

// shipped are the detections and the cases that they are tested with.
type shipped struct {
	catalog *catalog.Catalog
	cases   []cases.Case
	err     error
}

// maxShipped is the most records of a case that histories are made of.
const maxShipped = 120

var loadShipped = sync.OnceValue(func() (s shipped) {
	if s.catalog, s.err = catalog.Load(queries.Files, catalog.Options{Cases: fixtures.Cases, Memory: intake.MemoryEvents}); s.err != nil {
		return s
	}
	for _, d := range s.catalog.Detections() {
		list, err := cases.Load(fixtures.Cases, d)
		s.err = errors.Join(s.err, err)
		for _, c := range list {
			if len(c.Records()) <= maxShipped {
				s.cases = append(s.cases, c)
			}
		}
	}
	slices.SortFunc(s.cases, func(a, b cases.Case) int { return cmp.Compare(a.Path, b.Path) })
	return s
})

func builtIn() *catalog.Catalog { return loadShipped().catalog }

// needShipped ends a test when what it works on cannot be read.
func needShipped(t *testing.T) {
	t.Helper()
	require.NoError(t, loadShipped().err)
}

// replay adds a shipped case, moved to another time, under ids of its own.
func (h *history) replay(c cases.Case, at time.Time) {
	var first time.Time
	n := len(h.entries)
	for i, text := range c.Records() {
		var r fields
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&r); err != nil {
			h.t.Fatalf("%s: %v", c.Path, err)
		}
		when, err := time.Parse(time.RFC3339, r["eventTime"].(string))
		if err != nil {
			h.t.Fatalf("%s: %v", c.Path, err)
		}
		if i == 0 {
			first = when
		}
		r["eventTime"] = at.Add(when.Sub(first)).UTC().Format("2006-01-02T15:04:05Z")
		r["eventID"] = fmt.Sprintf("%d-%s", n, r["eventID"])
		if shared, ok := r["sharedEventID"].(string); ok {
			r["sharedEventID"] = fmt.Sprintf("%d-%s", n, shared)
		}
		if account, _ := r["recipientAccountId"].(string); account == "" {
			r["recipientAccountId"] = ours
		}
		h.add(r)
	}
}

// drawSettings draws what the user says, with thresholds small enough for
// small histories.
func drawSettings(t *rapid.T) *analyzer.Settings {
	s := &analyzer.Settings{
		Lateness: rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour}).Draw(t, "lateness"),
		Detections: map[string]analyzer.DetectionSettings{
			"KMS-U03": {Params: map[string]any{"floor": 30, "burst": 30, "baseline": "48h"}},
			"KMS-U04": {Params: map[string]any{"min_keys": 4}},
			"KMS-U05": {Params: map[string]any{"person_secrets": 4, "program_secrets": 5, "person_data": 6}},
			"KMS-U06": {Params: map[string]any{"min_denials": 5, "min_different": 3}},
			"KMS-D17": {Params: map[string]any{"min_grants": 3}},
		},
	}
	if rapid.Bool().Draw(t, "organisation listed") {
		s.Organisation = []analyzer.Account{{ID: ours, Name: "prod"}}
		if rapid.Bool().Draw(t, "second listed") {
			s.Organisation = append(s.Organisation, analyzer.Account{ID: ours2, Name: "sandbox", Sandbox: rapid.Bool().Draw(t, "sandbox")})
		}
	}
	if rapid.Bool().Draw(t, "partner listed") {
		s.Partners = []analyzer.Account{{ID: partner, Name: "partner"}}
	}
	if rapid.Bool().Draw(t, "tier-0") {
		s.Tier0 = []string{rapid.SampledFrom([]string{ourKeys[0], "alias/prod", ours + ":alias/billing"}).Draw(t, "tier-0 key")}
	}
	if rapid.Bool().Draw(t, "allow-list") {
		s.KeyAllow = []analyzer.KeyAllow{{
			Key:        rapid.SampledFrom([]string{ourKeys[0], "alias/prod", "alias/billing"}).Draw(t, "listed key"),
			Principals: []string{rapid.SampledFrom([]string{"arn:aws:iam::*:role/app", "arn:aws:iam::111122223333:user/*"}).Draw(t, "allowed")},
		}}
	}
	if rapid.Bool().Draw(t, "roles") {
		s.Roles = analyzer.Roles{IaC: []string{"*:role/terraform"}, Scanners: []string{"*:role/etl"}, Routine: []string{"*:role/app"}}
	}
	if rapid.Bool().Draw(t, "change window") {
		from, _ := time.Parse(time.RFC3339, monday)
		from = from.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "hours")) * time.Hour)
		s.ChangeWindows = []analyzer.ChangeWindow{{Name: "works", From: from, To: from.Add(30 * time.Hour)}}
	}
	s.Defaults()
	return s
}
