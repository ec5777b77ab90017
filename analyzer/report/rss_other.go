//go:build !unix

package report

func rusageMaxRSS() int64 { return 0 }
