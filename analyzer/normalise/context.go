package normalise

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// encryptionContext is what the caller bound to the ciphertext: for AWS
// services the name of the data.
type encryptionContext struct {
	json, keys     string
	dataKind, data string
}

// dataKinds name the data by the context key that a service uses. The order is
// that of preference when a context has several.
var dataKinds = []struct{ key, kind string }{
	{"SecretARN", "secret"},
	{"PARAMETER_ARN", "parameter"},
	{"aws:s3:arn", "s3_object"}, // or s3_bucket, see dataOf
	{"aws:ebs:id", "volume"},
	{"aws:rds:db-id", "database"},
	{"aws:rds:dbc-id", "database"},
	{"aws:dynamodb:tableName", "table"},
	{"aws:lambda:FunctionArn", "function"},
	{"aws:lambda:FunctionName", "function"},
	{"aws:logs:arn", "log_group"},
	{"aws:logs:log-group-arn", "log_group"},
	{"aws:cloudtrail:arn", "trail"},
	{"aws:kinesis:arn", "stream"},
	{"aws:kinesis:stream-arn", "stream"},
	{"aws:firehose:arn", "stream"},
	{"aws:sqs:arn", "queue"},
	{"aws:sns:topicArn", "topic"},
	{"aws:elasticfilesystem:filesystem:id", "file_system"},
	{"aws:fsx:fs-id", "file_system"},
	{"aws:redshift:arn", "cluster"},
	{"aws:elasticache:arn", "cluster"},
	{"aws:backup:backup-vault", "backup_vault"},
	{"aws:workspaces:volume", "volume"},
	{"aws:codebuild:arn", "build"},
}

// parseContext reads an encryption context object.
func parseContext(raw []byte) (c encryptionContext) {
	if len(raw) < 2 || raw[0] != '{' {
		return c
	}
	type pair struct{ key, value string }
	var few [4]pair
	pairs := few[:0]
	end := object(raw, 0, func(name []byte, i int) int {
		end := skip(raw, i)
		if end < 0 {
			return -1
		}
		key := string(name)
		if bytes.IndexByte(name, '\\') >= 0 {
			key = text(raw[i-len(name)-3 : i])
		}
		pairs = append(pairs, pair{key, text(raw[i:end])})
		return end
	})
	if end < 0 || len(pairs) == 0 {
		return encryptionContext{}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })

	if len(pairs) == 1 {
		c.keys = pairs[0].key
	} else {
		names := make([]string, len(pairs))
		for i, p := range pairs {
			names[i] = p.key
		}
		c.keys = cut(strings.Join(slices.Compact(names), ","), maxText)
	}
	b := make([]byte, 0, len(raw)+8)
	b = append(b, '{')
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, p.key)
		b = append(b, ':')
		b = appendJSON(b, p.value)
	}
	b = append(b, '}')
	c.json = wrap(string(b), maxContext)

	for _, k := range dataKinds {
		for _, p := range pairs {
			if p.key == k.key && p.value != "" {
				c.dataKind, c.data = k.kind, p.value
				if k.kind == "s3_object" {
					c.dataKind = s3Kind(p.value)
				}
				return c
			}
		}
	}
	// A context key of a service that is not in the table still names its data
	// when the value is an ARN.
	for _, p := range pairs {
		if a, ok := splitARN(p.value); ok && a.service != "" {
			c.dataKind, c.data = a.service, p.value
			return c
		}
	}
	return c
}

// s3Kind tells an object from a bucket: with S3 Bucket Keys the context is the
// bucket's ARN.
func s3Kind(arn string) string {
	if strings.Contains(arn, "/") {
		return "s3_object"
	}
	return "s3_bucket"
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return append(b, `""`...) // a string always encodes
	}
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}

// compact returns a JSON value without white space, in memory of its own, at
// most maxJSON runes of it; null and nothing are empty.
func compact(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return ""
	}
	var buf bytes.Buffer
	buf.Grow(len(raw))
	if json.Compact(&buf, raw) != nil {
		return wrap(string(appendJSON(nil, clean(string(raw), maxJSON))), maxJSON)
	}
	return wrap(clean(buf.String(), buf.Len()), maxJSON)
}

// wrap keeps JSON text that is too long valid JSON: its first limit runes
// become the text of {"truncated": …}. Half an object would make the database
// that reads it fail.
func wrap(s string, limit int) string {
	if short := cut(s, limit); len(short) < len(s) {
		return `{"truncated":` + string(appendJSON(nil, short)) + `}`
	}
	return s
}

// object-valued fields are sometimes logged as strings that hold JSON.
func unwrapJSON(r gjson.Result) gjson.Result {
	if r.Type == gjson.String {
		if s := strings.TrimSpace(r.Str); len(s) > 1 && (s[0] == '{' || s[0] == '[') && gjson.Valid(s) {
			return gjson.Parse(s)
		}
	}
	return r
}
