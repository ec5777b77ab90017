package infra_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// glueTypes are Athena's names of the lake's types.
var glueTypes = map[string]string{
	"varchar": "string", "boolean": "boolean", "integer": "int", "timestamp": "timestamp", "varchar[]": "array<string>",
}

func TestTheGlueTablesHaveTheColumnsOfTheLake(t *testing.T) {
	tables := resources(t, "AWS::Glue::Table")
	for id, table := range map[string]analyzer.Table{"UsesTable": analyzer.TableUses, "ControlTable": analyzer.TableControl} {
		input := tables[id].Properties.TableInput
		require.Equal(t, string(table), input.Name)
		require.Equal(t, []column{{Name: "day", Type: "date"}}, input.PartitionKeys)
		var want []column
		for _, c := range lake.Columns(table) {
			require.Contains(t, glueTypes, c.SQL)
			want = append(want, column{c.Name, glueTypes[c.SQL]})
		}
		require.Equal(t, want, input.StorageDescriptor.Columns, "the columns of %s in template.yaml are not those of lake.Columns", id)
	}
	require.Len(t, tables, 2)
}
