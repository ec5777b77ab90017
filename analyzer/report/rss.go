package report

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
)

// MaxRSS returns the most memory that this process held at any time, in bytes,
// or 0 where the system does not say.
//
// Linux is asked through /proc: its getrusage also counts what the parent held
// when it started us, because ru_maxrss survives exec (getrusage(2)).
func MaxRSS() int64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		if n := highWater(status); n > 0 {
			return n
		}
	}
	return rusageMaxRSS()
}

// highWater reads the line "VmHWM:   12345 kB" of proc_pid_status(5).
func highWater(status []byte) int64 {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) == 3 && string(fields[0]) == "VmHWM:" && string(fields[2]) == "kB" {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
