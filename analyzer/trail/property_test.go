package trail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer/trail"
)

// genRecord draws a record: wanted or not, with odd members and odd spelling.
func genRecord(id string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		members := []string{
			`"eventSource":` + rapid.SampledFrom([]string{`"kms.amazonaws.com"`, `"s3.amazonaws.com"`, `"sts.amazonaws.com"`, `"kms\u002eamazonaws.com"`, `"éà"`}).Draw(t, "source"),
			`"eventName":` + rapid.SampledFrom([]string{`"Decrypt"`, `"GetObject"`, `"x\"y"`, ` "Encrypt" `}).Draw(t, "name"),
			`"eventTime":"2026-03-02T09:00:00Z"`,
			`"eventID":"` + id + `"`,
		}
		for range rapid.IntRange(0, 6).Draw(t, "extra") {
			members = append(members, rapid.SampledFrom([]string{
				`"userIdentity":{"type":"IAMUser","sessionContext":{"attributes":{}}}`,
				`"requestParameters":{"eventSource":"s3.amazonaws.com","eventName":"x"}`,
				`"requestParameters":{"eventSource":"kms.amazonaws.com","eventName":"x","deep":[[[{"eventSource":"a"}]]]}`,
				`"requestParameters":{"policy":"{\"Statement\":[{\"Effect\":\"Allow\"}]}"}`,
				`"userAgent":"\"eventSource\":\"s3.amazonaws.com\""`,
				`"errorMessage":"},{\"eventVersion\":\"1.08\",\"eventSource\":\"s3.amazonaws.com\""`,
				`"errorMessage":"ends in a backslash\\"`,
				`"x":"eventSource"`, `"eventSource2":1`, `"eventSource":"s3.amazonaws.com"`, `"eventName":"Sign"`, `"\u0065ventSource":"ec2.amazonaws.com"`,
				`"n":-1.5e3`, `"b":[true,false,null,{}]`, `"long":"` + strings.Repeat("x", 90) + `"`, `"é":"ü"`, `"eventSource" : "kms.amazonaws.com"`,
			}).Draw(t, "member"))
		}
		if rapid.IntRange(0, 2).Draw(t, "order") == 0 {
			members = rapid.Permutation(members).Draw(t, "members")
		}
		head := `{"eventVersion":"1.11",`
		if rapid.IntRange(0, 4).Draw(t, "no version") == 0 {
			head = "{"
		}
		sep := rapid.SampledFrom([]string{",", ",", ", ", ",\n   "}).Draw(t, "separator")
		return head + strings.Join(members, sep) + "}"
	})
}

// genLog draws a log of such records in some shape, and their texts.
func genLog(t *rapid.T) (log string, list []string) {
	for i := range rapid.IntRange(0, 12).Draw(t, "records") {
		list = append(list, genRecord(fmt.Sprintf("id-%d", i)).Draw(t, "record"))
	}
	switch rapid.IntRange(0, 5).Draw(t, "shape") {
	case 0, 1:
		log = records(list...)
	case 2:
		log = "[" + strings.Join(list, " ,\n") + "]"
	case 3:
		log = strings.Join(list, "\n")
	case 4:
		log = `{"a":[{"b":1}],"Records":[` + strings.Join(list, ",") + `],"z":{}}`
	case 5:
		half := len(list) / 2
		log = records(list[:half]...) + "\n" + strings.Join(list[half:], "\n")
	}
	return log, list
}

// expected says by encoding/json which of the records are wanted.
func expected(t require.TestingT, list []string, filter *trail.Filter) (ids []string, dropped int64) {
	for _, text := range list {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &r), text)
		source, _ := r["eventSource"].(string)
		name, _ := r["eventName"].(string)
		if filter.Wants([]byte(source), []byte(name)) {
			ids = append(ids, r["eventID"].(string))
		} else {
			dropped++
		}
	}
	return ids, dropped
}

// dribble gives its data in pieces of the lengths drawn.
type dribble struct {
	data  []byte
	sizes []int
	i     int
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.data) == 0 {
		return 0, io.EOF
	}
	d.i++
	n := copy(p[:min(len(p), d.sizes[d.i%len(d.sizes)])], d.data)
	d.data = d.data[n:]
	return n, nil
}

func TestValidLogsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log, list := genLog(t)
		for _, filter := range []*trail.Filter{nil, onlyKMS} {
			want, dropped := expected(t, list, filter)
			reader := trail.Reader{Filter: filter}
			reader.SetWindow(rapid.IntRange(256, 5000).Draw(t, "window"))
			sizes := rapid.SliceOfN(rapid.IntRange(1, 700), 1, 9).Draw(t, "reads")
			out := try(t, &reader, "x", &dribble{data: []byte(log), sizes: sizes})
			require.Empty(t, out.rejects, log)
			require.Equal(t, want, out.kept, log)
			require.Equal(t, dropped, out.counts.Records.NotOfInterest)
			for i, at := range out.offsets {
				require.True(t, strings.HasPrefix(log[at:], out.data[i]))
			}
		}
	})
}

// TestDamageStaysWhereItIs changes bytes in one or two records of a log of
// CloudTrail's own shape: all records but those that it hit, and at worst the
// ones behind them, are read.
func TestDamageStaysWhereItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []string
		for i := range rapid.IntRange(1, 12).Draw(t, "records") {
			list = append(list, recOf(rapid.SampledFrom([]string{"kms.amazonaws.com", "s3.amazonaws.com"}).Draw(t, "source"), "Decrypt", fmt.Sprintf("id-%d", i)))
		}
		want, _ := expected(t, list, onlyKMS)
		all, _ := expected(t, list, nil)
		spoilt := map[string]bool{}
		for range rapid.IntRange(1, 2).Draw(t, "hits") {
			hit := rapid.IntRange(0, len(list)-1).Draw(t, "hit")
			list[hit] = damage(t, list[hit])
			spoilt[fmt.Sprintf("id-%d", hit)], spoilt[fmt.Sprintf("id-%d", hit+1)] = true, true
		}
		log := rapid.SampledFrom([]string{records(list...), strings.Join(list, "\n") + "\n"}).Draw(t, "log")
		broken := !utf8.ValidString(log) // as a whole: two faults may mend each other
		for d := json.NewDecoder(strings.NewReader(log)); !broken; {
			if err := d.Decode(new(json.RawMessage)); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				broken = true
			}
		}

		for _, filter := range []*trail.Filter{nil, onlyKMS} {
			reader := trail.Reader{Filter: filter}
			reader.SetWindow(rapid.IntRange(256, 5000).Draw(t, "window"))
			out := try(t, &reader, "x.json", strings.NewReader(log))
			ids := want
			if filter == nil {
				ids = all
			}
			for _, id := range ids {
				if !spoilt[id] {
					require.Contains(t, out.kept, id, "lost of %q", log)
				}
			}
			// Nothing is invented, and what is wrong is not passed over.
			for _, text := range out.data {
				require.True(t, json.Valid([]byte(text)) && utf8.ValidString(text))
			}
			if filter == nil && broken {
				require.NotEmpty(t, out.rejects, "%q", log)
			}
		}
	})
}

// damage changes, adds or takes away one byte.
func damage(t *rapid.T, record string) string {
	text := []byte(record)
	at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
	if rapid.Bool().Draw(t, "at a mark") { // where it hurts
		for at < len(text)-1 && !strings.ContainsRune(`{}[]",:`, rune(text[at])) {
			at++
		}
	}
	switch rapid.IntRange(0, 2).Draw(t, "damage") {
	case 0:
		return string(text[:at]) + string(text[at+1:])
	case 1:
		text[at] = rapid.SampledFrom([]byte("{}[]\",:\\ x0\x00\n\xff")).Draw(t, "byte")
		return string(text)
	}
	return string(text[:at]) + string(rapid.SampledFrom([]byte("{}[]\",:\\ x")).Draw(t, "inserted")) + string(text[at:])
}

// requireSane reads anything whatever in two ways that must agree.
func requireSane(t require.TestingT, data []byte) {
	var first outcome
	for i, window := range []int{0, 300} {
		reader := trail.Reader{Limits: trail.Limits{MaxRecord: 4000, MaxDepth: 20}}
		reader.SetWindow(window)
		out := try(t, &reader, "x", bytes.NewReader(data))
		for j, text := range out.data {
			require.True(t, json.Valid([]byte(text)))
			require.True(t, utf8.ValidString(text))
			var r struct{ EventSource, EventName, EventTime string }
			_ = json.Unmarshal([]byte(text), &r)
			_ = j
		}
		if i == 0 {
			first = out
			continue
		}
		// With a small window, what is broken is noticed earlier; what is whole
		// must be the same.
		if len(first.rejects) == 0 && len(out.rejects) == 0 {
			require.Equal(t, first.kept, out.kept)
			require.Equal(t, first.offsets, out.offsets)
		}
		require.Equal(t, len(first.rejects) == 0, len(out.rejects) == 0, "%q\n%v\n%v", data, first.rejects, out.rejects)
	}
	// A valid document of records loses none of them.
	var log struct{ Records []json.RawMessage }
	if utf8.Valid(data) && json.Unmarshal(data, &log) == nil && len(first.rejects) == 0 && first.counts.Files.Read == 1 && bytes.HasPrefix(data, []byte(`{"Records":[`)) &&
		bytes.Count(data, []byte("Records")) == 1 && !bytes.Contains(data, []byte(`\u`)) && !bytes.Contains(bytes.ToLower(data[2:]), []byte(`"records"`)) {
		require.EqualValues(t, len(log.Records), first.counts.Records.Read, "%q", data)
	}
}

// requireRecordAsEncodingJSON reads one record and compares with what
// encoding/json says about it.
func requireRecordAsEncodingJSON(t require.TestingT, text []byte) {
	var r map[string]json.RawMessage
	if len(text) == 0 || text[0] != '{' || !utf8.Valid(text) || json.Unmarshal(text, &r) != nil || bytes.Count(text, []byte("[")) > 100 || bytes.Count(text, []byte("{")) > 100 {
		return
	}
	word := func(key string) (s string) {
		_ = json.Unmarshal(r[key], &s)
		return s
	}
	source, name := word("eventSource"), word("eventName")
	if source == "" || name == "" {
		return
	}
	reader := trail.Reader{Filter: onlyKMS}
	out := try(t, &reader, "x", strings.NewReader(records(rec("before"), string(text), rec("after"))))
	c := out.counts.Records
	require.EqualValues(t, 3, c.Read, "%q", text)
	switch {
	case source != "kms.amazonaws.com":
		require.EqualValues(t, 1, c.NotOfInterest, "%q", text)
	case word("eventTime") == "":
		require.EqualValues(t, 1, c.Rejected, "%q", text)
	default:
		require.EqualValues(t, 3, c.Kept, "%q", text)
		require.Equal(t, string(text), out.data[1])
	}
}

func FuzzRecordIsTakenAsEncodingJSONTakesIt(f *testing.F) {
	f.Add([]byte(rec("a")))
	f.Add([]byte(recOf("s3.amazonaws.com", "GetObject", "a")))
	f.Add([]byte(`{"eventSource":"s3","eventName":"b","eventTime":"c","x":[{"eventSource":"kms.amazonaws.com"}],"\u0065ventSource":"kms.amazonaws.com"}`))
	f.Add([]byte(`{"x":"\\","eventSource" : "kms.amazonaws.com","y":"\"eventSource\":","eventName":"eventSource","eventName":"b","eventTime":"c"}`))
	f.Fuzz(func(t *testing.T, text []byte) { requireRecordAsEncodingJSON(t, text) })
}

func TestRecordsAreTakenAsEncodingJSONTakesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(genRecord("id").Draw(t, "record"))
		for range rapid.IntRange(0, 3).Draw(t, "mutations") {
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			text[at] = rapid.SampledFrom([]byte(`{}[]",:\ eSN`)).Draw(t, "byte")
		}
		requireRecordAsEncodingJSON(t, text)
	})
}

func FuzzReadAnything(f *testing.F) {
	for _, seed := range []string{
		records(rec("a"), rec("b")), rec("a") + "\n" + rec("b"), "[" + rec("a") + "]", envelope(rec("a")), lookup(rec("a"), rec("b")), gz(records(rec("a"))),
		`{"Records":[{"eventVersion":"1"},{"eventSource":"a","eventName":"b","eventTime":"c"}]}`, `{"Records":[`, `{"a":`, `[[[[`, "\xef\xbb\xbf{}", `{"eventVersion":"1","x":"`, "{\n{",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { requireSane(t, data) })
}
