package analyzer

import "fmt"

// Severity orders findings and alerts. critical and high interrupt a person,
// medium is posted, low and info go to the daily digest.
type Severity int

// The severities, from the least.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"info", "low", "medium", "high", "critical"}

// String returns the lower-case name used in files and output.
func (s Severity) String() string {
	if s < Info || s > Critical {
		return fmt.Sprintf("severity(%d)", int(s))
	}
	return severityNames[s]
}

// ParseSeverity reads a lower-case severity name.
func ParseSeverity(name string) (Severity, error) {
	for i, n := range severityNames {
		if n == name {
			return Severity(i), nil
		}
	}
	return Info, fmt.Errorf("severity %q is not one of critical, high, medium, low, info", name)
}

// Raise returns the severity n steps up (down when n is negative), within
// info and critical.
func (s Severity) Raise(n int) Severity {
	return min(max(s+Severity(n), Info), Critical)
}

// MarshalText writes the name, so that JSON and YAML carry words.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Severity) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSeverity(string(b))
	return err
}
