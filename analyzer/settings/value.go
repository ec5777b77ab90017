package settings

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	durationShape = regexp.MustCompile(`^([0-9]{1,6}[smhdw])+$`)
	durationPart  = regexp.MustCompile(`([0-9]+)([smhdw])`)
	units         = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
)

// maxDuration is ten years, far above what any setting takes.
const maxDuration = 3660 * 24 * time.Hour

// ParseDuration reads a length of time with units: 90s, 30m, 2h, 7d, 2w, or
// several of them as in 1d12h. A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	if !durationShape.MatchString(s) {
		return 0, fmt.Errorf("%q is not a duration; they look like 30m, 2h, 7d or 2w", shorten(s))
	}
	var d time.Duration
	for _, part := range durationPart.FindAllStringSubmatch(s, -1) {
		n, err := strconv.Atoi(part[1])
		if err != nil || time.Duration(n) > maxDuration/units[part[2]] {
			return 0, fmt.Errorf("the duration %q is too long", shorten(s))
		}
		if d += time.Duration(n) * units[part[2]]; d > maxDuration {
			return 0, fmt.Errorf("the duration %q is too long", shorten(s))
		}
	}
	return d, nil
}

// FormatDuration writes a duration of whole seconds as ParseDuration reads it.
func FormatDuration(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []string{"w", "d", "h", "m", "s"} {
		if n := d / units[u]; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u)
			d -= n * units[u]
		}
	}
	return b.String()
}

// parseTime reads a time with its zone, or a date, which means its start in UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; they look like 2026-03-02T09:00:00Z, with the zone, or 2026-03-02", shorten(s))
}

// isAccount tells whether s is an account id: 12 digits.
func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
