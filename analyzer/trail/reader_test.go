package trail_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// rec is a short KMS record with this event id.
func rec(id string) string { return recOf("kms.amazonaws.com", "Decrypt", id) }

func recOf(source, name, id string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","userName":"alice"},"eventTime":"2026-03-02T09:00:00Z","eventSource":"%s","eventName":"%s","requestParameters":{"policy":"{\"a\":[\"b\"]}","list":[{"k":1},{}]},"eventID":"%s"}`, source, name, id)
}

func records(list ...string) string { return `{"Records":[` + strings.Join(list, ",") + `]}` }

// outcome is what reading one input gave.
type outcome struct {
	kept    []string // event ids
	offsets []int64
	data    []string
	rejects []analyzer.Reject
	counts  trail.Counts
}

// try reads one input and checks what holds for every input.
func try(t require.TestingT, reader *trail.Reader, name string, src io.Reader) (out outcome) {
	var err error
	done := 0
	out.counts, err = reader.Read(context.Background(), name, src, trail.Handler{
		Record: func(r *trail.Record) error {
			require.Equal(t, name, r.File)
			require.Equal(t, r.Doc.Root().Raw(), r.Data)
			require.Equal(t, r.Doc.Root().Get("eventSource").String(), string(r.Source))
			require.Equal(t, r.Doc.Root().Get("eventName").String(), string(r.Name))
			out.kept = append(out.kept, r.Doc.Root().Get("eventID").String())
			out.offsets = append(out.offsets, r.Offset)
			out.data = append(out.data, string(r.Data))
			return nil
		},
		Reject: func(r analyzer.Reject) error {
			require.Equal(t, name, r.File)
			require.NotEmpty(t, r.Reason)
			require.LessOrEqual(t, len(r.Record), 64<<10)
			out.rejects = append(out.rejects, r)
			return nil
		},
		Done: func(file string, counts trail.Counts) error {
			require.Equal(t, name, file)
			done++
			return nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, 1, done)
	c := out.counts
	require.Equal(t, c.Records.Read, c.Records.Kept+c.Records.NotOfInterest+c.Records.Rejected)
	require.EqualValues(t, len(out.kept), c.Records.Kept)
	require.LessOrEqual(t, int64(len(out.rejects)), c.Records.Rejected)
	require.EqualValues(t, 1, c.Files.Read+c.Files.Rejected+c.Files.Skipped)
	require.Equal(t, len(out.rejects) > 0, c.Files.Rejected > 0)
	return out
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

const logName = "111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json.gz"

// lookup is what aws cloudtrail lookup-events prints of the records.
func lookup(list ...string) string {
	for i, r := range list {
		list[i] = fmt.Sprintf("        {\n            \"EventId\": \"x\",\n            \"CloudTrailEvent\": %q,\n            \"Resources\": []\n        }", r)
	}
	return "{\n    \"Events\": [\n" + strings.Join(list, ",\n") + "\n    ],\n    \"NextToken\": \"abc\"\n}\n"
}

func envelope(detail string) string {
	return `{"version":"0","id":"e1","detail-type":"AWS API Call via CloudTrail","source":"aws.kms","account":"111122223333","time":"2026-03-02T09:00:00Z","region":"eu-west-1","resources":[],"detail":` + detail + `}`
}

func pretty(s string) string {
	s = strings.ReplaceAll(s, `,"`, ",\n    \"")
	return strings.ReplaceAll(s, `":`, `" : `)
}

// TestContentDecides has every shape in which records come, and what is none.
func TestContentDecides(t *testing.T) {
	a, b, c := rec("a"), rec("b"), rec("c")
	other := recOf("s3.amazonaws.com", "GetObject", "o")
	insight := `{"eventVersion":"1.07","eventTime":"2026-03-02T09:00:00Z","awsRegion":"eu-west-1","eventID":"i","eventType":"AwsCloudTrailInsight","recipientAccountId":"111122223333","insightDetails":{"state":"Start","eventSource":"kms.amazonaws.com","eventName":"Decrypt"},"eventCategory":"Insight"}`
	for _, test := range []struct {
		name    string
		file    string
		content string
		kept    string // event ids
		dropped int64
		reject  []string // "offset: reason" or the reason alone
		skipped string
	}{
		{name: "an array of records under Records", content: records(a, b, other), kept: "a b", dropped: 1},
		{name: "a file whose name lies about gzip", file: logName, content: records(a), kept: "a"},
		{name: "gzip under a plain name", file: "x.txt", content: gz(records(a, b)), kept: "a b"},
		{name: "gzip members one after the other", content: gz(records(a)) + gz(records(b)), kept: "a b"},
		{name: "a gzip member that ends within a record", content: gz(records(a, b)[:300]) + gz(records(a, b)[300:]), kept: "a b"},
		{name: "gzip within gzip", content: gz(gz(records(a))), kept: "a"},
		{name: "white space around everything", content: "\n\t \r\n" + strings.Repeat(" ", 700) + "{ \"Records\" : [ \n" + a + " \n , " + b + " ] } \n\n", kept: "a b"},
		{name: "pretty-printed JSON", content: pretty(records(a, b, other)), kept: "a b", dropped: 1},
		{name: "unknown keys before and after Records", content: `{"version":1,"meta":{"Records":[{"x":1}]},"note":"Records","Records":[` + a + `],"more":[1,{"y":[2]}],"n":null}`, kept: "a"},
		{name: "Records twice", content: `{"Records":[` + a + `],"Records":[` + b + `]}`, kept: "a b"},
		{name: "no records under Records", content: `{"Records":[]}`},
		{name: "a bare array", content: "[" + a + ",\n" + b + "]", kept: "a b"},
		{name: "a single record", content: a, kept: "a"},
		{name: "a single record, pretty-printed", content: pretty(a), kept: "a"},
		{name: "a single record with its keys in another order", content: `{"eventID":"z","eventName":"Decrypt","eventTime":"2026-03-02T09:00:00Z","eventSource":"kms.amazonaws.com"}`, kept: "z"},
		{name: "JSON lines", content: a + "\n" + other + "\r\n\n" + b + "\n", kept: "a b", dropped: 1},
		{name: "JSON lines of whole logs", content: records(a, b) + "\n" + records(c), kept: "a b c"},
		{name: "documents of different shapes in one stream", content: records(a) + "[" + b + "]" + c, kept: "a b c"},
		{name: "a byte-order mark", content: "\xef\xbb\xbf" + records(a), kept: "a"},
		{name: "a byte-order mark within files put together", content: "\xef\xbb\xbf" + records(a) + "\xef\xbb\xbf" + records(b), kept: "a b"},
		{name: "an EventBridge envelope", content: envelope(a), kept: "a"},
		{name: "an array of EventBridge envelopes", content: "[" + envelope(a) + "," + envelope(other) + "," + envelope(b) + "]", kept: "a b", dropped: 1},
		{name: "an envelope in an envelope", content: envelope(envelope(a)), skipped: trail.SkippedJSON},
		{name: "JSON lines of EventBridge envelopes", content: envelope(a) + "\n" + envelope(b) + "\n", kept: "a b"},
		{name: "an EventBridge event that CloudTrail did not send", content: strings.Replace(envelope(`{"key-id":"1234abcd"}`), "AWS API Call via CloudTrail", "KMS CMK Deletion", 1), skipped: trail.SkippedJSON},
		{name: "the output of lookup-events", content: lookup(a, other, b), kept: "a b", dropped: 1},
		{name: "two pages of lookup-events", content: lookup(a) + lookup(b), kept: "a b"},
		{name: "one event of lookup-events", content: fmt.Sprintf(`{"EventId":"a","CloudTrailEvent":%q}`, a), kept: "a"},
		{name: "lookup-events without events", content: `{"Events":[]}`},
		{name: "lookup-events with a broken record", content: `{"Events":[{"CloudTrailEvent":"{\"eventName\":"},{"CloudTrailEvent":"7"},` + fmt.Sprintf(`{"CloudTrailEvent":%q}]}`, a), kept: "a", reject: []string{"11: in CloudTrailEvent: invalid JSON: unexpected end", "49: the CloudTrailEvent is no JSON object"}},

		{name: "a digest", file: strings.Replace(logName, "CloudTrail", "CloudTrail-Digest", 1), content: gz(`{"awsAccountId":"111122223333","digestStartTime":"2026-03-02T08:00:00Z","digestEndTime":"2026-03-02T09:00:00Z","logFiles":[{"s3Object":"x"}]}`), skipped: trail.SkippedDigest},
		{name: "an Insights file", content: records(insight, insight), skipped: trail.SkippedInsight},
		{name: "an Insights record among others", content: records(a, insight), kept: "a", dropped: 1},
		{name: "AWS Config history", content: `{"fileVersion":"1.0","configurationItems":[{"resourceId":"r"}]}`, skipped: trail.SkippedConfig},
		{name: "other JSON", file: "package.json", content: `{"name":"x","Records":"none"}`, skipped: trail.SkippedJSON},
		{name: "lines of other JSON", content: "{\"prov\":\"x\",\"_unparsed\":\"{\\\"eventSource\\\":\\\"kms.amazonaws.com\\\"}\"}\n{}\n", skipped: trail.SkippedJSON},
		{name: "an array of other JSON", content: `[{"a":1},{"a":2},3]`, skipped: trail.SkippedJSON},
		{name: "a record wrapped otherwise", content: `{"logEvents":[{"message":` + fmt.Sprintf("%q", a) + `}]}`, skipped: trail.SkippedJSON},
		{name: "other JSON among records", content: "{\"a\":1}\n" + a + "\n{\"b\":2}\n", kept: "a", reject: []string{"0: JSON that is not a CloudTrail record", fmt.Sprintf("%d: JSON that is not", 9+len(a))}},
		{name: "other JSON named as a CloudTrail log", file: logName, content: gz(`{"a":1}`), reject: []string{"named as a CloudTrail log but holds other JSON"}, skipped: ""},
		{name: "a README", file: "README.md", content: "# Logs\n{not JSON}\n", skipped: trail.SkippedOther},
		{name: "text that begins with a bracket", file: "app.log", content: "[INFO] started\n", skipped: trail.SkippedOther},
		{name: "an image", file: "logo.png", content: "\x89PNG\r\n\x1a\n\x00\x00", skipped: trail.SkippedOther},
		{name: "text named as JSON", file: "x.json.gz", content: gz("not JSON at all"), reject: []string{`0: named as JSON but begins with "not JSON at all"`}},
		{name: "an empty file", content: "", skipped: trail.SkippedEmpty},
		{name: "white space only", content: " \n\n ", skipped: trail.SkippedEmpty},
		{name: "gzip of nothing", content: gz(""), skipped: trail.SkippedEmpty},

		{name: "zstd", content: "\x28\xb5\x2f\xfd\x24\x00", reject: []string{"zstd -d"}},
		{name: "zip", content: "PK\x03\x04\x14", reject: []string{"unzip"}},
		{name: "bzip2", content: "BZh91AY", reject: []string{"bunzip2"}},
		{name: "xz", content: "\xfd7zXZ\x00\x00", reject: []string{"xz -d"}},
		{name: "7-Zip", content: "7z\xbc\xaf\x27\x1c\x00", reject: []string{"7z x"}},
		{name: "lz4", content: "\x04\x22\x4d\x18\x60", reject: []string{"lz4 -d"}},
		{name: "a tar archive within gzip", file: "logs.tar.gz", content: gz("logs/a.json" + strings.Repeat("\x00", 246) + "ustar\x0000"), reject: []string{"tar -xf"}},
		{name: "Parquet", content: "PAR1\x15\x00", reject: []string{"Parquet"}},
		{name: "UTF-16, little end first", content: utf16Of("\ufeff"+records(a), false), reject: []string{"iconv"}},
		{name: "UTF-16, big end first", content: utf16Of("\ufeff"+records(a), true), reject: []string{"iconv"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := test.file
			if file == "" {
				file = "some/file"
			}
			ways := map[string]io.Reader{
				"whole":         strings.NewReader(test.content),
				"byte by byte":  iotest.OneByteReader(strings.NewReader(test.content)),
				"end with data": iotest.DataErrReader(strings.NewReader(test.content)),
			}
			for way, src := range ways {
				for _, window := range []int{0, 600} {
					reader := trail.Reader{Filter: onlyKMS}
					reader.SetWindow(window)
					out := try(t, &reader, file, src)
					require.Equal(t, test.kept, strings.Join(out.kept, " "), way)
					require.Equal(t, test.dropped, out.counts.Records.NotOfInterest, way)
					requireRejects(t, test.reject, out.rejects)
					if test.skipped != "" {
						require.Equal(t, map[string]int64{test.skipped: 1}, out.counts.Skipped, way)
					} else {
						require.Zero(t, out.counts.Files.Skipped, way)
					}
					if s, ok := src.(*strings.Reader); ok {
						_, _ = s.Seek(0, io.SeekStart)
						continue
					}
					break
				}
			}
		})
	}
}

func requireRejects(t require.TestingT, want []string, got []analyzer.Reject) {
	var list []string
	for _, r := range got {
		list = append(list, fmt.Sprintf("%d: %s", r.Offset, r.Reason))
	}
	require.Len(t, list, len(want), "%q", list)
	for i := range want {
		require.Contains(t, list[i], want[i])
		if _, err := fmt.Sscanf(want[i], "%d:", new(int)); err == nil {
			require.True(t, strings.HasPrefix(list[i], want[i]), "%q does not begin with %q", list[i], want[i])
		}
	}
}

func utf16Of(s string, bigEnd bool) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		if bigEnd {
			b.Write(binary.BigEndian.AppendUint16(nil, u))
		} else {
			b.Write(binary.LittleEndian.AppendUint16(nil, u))
		}
	}
	return b.String()
}

// TestWhatIsBrokenIsRejectedAlone has one reject for each thing that is broken,
// with its offset, and all else is read.
func TestWhatIsBrokenIsRejectedAlone(t *testing.T) {
	a, b, c, d := rec("a"), rec("b"), rec("c"), rec("d")
	other := recOf("s3.amazonaws.com", "GetObject", "o")
	at := func(list ...string) int { return len(`{"Records":[`) + len(strings.Join(list, ",")) + 1 }
	in := func(record, old, replacement string) string {
		require.Contains(t, record, old)
		return strings.Replace(record, old, replacement, 1)
	}
	for _, test := range []struct {
		name    string
		content string
		kept    string
		dropped int64
		reject  []string
	}{
		{name: "a value is missing", content: records(a, in(b, `"alice"`, ``), c), kept: "a c", reject: []string{fmt.Sprintf("%d: invalid JSON: expected a value", at(a))}},
		{name: "a literal is misspelt", content: records(a, in(b, `{"k":1}`, `{"k":tru}`), c), kept: "a c", reject: []string{fmt.Sprintf("%d: invalid JSON: malformed value", at(a))}},
		{name: "a control character in a string", content: records(a, in(b, "alice", "al\nice"), c), kept: "a c", reject: []string{"control character"}},
		{name: "a malformed escape", content: records(a, in(b, "alice", `al\ice`), c), kept: "a c", reject: []string{"malformed escape"}},
		{name: "invalid UTF-8", content: records(a, in(b, "alice", "al\xffice"), in(c, "alice", "älice")), kept: "a c", reject: []string{fmt.Sprintf("%d: invalid JSON: invalid UTF-8", at(a))}},
		{name: "invalid UTF-8 in a record that nobody reads", content: records(a, in(other, "alice", "al\xffice"), c), kept: "a c", dropped: 1},
		{name: "a bracket is missing in a wanted record", content: records(a, in(b, `"alice"}`, `"alice"`), c, d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a))}},
		{name: "a bracket is missing in a record that nobody reads", content: records(a, in(other, `"alice"}`, `"alice"`), c, d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a))}},
		{name: "a bracket is missing here and one is too many there", content: records(a, in(other, `"alice"}`, `"alice"`), c, in(other, `"alice"}`, `"alice"}}`), d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a)), "neither eventSource nor eventName", "no JSON object", "unexpected ':'"}},
		{name: "brackets of different kinds", content: records(a, in(b, `[{"k":1},{}]`, `[{"k":1},{}}`), c, d), kept: "a c d", reject: []string{"expected a comma or the end of an array"}},
		{name: "a bracket too many", content: records(a, b+"}", c, d), kept: "a b c d", reject: []string{"unexpected '}' between records"}},
		{name: "a quote is missing in a wanted record", content: records(a, in(b, `"alice"`, `"alice`), c, d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a))}},
		{name: "a quote is missing in a record that nobody reads", content: records(a, in(other, `"alice"`, `"alice`), c, d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a))}},
		{name: "quotes are missing in two records that nobody reads", content: records(a, in(other, `"alice"`, `"alice`), c, in(other, `"alice"`, `alice"`), d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a)), "invalid JSON"}},
		{name: "quotes are missing at the end of one record and in the middle of another, both read by nobody", content: records(a, in(other, `"o"}`, `"o}`), c, in(other, `:00Z"`, `:00Z`), d), kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", at(a)), "invalid JSON"}},
		{name: "the last record lacks its bracket", content: records(a, b[:len(b)-1]), kept: "a", reject: []string{"the rest of the file is given up"}},
		{name: "a bracket too many before a record", content: records(a, "["+b, c, d), kept: "a b c d", reject: []string{fmt.Sprintf("%d: a bracket before this record", at(a))}},
		{name: "a bracket is missing in pretty-printed records", content: pretty(records(a, in(other, `"alice"}`, `"alice"`), c, d)), kept: "a c d", reject: []string{"invalid JSON"}},
		{name: "a comma is missing between records", content: `{"Records":[` + a + b + `]}`, kept: "a b", reject: []string{fmt.Sprintf("%d: a comma is missing", at(a)-1)}},
		{name: "a comma behind the last record", content: `{"Records":[` + a + `,]}`, kept: "a", reject: []string{"a comma with no record"}},
		{name: "something else between records", content: records(a, "!"+b, c), kept: "a b c", reject: []string{fmt.Sprintf("%d: unexpected '!' between records", at(a))}},
		{name: "a word before a record", content: records(a, "x "+b, c), kept: "a b c", reject: []string{"no JSON object", "a comma is missing"}},
		{name: "elements that are no objects", content: records(a, "null", "[[1]]", `"x"`, "-3", b), kept: "a b", reject: []string{"no JSON object", "no JSON object", "no JSON object", "no JSON object"}},
		{name: "a record without eventSource", content: records(a, in(b, `"eventSource":"kms.amazonaws.com",`, ``), c), kept: "a c", reject: []string{"it has no eventSource"}},
		{name: "a record whose eventSource is nested", content: records(a, in(b, `"eventSource":"kms.amazonaws.com",`, `"x":{"eventSource":"kms.amazonaws.com"},`), c), kept: "a c", reject: []string{"it has no eventSource"}},
		{name: "a record whose eventSource is no string", content: records(a, in(b, `"kms.amazonaws.com"`, `7`), c), kept: "a c", reject: []string{"it has no eventSource"}},
		{name: "a record without eventName", content: records(a, in(b, `"eventName":"Decrypt",`, ``), c), kept: "a c", reject: []string{"it has no eventName"}},
		{name: "a record without eventTime", content: records(a, in(b, `"eventTime":"2026-03-02T09:00:00Z",`, ``), c), kept: "a c", reject: []string{"it has no eventTime"}},
		{name: "an object that is empty", content: records(a, "{}", c), kept: "a c", reject: []string{"neither eventSource nor eventName"}},
		{name: "a record nested too deep", content: records(a, in(b, `"list":`, `"deep":`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`,"list":`), c), kept: "a c", reject: []string{"nested too deep"}},
		{name: "a record that nobody reads nested too deep", content: records(a, in(other, `"list":`, `"deep":`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`,"list":`), c), kept: "a c", reject: []string{"nested too deep"}},
		{name: "the file ends within a record", content: records(a, b, c)[:at(a, b)+50], kept: "a b", reject: []string{fmt.Sprintf("%d: the file ends inside a record", at(a, b))}},
		{name: "the file ends between records", content: records(a, b, c)[:at(a)-1], kept: "a", reject: []string{"the file ends inside an array of records"}},
		{name: "the file ends after the records", content: records(a, b)[:at(a, b)], kept: "a b", reject: []string{"the file ends inside a JSON object"}},
		{name: "a log that ends early with another behind it", content: records(a, b)[:at(a)+100] + records(c, d), kept: "a c d", reject: []string{"invalid JSON"}},

		{name: "a line is cut", content: a + "\n" + b[:90] + "\n" + c + "\n" + other + "\n", kept: "a c", dropped: 1, reject: []string{fmt.Sprintf("%d: invalid JSON", len(a)+1)}},
		{name: "a line that nobody reads is cut", content: a + "\n" + other[:len(other)-20] + "\n" + c + "\n" + d + "\n", kept: "a c d", reject: []string{fmt.Sprintf("%d: invalid JSON", len(a)+1)}},
		{name: "a line is cut behind its first byte", content: a + "\n" + b[:1] + "\n" + c + "\n", kept: "a c", reject: []string{"expected a key"}},
		{name: "the last line is cut", content: a + "\n" + b[:90], kept: "a", reject: []string{fmt.Sprintf("%d: the file ends inside a record", len(a)+1)}},
		{name: "a line is no JSON", content: a + "\nERROR: throttled\n" + c + "\n", kept: "a c", reject: []string{fmt.Sprintf("%d: unexpected 'E'", len(a)+1)}},
		{name: "a line is broken", content: a + "\n" + in(b, `"alice"}`, `"alice"]`) + "\n" + c + "\n", kept: "a c", reject: []string{"invalid JSON"}},
		{name: "what ends the file is no JSON", content: records(a) + "\x00\x00\x00", kept: "a", reject: []string{"the rest of the file is given up"}},
		{name: "keys without quotes in a document", content: "{\"Records\":[" + a + "],x:1}\n" + c, kept: "a c", reject: []string{"expected a key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, window := range []int{0, 700} {
				reader := trail.Reader{Filter: onlyKMS}
				reader.SetWindow(window)
				out := try(t, &reader, "x", strings.NewReader(test.content))
				require.Equal(t, test.kept, strings.Join(out.kept, " "))
				require.Equal(t, test.dropped, out.counts.Records.NotOfInterest)
				requireRejects(t, test.reject, out.rejects)
			}
		})
	}
}

func TestTheSourceIsTakenFromTheTopOfTheRecordOnly(t *testing.T) {
	const head = `{"eventVersion":"1.11","eventTime":"2026-03-02T09:00:00Z",`
	for _, test := range []struct {
		name, record string
		wanted       bool
	}{
		{"in a nested object before the true one", head + `"requestParameters":{"eventSource":"s3.amazonaws.com","eventName":"GetObject"},"eventSource":"kms.amazonaws.com","eventName":"Decrypt"}`, true},
		{"in a nested object after the true one", head + `"eventSource":"kms.amazonaws.com","eventName":"Decrypt","requestParameters":{"eventSource":"s3.amazonaws.com","eventName":"GetObject"}}`, true},
		{"in an object in an array", head + `"eventSource":"s3.amazonaws.com","eventName":"Decrypt","resources":[{"eventSource":"kms.amazonaws.com"}]}`, false},
		{"in a string", head + `"userAgent":"\"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"x\"","eventSource":"kms.amazonaws.com","eventName":"Decrypt"}`, true},
		{"in a string that ends in a backslash", head + `"userAgent":"x\\","eventSource":"kms.amazonaws.com","eventName":"Decrypt","errorMessage":"\\\",\"eventSource\":\"s3.amazonaws.com"}`, true},
		{"as a value", head + `"userAgent":"eventSource","eventSource":"kms.amazonaws.com","x":"eventName","eventName":"Decrypt"}`, true},
		{"twice: the last one counts", head + `"eventSource":"s3.amazonaws.com","eventName":"Decrypt","eventSource":"kms.amazonaws.com"}`, true},
		{"twice: the last one counts, also against it", head + `"eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventSource":"s3.amazonaws.com"}`, false},
		{"with an escape in the key", head + `"\u0065ventSource":"kms.amazonaws.com","eventName":"Decrypt"}`, true},
		{"with an escape in the key of the last one", head + `"eventSource":"kms.amazonaws.com","eventName":"Decrypt","\u0065ventSource":"s3.amazonaws.com"}`, false},
		{"with an escape in the value", head + `"eventSource":"kms\u002eamazonaws.com","eventName":"Decrypt"}`, true},
		{"with white space around the colon", head + "\"eventSource\" \t: \n\"kms.amazonaws.com\",\"eventName\"\r\n:\"Decrypt\"}", true},
		{"with keys that only begin alike", head + `"eventSourceX":"s3.amazonaws.com","eventNameX":"x","eventSource":"kms.amazonaws.com","eventName":"Decrypt"}`, true},
		{"behind many candidates, twice", head + `"eventSource":"kms.amazonaws.com","eventName":"Decrypt",` + strings.Repeat(`"x":"eventName",`, 40) + `"eventSource":"s3.amazonaws.com"}`, false},
		{"many candidates", head + `"x":[` + strings.Repeat(`"eventName",`, 40) + `1],"eventSource":"kms.amazonaws.com","eventName":"Decrypt"}`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, content := range []string{records(test.record), test.record, `[` + test.record + `]`, envelope(test.record)} {
				reader := trail.Reader{Filter: onlyKMS}
				out := try(t, &reader, "x", strings.NewReader(content))
				require.Empty(t, out.rejects)
				require.Equal(t, test.wanted, out.counts.Records.Kept == 1, content)
				require.Equal(t, !test.wanted, out.counts.Records.NotOfInterest == 1)
			}
		})
	}
}

// The index looks ahead of its blocks; what has not been read yet must not be
// taken for what it is not.
func TestKeysAreFoundWhereverReadsEnd(t *testing.T) {
	for pad := range 80 {
		record := fmt.Sprintf(`{"eventVersion":"1.11","eventSource":"kms.amazonaws.com","eventName":"Decrypt","x":"%s","eventSource":"s3.amazonaws.com"}`, strings.Repeat("x", pad))
		reader := trail.Reader{Filter: onlyKMS}
		out := try(t, &reader, "x", iotest.OneByteReader(strings.NewReader(records(record))))
		require.EqualValues(t, 1, out.counts.Records.NotOfInterest)
		require.Empty(t, out.rejects)
	}
}

func TestNothingIsTakenFromTheFileBefore(t *testing.T) {
	whole := records(rec("a"), rec("b"))
	reader := trail.Reader{}
	for n := range whole {
		try(t, &reader, "x", strings.NewReader(whole))
		out := try(t, &reader, "x", strings.NewReader(whole[:n]))
		for i, at := range out.offsets {
			require.LessOrEqual(t, int(at)+len(out.data[i]), n)
		}
		require.Len(t, out.kept, strings.Count(whole[:n], `"eventID":"a"}`)+strings.Count(whole[:n], `"eventID":"b"}`))
	}
}

func TestARecordThatSwallowsOthersIsNoticedBeforeItIsTooLarge(t *testing.T) {
	list := []string{strings.Replace(rec("broken"), `"alice"}`, `"alice"`, 1)}
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint(i))
		list = append(list, rec(want[i]))
	}
	for _, log := range []string{records(list...), strings.Join(list, "\n")} {
		reader := trail.Reader{Limits: trail.Limits{MaxRecord: 40 << 10}}
		out := try(t, &reader, "x", strings.NewReader(log))
		require.Equal(t, want, out.kept)
		requireRejects(t, []string{"invalid JSON"}, out.rejects)
	}
}

func TestRecordsSayWhereTheyBegin(t *testing.T) {
	a, b := rec("a"), rec("b")
	for content, want := range map[string][]int64{
		records(a, b):              {12, 12 + int64(len(a)) + 1},
		a + "\n\n" + b:             {0, int64(len(a)) + 2},
		envelope(a):                {int64(strings.Index(envelope(a), `"detail":`)) + 9},
		"\xef\xbb\xbf[ " + a:       nil,
		gz(records(a)) + gz(" "+b): {12, int64(len(records(a))) + 1},
	} {
		if want == nil {
			continue
		}
		var reader trail.Reader
		out := try(t, &reader, "x", strings.NewReader(content))
		require.Equal(t, want, out.offsets)
	}
}

func TestDamagedGzip(t *testing.T) {
	a, b := rec("a"), rec("b")
	whole := gz(records(a, b))
	t.Run("cut off at every byte", func(t *testing.T) {
		for n := 2; n < len(whole); n++ {
			reader := trail.Reader{}
			out := try(t, &reader, logName, strings.NewReader(whole[:n]))
			requireRejects(t, []string{"the gzip data is cut off"}, out.rejects)
		}
		reader := trail.Reader{}
		out := try(t, &reader, logName, strings.NewReader(whole[:len(whole)-4]))
		require.Equal(t, []string{"a", "b"}, out.kept)
		require.EqualValues(t, len(records(a, b)), out.rejects[0].Offset)
	})
	t.Run("records before the cut are read", func(t *testing.T) {
		// Two members: the second is cut in the middle.
		second := gz(b + "]}")
		reader := trail.Reader{}
		out := try(t, &reader, logName, strings.NewReader(gz(`{"Records":[`+a+`,`)+second[:len(second)/2]))
		require.Equal(t, []string{"a"}, out.kept)
		requireRejects(t, []string{fmt.Sprintf("%d: the gzip data is cut off", 12+len(a)+1)}, out.rejects)
	})
	t.Run("the checksum does not match", func(t *testing.T) {
		damaged := []byte(whole)
		damaged[len(damaged)-8] ^= 1
		reader := trail.Reader{}
		out := try(t, &reader, logName, bytes.NewReader(damaged))
		require.Equal(t, []string{"a", "b"}, out.kept)
		requireRejects(t, []string{"the gzip checksum does not match"}, out.rejects)
	})
	t.Run("the deflate data is damaged", func(t *testing.T) {
		damaged := []byte(whole)
		damaged[10] = 0xff
		reader := trail.Reader{}
		out := try(t, &reader, logName, bytes.NewReader(damaged))
		requireRejects(t, []string{"the gzip data is damaged"}, out.rejects)
	})
	t.Run("something else follows", func(t *testing.T) {
		reader := trail.Reader{}
		out := try(t, &reader, logName, strings.NewReader(whole+"trailing bytes of no meaning"))
		require.Equal(t, []string{"a", "b"}, out.kept)
		requireRejects(t, []string{"the gzip data is damaged: a header"}, out.rejects)
	})
	t.Run("the header is damaged", func(t *testing.T) {
		reader := trail.Reader{}
		out := try(t, &reader, logName, strings.NewReader("\x1f\x8b\xff"+whole[3:]))
		requireRejects(t, []string{"the gzip data is damaged: a header"}, out.rejects)
	})
	t.Run("the disk fails", func(t *testing.T) {
		reader := trail.Reader{}
		src := io.MultiReader(strings.NewReader(records(a, b)[:len(a)+30]), iotest.ErrReader(errors.New("input/output error")))
		out := try(t, &reader, "x", src)
		require.Equal(t, []string{"a"}, out.kept)
		requireRejects(t, []string{"reading failed: input/output error"}, out.rejects)
	})
}

// repeated gives the same bytes over and over, without holding them.
type repeated struct {
	unit  string
	at    int
	total int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) && r.total > 0 {
		c := copy(p[n:min(len(p), n+r.total)], r.unit[r.at:])
		n, r.total, r.at = n+c, r.total-c, (r.at+c)%len(r.unit)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestWhatIsTooLargeIsRejectedWithoutBeingHeld(t *testing.T) {
	a, c := rec("a"), rec("c")
	long := rec("long")
	cutAt := strings.Index(long, "alice")
	for name, test := range map[string]struct {
		before, unit, after string
		kept, reject        string
	}{
		"a record of 200 MB in an array": {`{"Records":[` + a + `,` + long[:cutAt], "x", long[cutAt:] + `,` + c + `]}`, "a c", "larger than 16777216 bytes"},
		"a record of 200 MB on a line":   {a + "\n" + long[:cutAt], "x", long[cutAt:] + "\n" + c, "a c", "larger than"},
		"a long string":                  {`{"Records":[` + a + `,"`, "x", `",` + c + `]}`, "a c", "no JSON object"},
		"a long key":                     {`{"`, "k", `":1,"Records":[` + a + `,` + c + `]}`, "a c", ""},
		"a long number":                  {`{"Records":[` + a + `,`, "1", `,` + c + `]}`, "a c", "no JSON object"},
		"much white space":               {`{"Records":`, " ", `[` + a + `,` + c + `]}`, "a c", ""},
		"a nesting bomb":                 {`{"Records":[` + a + `,{"x":`, "[", ``, "a", "the file ends inside a record"},
		"a nesting bomb of objects":      {``, `{"a":`, ``, "", "the file ends inside a record"},
		"a string without an end":        {`{"Records":[` + a + `,{"x":"`, "y", ``, "a", "the file ends inside a record"},
		"large other JSON":               {`{"x":[`, `{"a":1},`, `1]}`, "", "larger than"},
		"an array of numbers":            {`{"Records":[` + a + `,{"x":[`, `1,`, `1]},` + c + `]}`, "a c", "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			size := 24 << 20
			if strings.Contains(name, "200 MB") {
				size = 200 << 20
			}
			src := io.MultiReader(strings.NewReader(test.before), &repeated{unit: test.unit, total: size / len(test.unit) * len(test.unit)}, strings.NewReader(test.after))
			reader := trail.Reader{Filter: onlyKMS}
			var out outcome
			used := peakMemory(func() { out = try(t, &reader, "x", src) })
			require.Equal(t, test.kept, strings.Join(out.kept, " "))
			if test.reject == "" {
				require.Empty(t, out.rejects)
			} else {
				requireRejects(t, []string{test.reject}, out.rejects)
			}
			if size == 200<<20 {
				require.Less(t, used, uint64(160<<20), "bytes of memory taken")
			}
		})
	}
}

func TestDamageEverywhereCostsABoundedAmount(t *testing.T) {
	for name, unit := range map[string]string{
		"records that swallow all that follows":  `{"eventVersion":1,`,
		"records without a quote":                `{"eventVersion":",`,
		"records that are empty":                 `{},`,
		"records that are broken in themselves":  `{"eventVersion":},`,
		"records with a bracket of another kind": `{"eventVersion":1],`,
		"elements that are none":                 `!,`,
		"elements that are no objects":           `1,`,
		"brackets":                               `[{`,
		"lines of nothing":                       "{\n",
		"lines of other JSON":                    "{}\n",
		"lines of text":                          "x\n{}\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, head := range []string{`{"Records":[`, "{}\n" + rec("a") + "\n"} {
				const size = 4 << 20
				reader := trail.Reader{}
				var out outcome
				used := peakMemory(func() {
					out = try(t, &reader, "x", io.MultiReader(strings.NewReader(head), &repeated{unit: unit, total: size}))
				})
				require.Less(t, used, uint64(64<<20), "bytes of memory taken")
				require.NotEmpty(t, out.rejects)
				require.LessOrEqual(t, len(out.rejects), 1002)
				if name == "records that swallow all that follows" {
					require.Contains(t, fmt.Sprint(out.rejects), "so much is broken")
				}
				if len(out.rejects) > 1000 {
					require.Contains(t, out.rejects[len(out.rejects)-1].Reason, "more are rejected in this file")
				}
			}
		})
	}
}

func TestManyValuesInOneRecordAreRejected(t *testing.T) {
	reader := trail.Reader{}
	crowded := strings.Replace(rec("b"), `"list":[`, `"list":[`+strings.Repeat("1,", 2<<20), 1)
	out := try(t, &reader, "x", strings.NewReader(records(rec("a"), crowded, rec("c"))))
	require.Equal(t, []string{"a", "c"}, out.kept)
	requireRejects(t, []string{"too many values"}, out.rejects)
}

func TestGzipBombsAreStopped(t *testing.T) {
	var bomb bytes.Buffer
	w, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	require.NoError(t, err)
	_, err = io.Copy(w, io.MultiReader(strings.NewReader(`{"Records":[`+rec("a")+","), &repeated{unit: " ", total: 100 << 20}))
	require.NoError(t, err)
	require.NoError(t, w.Close())

	reader := trail.Reader{}
	out := try(t, &reader, logName, bytes.NewReader(bomb.Bytes()))
	require.Equal(t, []string{"a"}, out.kept)
	requireRejects(t, []string{"gzip bomb: it inflates to over 200 times its size"}, out.rejects)
	require.Less(t, out.counts.Inflated, int64(70<<20))

	reader.Limits = trail.Limits{MaxRatio: 2000, MaxInflated: 1 << 20}
	out = try(t, &reader, logName, bytes.NewReader(bomb.Bytes()))
	requireRejects(t, []string{"gzip bomb: it inflates to over 1048576 bytes"}, out.rejects)

	// Gzip in gzip is held to the same limits at each layer.
	reader.Limits = trail.Limits{}
	out = try(t, &reader, logName, strings.NewReader(gz(bomb.String())))
	requireRejects(t, []string{"gzip bomb"}, out.rejects)
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var reader trail.Reader
	n := 0
	_, err := reader.Read(ctx, "x", &repeated{unit: rec("a") + "\n", total: 1 << 30}, trail.Handler{Record: func(*trail.Record) error {
		if n++; n == 1000 {
			cancel()
		}
		return nil
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, n, 5000)
}

func TestAnErrorOfTheHandlerEndsTheReading(t *testing.T) {
	failure := errors.New("lake is full")
	var reader trail.Reader
	_, err := reader.Read(t.Context(), "x", strings.NewReader(records(rec("a"), rec("b"))), trail.Handler{Record: func(*trail.Record) error { return failure }})
	require.ErrorIs(t, err, failure)
	_, err = reader.Read(t.Context(), "x", strings.NewReader(records("1", rec("b"))), trail.Handler{Reject: func(analyzer.Reject) error { return failure }})
	require.ErrorIs(t, err, failure)
	_, err = reader.Read(t.Context(), "x", strings.NewReader(records(rec("b"))), trail.Handler{Done: func(string, trail.Counts) error { return failure }})
	require.ErrorIs(t, err, failure)
}

func TestRecordsCarryTheHintOfTheName(t *testing.T) {
	var reader trail.Reader
	_, err := reader.Read(t.Context(), "AWSLogs/"+logName, strings.NewReader(a1), trail.Handler{Record: func(r *trail.Record) error {
		require.Equal(t, trail.FileHint{Kind: trail.KindLog, Account: "111122223333", Region: "eu-west-1", Delivered: time.Date(2026, 3, 2, 9, 5, 0, 0, time.UTC)}, *r.Hint)
		return nil
	}})
	require.NoError(t, err)
}

var a1 = rec("a")

func TestFilterWantsWhatItWasMadeOf(t *testing.T) {
	f := trail.NewFilter([]analyzer.EventName{
		{Source: "kms.amazonaws.com", Name: "*"},
		{Source: "sts.amazonaws.com", Name: "AssumeRole"},
		{Source: "sts.amazonaws.com", Name: "GetCallerIdentity"},
	})
	for event, want := range map[string]bool{
		"kms.amazonaws.com:Decrypt": true, "kms.amazonaws.com:Anything": true, "sts.amazonaws.com:AssumeRole": true,
		"sts.amazonaws.com:GetCallerIdentity": true, "sts.amazonaws.com:GetSessionToken": false, "s3.amazonaws.com:AssumeRole": false,
		"KMS.amazonaws.com:Decrypt": false,
	} {
		source, name, _ := strings.Cut(event, ":")
		require.Equal(t, want, f.Wants([]byte(source), []byte(name)), event)
		require.True(t, (*trail.Filter)(nil).Wants([]byte(source), []byte(name)))
	}
	require.False(t, trail.NewFilter(nil).Wants([]byte("kms.amazonaws.com"), []byte("Decrypt")))
}
