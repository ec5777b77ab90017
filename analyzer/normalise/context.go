package normalise

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
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
	{"aws:s3:arn", "s3_object"}, // or s3_bucket
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

// pair is one name and value of a context.
type pair struct{ name, value string }

// parseContext reads an encryption context object.
func parseContext(v jsonscan.Value, w *words) (c encryptionContext) {
	raw := v.Raw()
	if v.Kind() != jsonscan.Object || len(raw) < 3 {
		return c
	}
	var few [4]pair
	pairs, own, canonical := canonicalPairs(raw, few[:0])
	if canonical {
		c.json = own
	} else {
		if pairs = anyPairs(v, few[:0]); len(pairs) == 0 {
			return c
		}
		c.json = wrap(pairsJSON(pairs, len(raw)+8), maxContext)
	}
	if len(pairs) == 1 {
		c.keys = w.intern(pairs[0].name)
	} else {
		names := make([]string, len(pairs))
		for i, p := range pairs {
			names[i] = p.name
		}
		c.keys = w.intern(cut(strings.Join(slices.Compact(names), ","), maxText))
	}
	c.dataKind, c.data = dataOf(pairs)
	return c
}

// canonicalPairs reads a context that is written as it is kept: no white space,
// no escapes, names in order, values that are texts. Nearly all are. The texts
// returned are parts of own, the copy of raw.
func canonicalPairs(raw []byte, pairs []pair) (_ []pair, own string, ok bool) {
	if len(raw) > maxContext || !isPlain(raw) {
		return nil, "", false
	}
	own = string(raw)
	word := func(rest string) (string, string, bool) {
		if rest == "" || rest[0] != '"' {
			return "", "", false
		}
		return strings.Cut(rest[1:], `"`)
	}
	for rest := own[1:]; ; rest = rest[1:] {
		var p pair
		if p.name, rest, ok = word(rest); !ok || rest == "" || rest[0] != ':' {
			return nil, "", false
		}
		if p.value, rest, ok = word(rest[1:]); !ok || rest == "" {
			return nil, "", false
		}
		if n := len(pairs); n > 0 && pairs[n-1].name >= p.name {
			return nil, "", false
		}
		pairs = append(pairs, p)
		switch {
		case rest == "}":
			return pairs, own, true
		case rest[0] != ',':
			return nil, "", false
		}
	}
}

// anyPairs reads a context in any form and sorts it by name.
func anyPairs(v jsonscan.Value, pairs []pair) []pair {
	for m := v.Members(); m.Next(); {
		value := text(m.Value())
		if k := m.Value().Kind(); k == jsonscan.Object || k == jsonscan.Array {
			value = compact(m.Value())
		}
		pairs = append(pairs, pair{cut(string(m.Key()), maxText), value})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return pairs
}

func pairsJSON(pairs []pair, size int) string {
	b := append(make([]byte, 0, size), '{')
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, p.name)
		b = append(b, ':')
		b = appendJSON(b, p.value)
	}
	return string(append(b, '}'))
}

// dataOf names the data that a context is about.
func dataOf(pairs []pair) (kind, data string) {
	best := len(dataKinds)
	for _, p := range pairs {
		if rank, known := dataRanks[p.name]; known && rank < best && p.value != "" {
			best, data = rank, p.value
		}
	}
	if best < len(dataKinds) {
		kind = dataKinds[best].kind
		if kind == "s3_object" && !strings.Contains(data, "/") {
			// With S3 Bucket Keys the context is the bucket's ARN.
			kind = "s3_bucket"
		}
		return kind, data
	}
	// A context key of a service that is not in the table still names its data
	// when the value is an ARN.
	for _, p := range pairs {
		if a, ok := splitARN(p.value); ok && a.service != "" {
			return a.service, p.value
		}
	}
	return "", ""
}

var dataRanks = func() map[string]int {
	m := make(map[string]int, len(dataKinds))
	for i, k := range dataKinds {
		m[k.key] = i
	}
	return m
}()

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
