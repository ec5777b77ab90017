//go:build unix

package report

import (
	"runtime"

	"golang.org/x/sys/unix"
)

func rusageMaxRSS() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(u.Maxrss) //nolint:unconvert // int32 on some systems; bytes on Darwin, KiB elsewhere
	}
	return int64(u.Maxrss) << 10 //nolint:unconvert // int32 on some systems
}
