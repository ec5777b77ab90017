package trail

import "github.com/keytrail/keytrail/analyzer"

// Filter tells which records are wanted, by eventSource and eventName. A nil
// Filter wants all. It does not change and may be used by many goroutines.
type Filter struct {
	sources map[string]*sourceFilter
}

type sourceFilter struct {
	all   bool
	names map[string]bool
}

// NewFilter returns a filter that wants what at least one of the names means.
func NewFilter(wanted []analyzer.EventName) *Filter {
	f := &Filter{sources: map[string]*sourceFilter{}}
	for _, w := range wanted {
		s := f.sources[w.Source]
		if s == nil {
			s = &sourceFilter{names: map[string]bool{}}
			f.sources[w.Source] = s
		}
		if w.Name == "*" {
			s.all = true
		}
		s.names[w.Name] = true
	}
	return f
}

// Wants tells whether a record with this eventSource and eventName is wanted.
func (f *Filter) Wants(source, name []byte) bool {
	if f == nil {
		return true
	}
	s := f.sources[string(source)]
	return s != nil && (s.all || s.names[string(name)])
}
