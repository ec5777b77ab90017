package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// durationFlag is a duration that may be said in days: 14d, 36h, 90m.
type durationFlag time.Duration

// Set reads the flag's value.
func (d *durationFlag) Set(s string) error {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseFloat(n, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number of days such as 14d", s)
		}
		*d = durationFlag(days * float64(24*time.Hour))
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 14d, 36h or 90m", s)
	}
	*d = durationFlag(v)
	return nil
}

// String writes the value as Set reads it.
func (d *durationFlag) String() string {
	v := time.Duration(*d)
	if v == 0 {
		return ""
	}
	if v%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(v/(24*time.Hour)), 10) + "d"
	}
	return v.String()
}

// Type is what help calls the value.
func (d *durationFlag) Type() string { return "duration" }
