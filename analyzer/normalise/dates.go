package normalise

import (
	"strconv"
	"strings"
	"time"
)

// parseTime reads an eventTime: RFC 3339, also with a blank for the T, a lower
// case z, no zone (UTC), or any number of decimals; or the seconds since 1970,
// as lookup-events prints them. ok is false when it is none of these.
func parseTime(s string) (t time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) == len("2026-03-02T09:00:00Z") && s[10] == 'T' && s[19] == 'Z' {
		if t, ok = parseSeconds(s); ok {
			return t, true
		}
	}
	for _, layout := range []string{
		time.RFC3339Nano,
		"2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02T15:04:05.999999999Z0700",
		"2006-01-02T15:04:05.999999999",
		"2006-01-02 15:04:05.999999999",
		"2006-01-02 15:04:05.999999999 -0700 MST",
		"2006-01-02T15:04Z07:00",
		"2006-01-02",
	} {
		if t, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return inRange(t.UTC().Truncate(time.Millisecond))
		}
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds > 1e8 && seconds < 1e11 {
		return inRange(time.UnixMilli(int64(seconds * 1000)).UTC())
	}
	return time.Time{}, false
}

// inRange refuses years that no log has and that a lake partition or a
// database may not hold.
func inRange(t time.Time) (time.Time, bool) {
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}

// parseSeconds reads 2026-03-02T09:00:00Z without the general parser, which
// takes ten times as long.
func parseSeconds[T string | []byte](s T) (time.Time, bool) {
	two := func(i int) int {
		hi, lo := s[i]-'0', s[i+1]-'0'
		if hi > 9 || lo > 9 {
			return -1 << 16
		}
		return int(hi)*10 + int(lo)
	}
	year := two(0)*100 + two(2)
	month, day := two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	if year < 1970 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 ||
		s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false
	}
	// Days since 1970-01-01 after Howard Hinnant's days_from_civil.
	y, m := year, month
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + day - 1
	days := era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
	return time.Unix(int64(days)*86400+int64(hour*3600+minute*60+second), 0).UTC(), true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// localeLayouts are the shapes in which the services print dates inside
// requestParameters and responseElements: the date format of the Java version
// that the service happened to run on.
var localeLayouts = []string{
	"Jan 2, 2006, 3:04:05 PM",
	"Jan 2, 2006 3:04:05 PM",
	"Jan 2, 2006, 15:04:05",
	"Jan 2, 2006 15:04:05",
	"January 2, 2006, 3:04:05 PM",
	"January 2, 2006 3:04:05 PM",
	"Jan 2, 2006, 3:04 PM",
	"Jan 2, 2006 3:04 PM",
	"Mon Jan 2 15:04:05 MST 2006",
	"Mon, 2 Jan 2006 15:04:05 MST",
	"Jan 2, 2006",
	"1/2/06 3:04 PM",
	"1/2/2006 3:04:05 PM",
}

// dateBlanks mends white space (newer Java puts a narrow no-break space before
// AM and PM) and drops the zone, which is always UTC.
var dateBlanks = strings.NewReplacer("\u202f", " ", "\u00a0", " ", " UTC", "", " GMT", "", "  ", " ")

// parseDate reads the dates of key deletion and of expiring key material. What
// it cannot read is the zero time.
func parseDate(s string) time.Time {
	s = dateBlanks.Replace(strings.TrimSpace(s))
	if s == "" {
		return time.Time{}
	}
	if t, ok := parseTime(s); ok {
		return t
	}
	upper := s
	if n := len(s); n > 2 && (strings.EqualFold(s[n-2:], "am") || strings.EqualFold(s[n-2:], "pm")) {
		upper = s[:n-2] + strings.ToUpper(s[n-2:])
	}
	for _, try := range []string{
		upper,
		// "Apr 12, 2021 18:58:30 PM": a 24-hour clock with a useless mark.
		strings.TrimSuffix(strings.TrimSuffix(upper, " PM"), " AM"),
	} {
		for _, layout := range localeLayouts {
			if t, err := time.Parse(layout, try); err == nil {
				t, _ = inRange(t.UTC())
				return t
			}
		}
	}
	return time.Time{}
}
