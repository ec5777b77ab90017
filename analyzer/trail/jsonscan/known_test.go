package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// compact writes an object with a member of a text that is long enough to be
// remembered, when that is JSON, and else what is nearly so.
func compact(text []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		b.Reset()
		b.Write(text)
	}
	pad := strings.Repeat("x", 64)
	return fmt.Appendf(nil, `{"eventName":"Decrypt","a":{"pad":"%s","v":%s},"b":[%s,"%s"],"c":true}`, pad, b.Bytes(), b.Bytes(), pad)
}

// requireKnownChangesNothing reads a text as often as it takes for its pieces to
// be remembered, and once more, and compares with a Doc that remembers nothing.
func requireKnownChangesNothing(t require.TestingT, doc *jsonscan.Doc, text []byte) {
	plain := jsonscan.Doc{MaxDepth: doc.MaxDepth, MaxValues: doc.MaxValues}
	wantErr := plain.Parse(text)
	for range 4 {
		err := doc.Parse(text)
		require.Equal(t, wantErr, err, "%q", text)
		if err != nil {
			require.Equal(t, jsonscan.Missing, doc.Root().Kind())
			continue
		}
		want, got := plain.Root(), doc.Root()
		require.Equal(t, want.Get("b").Kind(), got.Get("b").Kind(), "%q", text)
		require.Equal(t, rebuild(want.Get("a").Get("v")), rebuild(got.Get("a").Get("v")), "%q", text)
		require.Equal(t, rebuild(want), rebuild(got), "%q", text)
	}
}

func TestKnownChangesNothing(t *testing.T) {
	doc := &jsonscan.Doc{MaxDepth: 50, Known: jsonscan.NewKnown()}
	for _, text := range texts {
		requireKnownChangesNothing(t, doc, []byte(text))
		whole := compact([]byte(text))
		for n := range len(whole) + 1 {
			requireKnownChangesNothing(t, doc, whole[:n:n])
		}
	}
	rapid.Check(t, func(t *rapid.T) { requireKnownChangesNothing(t, doc, compact(genJSON(t))) })
}

func FuzzKnownChangesNothing(f *testing.F) {
	for _, text := range texts {
		f.Add(compact([]byte(text)))
	}
	doc := &jsonscan.Doc{MaxDepth: 50, Known: jsonscan.NewKnown()}
	f.Fuzz(func(t *testing.T, text []byte) { requireKnownChangesNothing(t, doc, text) })
}

// However many values a text has and wherever the limit is, looking into what is
// known stays within it.
func TestKnownHeedsTheLimitOfValues(t *testing.T) {
	list := "[" + strings.Repeat("1,", 40) + "1]"
	text := []byte(`{"a":` + list + `,"b":` + list + `,"c":` + list + `}`)
	known := jsonscan.NewKnown()
	for limit := 1; limit < 300; limit++ {
		requireKnownChangesNothing(t, &jsonscan.Doc{MaxValues: limit, Known: known}, text)
	}
}

func TestMemosStayWithTheirText(t *testing.T) {
	doc := &jsonscan.Doc{Known: jsonscan.NewKnown()}
	const texts = 200_000 // more than are remembered
	made, found := 0, 0
	for round := range 3 * texts {
		i := round / 3
		text := fmt.Sprintf(`{"a":{"number":%d,"pad":"%s"},"short":{"a":1}}`, i, strings.Repeat("x", 64))
		require.NoError(t, doc.Parse([]byte(text)))
		require.Nil(t, doc.Root().Get("short").Memo())
		memo := doc.Root().Get("a").Memo()
		switch {
		case memo == nil:
		case *memo == nil:
			made++
			*memo = i
		default:
			found++
			require.Equal(t, i, *memo)
		}
	}
	require.Equal(t, texts, made, "from the second time on")
	require.Equal(t, texts, found)
}
