//go:build !unix

package process

import (
	"os"
	"syscall"
)

// Where there are no process groups, a process ends alone and is not frozen, and
// its memory is not known.

// Attributes of a process that ends with us.
func Attributes() *syscall.SysProcAttr { return nil }

// KillGroup kills a process, which may be gone.
func KillGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// Freeze does nothing.
func Freeze(int) {}

// Thaw does nothing.
func Thaw(int) {}

// ResidentPeak is 0: it is not known.
func ResidentPeak(int) int64 { return 0 }
