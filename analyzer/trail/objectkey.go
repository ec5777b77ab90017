package trail

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Kinds of objects that CloudTrail writes, as they stand in their names.
const (
	KindLog     = "CloudTrail"
	KindDigest  = "CloudTrail-Digest"
	KindInsight = "CloudTrail-Insight"
)

// FileHint is what the name of a log file says about what is in it. It is a
// hint: names can be changed, and the content decides.
type FileHint struct {
	Kind    string // KindLog, KindDigest, KindInsight, or another CloudTrail-… not known yet
	Account string // 12 digits: whose events they are
	Org     string // o-… when an organisation's trail delivered it and the folders tell
	Region  string
	// Delivered is when CloudTrail wrote the object; its events are older, by
	// about five minutes as a rule and by hours at times.
	Delivered time.Time
}

// ParseObjectKey reads the key of an S3 object, or the path or name of a file
// that was one, such as
//
//	prefix/AWSLogs/o-exampleorgid/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json.gz
//
// Keys may be URL-encoded, as they are in S3's notifications. ok is false when
// the name is not one that CloudTrail gives.
func ParseObjectKey(key string) (hint FileHint, ok bool) {
	if hint, ok = parseObjectKey(key); ok || !strings.ContainsAny(key, "%+") {
		return hint, ok
	}
	decoded, err := DecodeObjectKey(key)
	if err != nil {
		return FileHint{}, false
	}
	return parseObjectKey(decoded)
}

// DecodeObjectKey undoes the URL-encoding that S3 applies to keys in its
// notifications, where a space is a plus sign.
func DecodeObjectKey(encoded string) (string, error) {
	key, err := url.QueryUnescape(encoded)
	if err != nil {
		return "", fmt.Errorf("decode object key %q: %w", encoded, err)
	}
	return key, nil
}

func parseObjectKey(key string) (hint FileHint, ok bool) {
	folders, name := "", key
	if i := strings.LastIndexAny(key, `/\`); i >= 0 {
		folders, name = key[:i], key[i+1:]
	}
	stem, _, ok := strings.Cut(name, ".json")
	if !ok {
		return FileHint{}, false
	}
	// 111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp
	// 111122223333_CloudTrail-Digest_eu-west-1_my_trail_eu-west-1_20260302T090512Z
	account, stem, _ := strings.Cut(stem, "_")
	kind, stem, _ := strings.Cut(stem, "_")
	region, stem, ok := strings.Cut(stem, "_")
	if !ok || !isAccountID(account) || kind != KindLog && !strings.HasPrefix(kind, KindLog+"-") || region == "" {
		return FileHint{}, false
	}
	// A trail's name may hold underscores, and the random part has none.
	delivered, ok := time.Time{}, false
	for rest := stem; rest != "" && !ok; {
		var part string
		part, rest, _ = strings.Cut(rest, "_")
		delivered, ok = parseStamp(part)
	}
	if !ok {
		return FileHint{}, false
	}
	hint = FileHint{Kind: kind, Account: account, Region: region, Delivered: delivered}
	for folder := range strings.FieldsFuncSeq(folders, func(r rune) bool { return r == '/' || r == '\\' }) {
		if isOrgID(folder) {
			hint.Org = folder // the last one: prefixes are anybody's choice
		}
	}
	return hint, true
}

// parseStamp reads 20260302T0905Z, or 20260302T090512Z as digests have it.
func parseStamp(s string) (time.Time, bool) {
	layout := "20060102T1504Z"
	if len(s) == len("20060102T150405Z") {
		layout = "20060102T150405Z"
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// isOrgID tells whether s is the id of an organisation: o- and 10 to 32 lower
// case letters or digits (AWS Organizations API reference, Organization).
func isOrgID(s string) bool {
	id, ok := strings.CutPrefix(s, "o-")
	return ok && len(id) >= 10 && len(id) <= 32 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}
