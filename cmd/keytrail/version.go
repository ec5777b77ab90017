package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/report"
)

// version and commit are set by the Makefile. A binary built by `go install`
// knows its version from the module instead.
var (
	version string
	commit  string
)

// versionLine is what `keytrail version --format json` prints.
type versionLine struct {
	Type    string `json:"type"` // "version"
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// buildVersion tells what this binary was built from.
func buildVersion() versionLine {
	v := versionLine{Type: "version", Version: version, Commit: commit, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v.Commit == "" {
			v.Commit = s.Value
		}
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: a.does(func(*cobra.Command, []string) error {
			v := buildVersion()
			if a.format == formatJSON {
				lines := report.NewLines(a.stdout)
				if err := lines.Write(v); err != nil {
					return err
				}
				return lines.Flush()
			}
			_, err := fmt.Fprintf(a.stdout, "keytrail %s (commit %s, %s, %s/%s)\n", v.Version, v.Commit, v.Go, v.OS, v.Arch)
			return err
		}),
	}
}
