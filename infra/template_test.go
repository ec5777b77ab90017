// Package infra_test holds what is in infra/ and template.yaml against the code
// that it is for, as far as that needs no tools of AWS. `make template` does the
// rest.
package infra_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// resource is a resource of template.yaml. Its properties are those that tests
// here look at; CloudFormation's tags (!Sub, !Ref) are dropped from them.
type resource struct {
	Properties struct {
		TableInput struct {
			Name              string   `yaml:"Name"`
			PartitionKeys     []column `yaml:"PartitionKeys"`
			StorageDescriptor struct {
				Columns []column `yaml:"Columns"`
			} `yaml:"StorageDescriptor"`
		} `yaml:"TableInput"`
		QueryString string `yaml:"QueryString"`
	} `yaml:"Properties"`
}

// column is a column of a Glue table.
type column struct {
	Name string `yaml:"Name"`
	Type string `yaml:"Type"`
}

// logicalID is the first line of a resource.
var logicalID = regexp.MustCompile(`(?m)^  (\w+):$`)

// resources returns the resources of a type, by logical id. Only they are read as
// YAML: the parser does not take all of CloudFormation's tags.
func resources(t *testing.T, kind string) map[string]resource {
	t.Helper()
	text, err := os.ReadFile("../template.yaml")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "\nResources:\n")
	require.True(t, ok, "template.yaml has no resources")
	rest, _, _ = strings.Cut(rest, "\nOutputs:\n")
	found := map[string]resource{}
	starts := append(logicalID.FindAllStringSubmatchIndex(rest, -1), []int{len(rest), 0, 0, 0})
	for i, at := range starts[:len(starts)-1] {
		block := rest[at[0]:starts[i+1][0]]
		if !strings.Contains(block, "\n    Type: "+kind+"\n") {
			continue
		}
		var one map[string]resource
		require.NoError(t, yaml.Unmarshal([]byte(block), &one))
		id := rest[at[2]:at[3]]
		found[id] = one[id]
	}
	require.NotEmpty(t, found, "template.yaml has no %s", kind)
	return found
}
