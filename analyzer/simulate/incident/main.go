// Command incident writes fixtures/incident again.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keytrail/keytrail/analyzer/simulate"
)

func main() {
	out := flag.String("out", "", "folder to write into; its AWSLogs are replaced")
	seed := flag.Uint64("seed", simulate.IncidentSeed, "another number gives another incident of the same story")
	flag.Parse()
	if err := run(*out, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "incident:", err)
		os.Exit(1)
	}
}

func run(out string, seed uint64) error {
	if out == "" {
		return fmt.Errorf("-out DIR says where to write")
	}
	// Files of another seed have other names and would stay beside the new ones.
	if err := os.RemoveAll(filepath.Join(out, "AWSLogs")); err != nil {
		return fmt.Errorf("remove the logs that are there: %w", err)
	}
	totals, err := simulate.Incident(simulate.IncidentOptions{Seed: seed}, simulate.Dir(out))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "%s: %d records (%d of KMS) in %d files, %d bytes inflated, %d compressed\n",
		out, totals.Records, totals.KMS, totals.Files, totals.RawBytes, totals.GzBytes)
	return err
}
