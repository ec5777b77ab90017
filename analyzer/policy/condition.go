package policy

import (
	"net/netip"
	"strconv"
	"strings"
)

// truth is three-valued: a condition on a key whose value is not chosen yet is
// unknown.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// values is what a request holds for a condition key; nil when the key is
// missing from the request. Single-valued keys have one.
type values []string

// lookup returns the values of a condition key (in lower case); known is false
// while they have not been chosen.
type lookup func(key string) (v values, known bool)

// negated operators hold when no value matches, and when the key is missing.
func (c *Condition) negated() bool {
	return strings.Contains(c.Operator, "Not") // StringNot…, NumericNotEquals, ArnNot…, NotIpAddress
}

// holds evaluates the condition as the IAM reference says under "Condition
// operators" and "Multivalued context keys".
func (c *Condition) holds(look lookup) truth {
	got, known := look(c.key)
	if !known {
		return unknown
	}
	if c.Operator == "Null" {
		for _, v := range c.Values {
			if strings.EqualFold(v, "true") == (len(got) == 0) {
				return yes
			}
		}
		return no
	}
	if len(got) == 0 {
		return truthOf(c.IfExists || c.Qualifier == "ForAllValues" || c.negated() && c.Qualifier == "")
	}
	wants := make([]string, 0, len(c.Values))
	for _, w := range c.Values {
		w, ok, known := c.expand(w, look)
		if !known {
			return unknown
		}
		if ok {
			wants = append(wants, w)
		}
	}
	matches := func(v string) bool {
		for _, w := range wants {
			if c.compare(w, v) {
				return true
			}
		}
		return false
	}
	some, all := false, true // of the request's values that satisfy the comparison
	for _, v := range got {
		ok := matches(v) != c.negated()
		some, all = some || ok, all && ok
	}
	switch {
	case c.Qualifier == "ForAllValues", c.Qualifier == "" && c.negated():
		return truthOf(all)
	default:
		return truthOf(some)
	}
}

// expand puts the request's values in the place of policy variables. ok is false
// when a variable has no value in the request: then the value matches nothing.
func (c *Condition) expand(w string, look lookup) (out string, ok, known bool) {
	if !c.vars || !strings.Contains(w, "${") {
		return w, true, true
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(w, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true, true
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			b.WriteString("${" + rest)
			return b.String(), true, true
		}
		w = after
		switch name {
		case "*", "?", "$": // the characters themselves
			b.WriteString(name)
			continue
		}
		name, fallback, hasFallback := strings.Cut(name, ",")
		got, known := look(strings.ToLower(strings.TrimSpace(name)))
		switch {
		case !known:
			return "", false, false
		case len(got) == 1:
			b.WriteString(got[0])
		case len(got) == 0 && hasFallback:
			b.WriteString(strings.Trim(strings.TrimSpace(fallback), "'"))
		default:
			return "", false, true
		}
	}
}

// compare tells whether the request's value v matches the policy's value w.
func (c *Condition) compare(w, v string) bool {
	switch op := strings.Replace(c.Operator, "Not", "", 1); op {
	case "StringEquals", "BinaryEquals":
		return w == v
	case "StringEqualsIgnoreCase", "Bool":
		return strings.EqualFold(w, v)
	case "StringLike":
		return glob(w, v)
	case "ArnEquals", "ArnLike":
		return arnGlob(w, v)
	case "IpAddress":
		p, ok := parseCIDR(w)
		a, err := netip.ParseAddr(v)
		return ok && err == nil && p.Contains(a)
	default:
		return compareOrder(op, w, v)
	}
}

func compareOrder(op, w, v string) bool {
	var d int // sign of v - w
	if order, ok := strings.CutPrefix(op, "Numeric"); ok {
		a, errA := strconv.ParseFloat(w, 64)
		b, errB := strconv.ParseFloat(v, 64)
		if errA != nil || errB != nil {
			return false
		}
		op, d = order, cmpFloat(b, a)
	} else if order, ok := strings.CutPrefix(op, "Date"); ok {
		a, okA := parseDate(w)
		b, okB := parseDate(v)
		if !okA || !okB {
			return false
		}
		op, d = order, b.Compare(a)
	}
	switch op {
	case "Equals":
		return d == 0
	case "LessThan":
		return d < 0
	case "LessThanEquals":
		return d <= 0
	case "GreaterThan":
		return d > 0
	case "GreaterThanEquals":
		return d >= 0
	}
	return false
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
