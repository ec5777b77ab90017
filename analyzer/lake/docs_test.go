package lake

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

// documented reads the table of columns in docs/events.md: the cells of each
// row.
func documented(t *testing.T) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "## Columns\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		require.Len(t, cells, 5, line)
		rows = append(rows, cells)
	}
	return rows
}

func TestTheDocumentTheTagsAndTheSchemaAgree(t *testing.T) {
	fields := reflect.TypeFor[analyzer.Event]()
	uses, control := Columns(analyzer.TableUses), Columns(analyzer.TableControl)
	rows := documented(t)
	require.Len(t, rows, fields.NumField())
	require.Len(t, control, fields.NumField(), "control has every column")

	inUses := 0
	for i, row := range rows {
		f := fields.Field(i)
		name := strings.Trim(row[0], "`")
		require.Equal(t, f.Tag.Get("col"), name, "in the order of analyzer.Event")
		require.Equal(t, name, control[i].Name)
		require.Equal(t, control[i].SQL, row[1], name)
		switch f.Tag.Get("table") {
		case "":
			require.Equal(t, "both", row[2], name)
			require.Equal(t, name, uses[inUses].Name)
			inUses++
		case string(analyzer.TableControl):
			require.Equal(t, "control", row[2], name)
		default:
			t.Fatalf("%s is tagged for an unknown table", name)
		}
		require.NotEmpty(t, row[3], name)
		require.NotEmpty(t, row[4], name)
	}
	require.Len(t, uses, inUses)
}
