package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// findRoot looks for the clone that the working folder is in.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the clone: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the clone: no folder above the working folder has a go.mod")
		}
		dir = parent
	}
}

// buildFunction builds the bootstrap of a function from its source and returns
// its path. When nothing changed this takes a second.
func buildFunction(ctx context.Context, root, name string) (string, error) {
	unlock, err := lock(ctx, filepath.Join(root, ".cache", "functions.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(".cache", "functions", name)
	command := []string{"make", "--no-print-directory", "build-" + strings.ToUpper(name[:1]) + name[1:] + "Function", "ARTIFACTS_DIR=" + dir}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		// What is deployed does not run here: the same source does.
		dir = filepath.Join(".cache", "functions-"+runtime.GOOS+"-"+runtime.GOARCH, name)
		command = []string{"go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "bootstrap"), "./functions/" + name}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // constants
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return filepath.Join(root, dir, "bootstrap"), nil
}
