package localstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/keytrail/keytrail/internal/localstack/process"
)

// motoVersion is the emulator's: what package front mends is this one's.
const motoVersion = "5.2.5"

// motoStart is how long it may take to start: it loads much Python.
const motoStart = 60 * time.Second

// installMoto makes the virtual environment .cache/venv-moto unless it is there,
// and returns its Python. Two that do it at once wait for one another.
func installMoto(ctx context.Context, root string, log io.Writer) (python string, err error) {
	dir := filepath.Join(root, ".cache", "venv-moto")
	python, mark := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "moto-"+motoVersion)
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(mark); err == nil {
		return python, nil
	}
	_, _ = fmt.Fprintf(log, "installing moto %s into %s; this takes a minute, once\n", motoVersion, dir)
	for _, command := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "moto[server]==" + motoVersion},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // constants, and a folder of the clone
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("install moto, which needs python3 with venv and PyPI: %s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return "", fmt.Errorf("install moto: %w", err)
	}
	return python, nil
}

// lock waits for a lock file.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make %s: %w", filepath.Dir(path), err)
	}
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	return func() { _ = l.Unlock() }, nil // the end of the process does it, too
}

// moto is a running emulator.
type moto struct {
	url string
	cmd *exec.Cmd
	err chan error // of the process's end
}

// startMoto starts the emulator on a free port of the loopback interface.
func startMoto(ctx context.Context, python string) (m *moto, err error) {
	cmd := exec.Command(python, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0") //nolint:noctx // the Python of our own environment, which ends with the stack
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "MOTO_ACCOUNT_ID=" + Account, "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1",
		"AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=testing", "AWS_DEFAULT_REGION=" + Region, "AWS_EC2_METADATA_DISABLED=true",
	}
	cmd.SysProcAttr = process.Attributes()
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start moto: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start moto: %w", err)
	}
	m = &moto{cmd: cmd, err: make(chan error, 1)}
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(said)
		for {
			line, err := lines.ReadString('\n')
			if _, url, ok := strings.Cut(line, "Running on "); ok {
				address <- strings.TrimSpace(url)
			}
			if err != nil {
				break
			}
		}
		m.err <- cmd.Wait()
	}()
	select {
	case m.url = <-address:
		return m, nil
	case err := <-m.err:
		m.err <- err
		return nil, errors.Join(fmt.Errorf("moto ended when it started: %w", err))
	case <-time.After(motoStart):
		err = fmt.Errorf("moto did not start within %s", motoStart)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, m.stop())
}

// stop ends the emulator and all that it holds.
func (m *moto) stop() error {
	process.KillGroup(m.cmd.Process.Pid)
	<-m.err //nolint:errcheck // it was killed; that is no news
	return nil
}
