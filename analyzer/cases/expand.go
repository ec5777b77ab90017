package cases

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ourAccount is where a record that does not say was made.
const ourAccount = "111122223333"

// expand turns the records of a case into CloudTrail's JSON.
func expand(file string, start time.Time, defaults map[string]any, records []map[string]any) ([][]byte, error) {
	var list [][]byte
	var problems []error
	for i, own := range records {
		written, err := expandOne(start, merge(defaults, own).(map[string]any), func(n int) string {
			return eventID(file, i, n)
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("record %d: %w", i+1, err))
		}
		list = append(list, written...)
	}
	return list, errors.Join(problems...)
}

// shorthands are the keys of a record that are not CloudTrail's.
var shorthands = []string{"_at", "_as", "_via", "_key", "_denied", "_repeat"}

func expandOne(start time.Time, written map[string]any, id func(n int) string) ([][]byte, error) {
	short := map[string]any{}
	fields := map[string]any{}
	for key, value := range written {
		switch {
		case slices.Contains(shorthands, key):
			short[key] = value
		case strings.HasPrefix(key, "_"):
			return nil, fmt.Errorf("unknown shorthand %s; known are %s", key, strings.Join(shorthands, ", "))
		default:
			fields[key] = value
		}
	}
	at, err := textOf(short, "_at")
	if err != nil {
		return nil, err
	}
	when, err := timeAt(start, at)
	if err != nil {
		return nil, fmt.Errorf("_at: %w", err)
	}
	base, err := shorthand(short, fields)
	if err != nil {
		return nil, err
	}
	repeat, err := readRepeat(short["_repeat"])
	if err != nil {
		return nil, fmt.Errorf("_repeat: %w", err)
	}
	record := merge(base, fields).(map[string]any)
	if err := checkIDs(record, ""); err != nil {
		return nil, err
	}
	_, hasID := fields["eventID"]
	if hasID && repeat.times > 1 {
		if _, varied := repeat.vary["eventID"]; !varied {
			return nil, errors.New("eventID is written and the record repeats: leave it out, or vary it")
		}
	}

	list := make([][]byte, 0, repeat.times)
	for n := range repeat.times {
		r := merge(record, nil).(map[string]any)
		if _, fixed := fields["eventTime"]; !fixed {
			r["eventTime"] = when.Add(time.Duration(n) * repeat.every).UTC().Format("2006-01-02T15:04:05Z")
		}
		if !hasID {
			r["eventID"] = id(n)
		}
		for path, value := range repeat.vary {
			if err := set(r, strings.Split(path, "."), vary(value, n)); err != nil {
				return nil, fmt.Errorf("_repeat: vary %q: %w", path, err)
			}
		}
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

// eventID is an id in CloudTrail's form that depends on the place in the file
// only.
func eventID(file string, record, n int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", file, record, n))
	// Version 4 and variant 8 of a UUID, as AWS's are.
	h[6], h[8] = h[6]&0x0f|0x40, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// shorthand writes out what a record's shorthands stand for, over what every
// record has.
func shorthand(short, fields map[string]any) (map[string]any, error) {
	values := map[string]string{}
	for _, key := range []string{"_as", "_via", "_key", "_denied"} {
		value, err := textOf(short, key)
		if err != nil {
			return nil, err
		}
		values[key] = value
	}
	account := ourAccount
	if a, ok := fields["recipientAccountId"].(string); ok {
		account = a
	}
	name, _ := fields["eventName"].(string)
	if name == "" {
		return nil, errors.New("eventName is missing")
	}
	base := map[string]any{
		"eventVersion": "1.11", "eventSource": "kms.amazonaws.com", "awsRegion": "us-east-1",
		"recipientAccountId": account, "eventType": "AwsApiCall", "eventCategory": "Management",
		"managementEvent": true, "readOnly": readOnly(name),
		"sourceIPAddress": "198.51.100.7", "userAgent": "Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux lang/python#3.13",
		"requestParameters": nil, "responseElements": nil,
	}
	if who := values["_as"]; who != "" {
		identity, err := identity(who, account)
		if err != nil {
			return nil, fmt.Errorf("_as: %w", err)
		}
		base["userIdentity"] = identity
		if service, ok := identity["invokedBy"]; ok {
			base["sourceIPAddress"], base["userAgent"] = service, service
		}
		if identity["type"] == "Root" {
			base["userAgent"] = "aws-cli/2.31.0 md/command#kms"
		}
	}
	if via := values["_via"]; via != "" {
		who, ok := base["userIdentity"].(map[string]any)
		if !ok {
			who = map[string]any{}
			base["userIdentity"] = who
		}
		who["invokedBy"] = via
		base["sourceIPAddress"], base["userAgent"] = via, via
	}
	if key := values["_key"]; key != "" {
		parts := strings.Split(key, ":")
		if len(parts) != 6 || !strings.HasPrefix(parts[5], "key/") {
			return nil, fmt.Errorf("_key: %q is no key ARN", key)
		}
		base["resources"] = []any{map[string]any{"accountId": parts[4], "type": "AWS::KMS::Key", "ARN": key}}
		base["requestParameters"] = map[string]any{"keyId": key}
	}
	if action := values["_denied"]; action != "" {
		resource := "*"
		if values["_key"] != "" {
			resource = values["_key"]
		}
		who := "an unknown principal"
		if id, ok := base["userIdentity"].(map[string]any); ok && id["arn"] != nil {
			who = fmt.Sprint(id["arn"])
		}
		base["requestParameters"] = nil
		base["errorCode"] = "AccessDenied"
		base["errorMessage"] = fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", who, action, resource, action)
	}
	return base, nil
}

// readOnly is what CloudTrail would say of the call.
func readOnly(name string) bool {
	for _, prefix := range []string{"Get", "List", "Describe", "Lookup", "GenerateDataKey", "GenerateMac", "GenerateRandom", "ReEncrypt"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"Decrypt", "Encrypt", "Sign", "Verify", "VerifyMac", "DeriveSharedSecret", "Decapsulate"}, name)
}

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// identity writes userIdentity as CloudTrail does for this kind of caller.
func identity(who, account string) (map[string]any, error) {
	if before, after, found := strings.Cut(who, ":"); found && accountForm.MatchString(before) {
		account, who = before, after
	}
	kind, rest, _ := strings.Cut(who, "/")
	// An id in AWS's form that is the same for the same name.
	unique := strings.ToUpper(eventID(who, 0, 0)[:8]) + "EXAMPLE"
	switch {
	case kind == "user" && rest != "":
		name := rest[strings.LastIndex(rest, "/")+1:]
		return map[string]any{
			"type": "IAMUser", "principalId": "AIDA" + unique, "accountId": account, "userName": name,
			"arn": "arn:aws:iam::" + account + ":user/" + rest, "accessKeyId": "AKIA" + unique,
		}, nil
	case kind == "root" && rest == "":
		return map[string]any{
			"type": "Root", "principalId": account, "accountId": account,
			"arn": "arn:aws:iam::" + account + ":root", "accessKeyId": "ASIA" + unique,
		}, nil
	case kind == "service" && rest != "":
		return map[string]any{"type": "AWSService", "invokedBy": rest}, nil
	case kind == "account" && accountForm.MatchString(rest):
		return map[string]any{"type": "AWSAccount", "principalId": "AROA" + unique + ":session", "accountId": rest}, nil
	case kind == "sso" && strings.Count(rest, "/") == 1:
		set, person, _ := strings.Cut(rest, "/")
		role := "AWSReservedSSO_" + set + "_0123456789abcdef"
		return session(account, "aws-reserved/sso.amazonaws.com/"+role, person, unique), nil
	case kind == "role" && strings.Contains(rest, "/"):
		i := strings.LastIndex(rest, "/")
		return session(account, rest[:i], rest[i+1:], unique), nil
	default:
		return nil, fmt.Errorf("%q must be user/NAME, role/NAME/SESSION, sso/PERMISSION_SET/PERSON, root, service/NAME or account/ID", who)
	}
}

// session is an assumed role; role may have a path.
func session(account, role, name, unique string) map[string]any {
	short := role[strings.LastIndex(role, "/")+1:]
	return map[string]any{
		"type": "AssumedRole", "principalId": "AROA" + unique + ":" + name, "accountId": account,
		"arn":         "arn:aws:sts::" + account + ":assumed-role/" + short + "/" + name,
		"accessKeyId": "ASIA" + unique,
		"sessionContext": map[string]any{
			"sessionIssuer": map[string]any{
				"type": "Role", "principalId": "AROA" + unique, "accountId": account,
				"arn": "arn:aws:iam::" + account + ":role/" + role, "userName": short,
			},
			"attributes": map[string]any{"mfaAuthenticated": "false"},
		},
	}
}

// repetition says how a record is written several times.
type repetition struct {
	times int
	every time.Duration
	vary  map[string]any
}

func readRepeat(v any) (repetition, error) {
	r := repetition{times: 1}
	if v == nil {
		return r, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return r, errors.New("must be a mapping with times, every and vary")
	}
	for key, value := range m {
		switch key {
		case "times":
			n, err := strconv.Atoi(fmt.Sprint(value))
			if err != nil || n < 1 || n > 100_000 {
				return r, fmt.Errorf("times: %v must be between 1 and 100000", value)
			}
			r.times = n
		case "every":
			d, err := offset(fmt.Sprint(value))
			if err != nil {
				return r, fmt.Errorf("every: %w", err)
			}
			r.every = d
		case "vary":
			if r.vary, ok = value.(map[string]any); !ok {
				return r, errors.New("vary must map a field's path to text with {n}, or to a list")
			}
			for path, value := range r.vary {
				switch value := value.(type) {
				case string:
				case []any:
					if len(value) == 0 {
						return r, fmt.Errorf("vary %q: the list is empty", path)
					}
				default:
					return r, fmt.Errorf("vary %q must be text with {n}, or a list", path)
				}
			}
		default:
			return r, fmt.Errorf("unknown key %q; known are times, every, vary", key)
		}
	}
	return r, nil
}

// vary returns the value of repetition n, from 0.
func vary(value any, n int) any {
	if list, ok := value.([]any); ok {
		value = list[n%len(list)]
	}
	if s, ok := value.(string); ok {
		return strings.ReplaceAll(s, "{n}", strconv.Itoa(n+1))
	}
	return value
}

// set puts a value at a path of a record, making mappings on the way. A number
// in the path is a place in a list that is there.
func set(into any, path []string, value any) error {
	switch into := into.(type) {
	case map[string]any:
		if len(path) == 1 {
			into[path[0]] = value
			return nil
		}
		if into[path[0]] == nil {
			into[path[0]] = map[string]any{}
		}
		return set(into[path[0]], path[1:], value)
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(into) {
			return fmt.Errorf("%q is no place in a list of %d", path[0], len(into))
		}
		if len(path) == 1 {
			into[i] = value
			return nil
		}
		return set(into[i], path[1:], value)
	default:
		return fmt.Errorf("nothing to go into at %q", path[0])
	}
}

// merge lays over on base, mapping by mapping; anything else replaces what was
// there, null too. Nothing of the result is shared with either.
func merge(base, over any) any {
	switch b := base.(type) {
	case map[string]any:
		o, ok := over.(map[string]any)
		if !ok && over != nil {
			return clone(over)
		}
		result := clone(b).(map[string]any)
		for key, value := range o {
			if below, both := result[key].(map[string]any); both && value != nil {
				result[key] = merge(below, value)
			} else {
				result[key] = clone(value)
			}
		}
		return result
	default:
		if over == nil {
			return clone(base)
		}
		return clone(over)
	}
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for key, value := range v {
			c[key] = clone(value)
		}
		return c
	case []any:
		c := slices.Clone(v)
		for i, value := range c {
			c[i] = clone(value)
		}
		return c
	default:
		return v
	}
}

// checkIDs refuses account ids that YAML read as numbers: leading zeros would
// be lost without a word.
func checkIDs(v any, path string) error {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if key == "accountId" || key == "recipientAccountId" || key == "account" {
				if _, isText := value.(string); !isText && value != nil {
					return fmt.Errorf("%s: the account id is a number: quote it", strings.TrimPrefix(path+"."+key, "."))
				}
			}
			if err := checkIDs(value, path+"."+key); err != nil {
				return err
			}
		}
	case []any:
		for i, value := range v {
			if err := checkIDs(value, fmt.Sprintf("%s.%d", path, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func textOf(m map[string]any, key string) (string, error) {
	v, ok := m[key]
	if !ok || v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s must be text; quote it", key)
	}
	return s, nil
}

// timeAt reads an offset from start, or a time of its own.
func timeAt(start time.Time, s string) (time.Time, error) {
	if s == "" {
		return start, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	d, err := offset(s)
	if err != nil {
		return time.Time{}, err
	}
	return start.Add(d), nil
}

var dayForm = regexp.MustCompile(`^([0-9]+)d`)

// offset reads a duration that may begin with days: +1d2h, -30d, 5m.
func offset(s string) (time.Duration, error) {
	sign, rest := time.Duration(1), s
	switch {
	case strings.HasPrefix(rest, "-"):
		sign, rest = -1, rest[1:]
	case strings.HasPrefix(rest, "+"):
		rest = rest[1:]
	}
	var total time.Duration
	if days := dayForm.FindStringSubmatch(rest); days != nil {
		n, err := strconv.Atoi(days[1])
		if err != nil || n > 10_000 {
			return 0, fmt.Errorf("%q has too many days", s)
		}
		total, rest = time.Duration(n)*24*time.Hour, rest[len(days[0]):]
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q must be an offset such as +5m, -3d or +1d2h30m", s)
		}
		total += d
	} else if total == 0 && !strings.ContainsAny(s, "0") {
		return 0, fmt.Errorf("%q must be an offset such as +5m, -3d or +1d2h30m", s)
	}
	return sign * total, nil
}
