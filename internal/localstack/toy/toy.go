// Package toy builds the bootstrap of a function for tests, which does as its
// input says: see testdata/echo.
package toy

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build builds the function into a folder and returns the path of its bootstrap.
func Build(ctx context.Context, dir string) (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("build the toy function: its source is not known")
	}
	path := filepath.Join(dir, "bootstrap")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-o", path, ".") //nolint:gosec // constants, and a folder of the test's
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "testdata", "echo")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the toy function: %w\n%s", err, out)
	}
	return path, nil
}
