package policy

import "strings"

// glob tells whether s matches the pattern, in which * stands for any run of
// characters and ? for any one.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// arnGlob matches as the Arn operators do: each of the six parts by itself, so
// that * in one part does not reach into the next. A lone * matches every ARN.
func arnGlob(pattern, s string) bool {
	if strings.Trim(pattern, "*") == "" && pattern != "" {
		return true
	}
	pp, ss := strings.SplitN(pattern, ":", 6), strings.SplitN(s, ":", 6)
	if len(pp) != 6 || len(ss) != 6 {
		return false
	}
	for i := range pp {
		if !glob(pp[i], ss[i]) {
			return false
		}
	}
	return true
}

// maxMeet bounds the search for a common match of patterns.
const maxMeet = 4000

// meet finds a string that matches all the patterns, and whether it found one.
func meet(patterns ...string) (string, bool) {
	type state [3]int
	if len(patterns) > len(state{}) {
		return "", false
	}
	seen := map[state]bool{}
	var out []byte
	var walk func(at state) bool
	walk = func(at state) bool {
		if seen[at] || len(seen) > maxMeet {
			return false
		}
		seen[at] = true
		var choice byte // the next character: a literal that some pattern wants, else '~'
		done, stuck := true, false
		for k, p := range patterns {
			if at[k] == len(p) {
				stuck = true // this one takes no more characters
				continue
			}
			done = false
			if c := p[at[k]]; c != '*' && c != '?' {
				choice = c
			} else if choice == 0 {
				choice = '~'
			}
		}
		if done {
			return true
		}
		for k, p := range patterns { // leave a star behind
			if at[k] < len(p) && p[at[k]] == '*' {
				next := at
				next[k]++
				if walk(next) {
					return true
				}
			}
		}
		if stuck {
			return false
		}
		next := at
		moved := false
		for k, p := range patterns {
			switch p[at[k]] {
			case '*':
			case '?', choice:
				next[k]++
				moved = true
			default:
				return false
			}
		}
		if !moved {
			return false
		}
		// A star stays where it is and takes the character.
		out = append(out, choice)
		if walk(next) {
			return true
		}
		out = out[:len(out)-1]
		return false
	}
	// choice prefers the last pattern's literal over '~' but two literals must
	// agree, which the loop above checks.
	if !walk(state{}) {
		return "", false
	}
	return string(out), true
}
