package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// rebuild decodes through a Doc into what encoding/json would make.
func rebuild(v jsonscan.Value) any {
	switch v.Kind() {
	case jsonscan.Null, jsonscan.Missing:
		return nil
	case jsonscan.Bool:
		b, _ := v.Bool()
		return b
	case jsonscan.Number:
		return json.Number(v.Raw())
	case jsonscan.String:
		return v.String()
	case jsonscan.Array:
		list := []any{}
		for e := v.Elements(); e.Next(); {
			list = append(list, rebuild(e.Value()))
		}
		return list
	case jsonscan.Object:
		object := map[string]any{}
		for m := v.Members(); m.Next(); {
			object[string(m.Key())] = rebuild(m.Value())
		}
		return object
	}
	panic("no such kind")
}

// requireAsEncodingJSON demands the same verdict and the same values as
// encoding/json. They part in two things: a Doc does not take invalid UTF-8,
// and it takes less depth.
func requireAsEncodingJSON(t require.TestingT, text []byte) {
	doc := jsonscan.Doc{MaxDepth: 10_000}
	err := doc.Parse(text)
	valid := json.Valid(text) && strings.ToValidUTF8(string(text), "") == string(text)
	if !valid {
		require.Error(t, err, "%q", text)
		require.Equal(t, jsonscan.Missing, doc.Root().Kind())
		return
	}
	require.NoError(t, err, "%q", text)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var want any
	require.NoError(t, decoder.Decode(&want))
	require.Equal(t, want, rebuild(doc.Root()), "%q", text)
}

var texts = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `-`, `01`, `1.`, `1.5e+10`, `1e`, `.5`, `true`, `tru`, `nul`, `null`, `falsey`, ``, ` `, "\t\n\r 1 \n",
	`{"a":1}`, `{"a":1,}`, `{"a" : [ 1 , 2 , {"b":null} ] }`, `{"a":1 "b":2}`, `{a:1}`, `{"a"}`, `{"a":}`, `[1,]`, `[,1]`, `[1 2]`, `[}`, `{]`, `{"a":[}`, `[[[]]]`, `[[[]]`,
	`"\""`, `"\\"`, `"\\\""`, `"\\\\"`, `"\u0041\ud83d\ude00\ud800x"`, `"\x"`, `"\u12g4"`, `"\u12"`, `"\`, `"abc`, "\"a\nb\"", "\"\x00\"", "\"\xff\"", "\"\xc3\xa9é\"", `\"`, `{\"a":1}`,
	`{"a":1,"a":2}`, `{"\u0061":1}`, `1 2`, `{} {}`, `"a""b"`, "\xef\xbb\xbf{}", `{"a":"` + strings.Repeat("x", 200) + `","b":[` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `]}`,
	`{"eventVersion":"1.08","userIdentity":{"type":"IAMUser"},"eventTime":"2023-07-10T11:42:36Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":{"policy":"{\"Version\":\"2012-10-17\",\"Statement\":[]}"},"readOnly":true}`,
}

func TestDocJudgesAndReadsAsEncodingJSON(t *testing.T) {
	for _, text := range texts {
		for pad := range 3 {
			requireAsEncodingJSON(t, []byte(strings.Repeat(" ", 31*pad)+text))
		}
	}
}

func FuzzDocJudgesAndReadsAsEncodingJSON(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { requireAsEncodingJSON(t, text) })
}

// genJSON draws texts that are JSON or nearly so.
func genJSON(t *rapid.T) []byte {
	var b strings.Builder
	space := func() { b.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n  "}).Draw(t, "space")) }
	text := rapid.Custom(func(t *rapid.T) string {
		quoted, err := json.Marshal(rapid.OneOf(rapid.String(), rapid.StringMatching(`[\\"{}\[\],:a-e]{0,80}`),
			rapid.SampledFrom([]string{"eventSource", "eventName", "Records"})).Draw(t, "text"))
		require.NoError(t, err)
		return string(quoted)
	})
	var value func(depth int)
	value = func(depth int) {
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		if depth > 5 {
			kind = min(kind, 4)
		}
		space()
		switch kind {
		case 0:
			b.WriteString(rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "literal"))
		case 1:
			b.WriteString(rapid.StringMatching(`-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number"))
		case 2, 3, 4:
			b.WriteString(text.Draw(t, "string"))
		case 5:
			b.WriteString("[")
			for i := range rapid.IntRange(0, 4).Draw(t, "elements") {
				if i > 0 {
					b.WriteString(",")
				}
				value(depth + 1)
			}
			space()
			b.WriteString("]")
		case 6:
			b.WriteString("{")
			for i := range rapid.IntRange(0, 5).Draw(t, "members") {
				if i > 0 {
					b.WriteString(",")
				}
				space()
				b.WriteString(text.Draw(t, "key"))
				space()
				b.WriteString(":")
				value(depth + 1)
			}
			space()
			b.WriteString("}")
		}
		space()
	}
	value(0)
	out := []byte(b.String())
	for range rapid.IntRange(0, 3).Draw(t, "mutations") - 1 {
		if len(out) == 0 {
			break
		}
		at := rapid.IntRange(0, len(out)-1).Draw(t, "at")
		switch rapid.IntRange(0, 2).Draw(t, "mutation") {
		case 0:
			out = append(out[:at:at], out[at+1:]...)
		case 1:
			out[at] = rapid.SampledFrom([]byte("{}[]\",:\\ 0e\x01\xff")).Draw(t, "byte")
		case 2:
			out = out[:at]
		}
	}
	return out
}

func TestDocJudgesAndReadsGeneratedTextAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { requireAsEncodingJSON(t, genJSON(t)) })
}

func TestDocLimitsDepthAndValues(t *testing.T) {
	deep := []byte(strings.Repeat("[", 201) + strings.Repeat("]", 201))
	var doc jsonscan.Doc
	err := doc.Parse(deep)
	var syntax *jsonscan.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Equal(t, "nested too deep", syntax.Reason)
	require.Equal(t, 200, syntax.Offset)
	require.NoError(t, doc.Parse(deep[1:len(deep)-1]))

	doc.MaxValues = 4
	require.NoError(t, doc.Parse([]byte(`[1,2,3]`)))
	require.EqualError(t, doc.Parse([]byte(`[1,2,3,4]`)), "too many values at byte 7")
}

func TestDocTellsCutTextFromBrokenText(t *testing.T) {
	whole := `{"a":[1,true,"x\n"],"b":{"c":null}}`
	for i := range len(whole) {
		var doc jsonscan.Doc
		var syntax *jsonscan.SyntaxError
		require.ErrorAs(t, doc.Parse([]byte(whole[:i])), &syntax)
		require.True(t, syntax.Cut, "%q: %v", whole[:i], syntax)
	}
	var doc jsonscan.Doc
	var syntax *jsonscan.SyntaxError
	require.ErrorAs(t, doc.Parse([]byte(`{"a":1,{`)), &syntax)
	require.False(t, syntax.Cut)
}

func TestValueGivesWhatTheTextSays(t *testing.T) {
	var doc jsonscan.Doc
	require.NoError(t, doc.Parse([]byte(`{"s":"a\tb","n":-12,"f":1.5,"b":true,"z":null,"o":{"k":[1,"two"]},"s":"last"}`)))
	root := doc.Root()
	require.Equal(t, "last", root.Get("s").String())
	n, ok := root.Get("n").Int()
	require.True(t, ok)
	require.EqualValues(t, -12, n)
	_, ok = root.Get("f").Int()
	require.False(t, ok)
	b, ok := root.Get("b").Bool()
	require.True(t, ok && b)
	require.Equal(t, jsonscan.Null, root.Get("z").Kind())
	require.Equal(t, `[1,"two"]`, string(root.Get("o").Get("k").Raw()))
	require.Equal(t, jsonscan.Missing, root.Get("none").Get("deeper").Kind())
	require.Empty(t, root.Get("none").Raw())
	require.Equal(t, "a\tb\"/\u00e9\U0001F600\uFFFD", string(jsonscan.AppendUnescaped(nil, []byte(`a\tb\"\/\u00e9\uD83D\uDE00\ud800`))))
}
