package hunt_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/report"
)

func written(t *testing.T, l report.Layout, columns []string, rows ...[]any) string {
	t.Helper()
	var b bytes.Buffer
	text := hunt.NewText(&b, l)
	for _, r := range rows {
		require.NoError(t, text.Row(columns, r))
	}
	require.NoError(t, text.Flush())
	require.NoError(t, text.Flush())
	require.Equal(t, int64(len(rows)), text.Rows())
	return b.String()
}

func TestRowsThatFitAreATable(t *testing.T) {
	nine := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	require.Equal(t, `KEY   AT                          N
日本  2026-03-02 09:00:00 UTC     1
      2026-03-02 09:00:00.25 UTC
k     2026-03-02 09:00:00 UTC     true
`, written(t, report.Layout{Width: 80}, []string{"key", "at", "n"},
		[]any{"日本", nine, int64(1)}, []any{nil, nine.Add(250 * time.Millisecond), nil}, []any{"k", nine, true}))
}

func TestWideRowsStandBelowOneAnother(t *testing.T) {
	require.Equal(t, `Row 1
  principal  arn:aws:iam::111122223333:role/a
  ids        e-1, e-2

Row 2
  n  7
`, written(t, report.Layout{Width: 40}, []string{"principal", "ids", "n"},
		[]any{"arn:aws:iam::111122223333:role/a", []any{"e-1", "e-2"}, nil}, []any{"", nil, int64(7)}))
}

func TestLongValuesAreFoldedAtBlanks(t *testing.T) {
	require.Equal(t, `Row 1
  principal  arn:aws:iam::111122223333:role/a-name-that-is-longer-than-the-line
  ids        e-1, e-2, e-3, e-4,
             e-5, e-6
`, written(t, report.Layout{Width: 33}, []string{"principal", "ids"},
		[]any{"arn:aws:iam::111122223333:role/a-name-that-is-longer-than-the-line", []any{"e-1", "e-2", "e-3", "e-4", "e-5", "e-6"}}))
}

// Names of columns come from whoever wrote the SQL, values from whoever called.
func TestWhatLogsSayIsCleaned(t *testing.T) {
	out := written(t, report.Layout{Width: 80}, []string{"a\x1b[2Jb"}, []any{"x\x1b]0;title\x07\n\u202ey"}, []any{[]any{"\x1b[31m"}})
	require.NotContains(t, out, "\x1b")
	require.NotContains(t, out, "\u202e")
	require.Contains(t, out, `x\x1b]0;title\x07\n\u202ey`)
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), 3)
}

func TestOnlyAPersonIsSparedALongValue(t *testing.T) {
	long := strings.Repeat("policy/", 200)
	require.Contains(t, written(t, report.Layout{}, []string{"policy"}, []any{long}), long)
	require.Contains(t, written(t, report.Layout{Terminal: true}, []string{"policy"}, []any{long}), "…\n")
}

func TestManyRowsAreWrittenAsTheyCome(t *testing.T) {
	var b bytes.Buffer
	text := hunt.NewText(&b, report.Layout{Width: 80})
	for n := range 500 {
		require.NoError(t, text.Row([]string{"n"}, []any{int64(n)}))
		require.Equal(t, n >= 199, b.Len() > 0)
	}
	require.NoError(t, text.Flush())
	require.Equal(t, 501, strings.Count(b.String(), "\n"))
	require.Equal(t, 1, strings.Count(b.String(), "N\n"))
}

func TestAWriterThatFailsEndsIt(t *testing.T) {
	text := hunt.NewText(failing{}, report.Layout{})
	require.NoError(t, text.Row([]string{"n"}, []any{int64(1)}))
	require.ErrorIs(t, text.Flush(), errGone)
}

var errGone = errors.New("gone")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errGone }
