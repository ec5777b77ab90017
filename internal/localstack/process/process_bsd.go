//go:build unix && !linux

package process

import (
	"bytes"
	"os/exec"
	"strconv"
	"syscall"
)

// Attributes make a process the leader of a group.
func Attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// ResidentPeak is the resident size that a process has now, in bytes: these
// systems tell the highest only when it has ended. 0 when it is gone.
func ResidentPeak(pid int) int64 {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec,noctx // a number of our own
	if err != nil {
		return 0
	}
	kb, err := strconv.ParseInt(string(bytes.TrimSpace(out)), 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}
