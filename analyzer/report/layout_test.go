package report

import (
	"os"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestColourFollowsTheTerminalAndTheUser(t *testing.T) {
	for name, c := range map[string]struct {
		terminal, noColor bool
		env               map[string]string
		want              bool
	}{
		"a terminal has colour":                   {terminal: true, want: true},
		"a pipe has none":                         {},
		"--no-color wins over everything":         {terminal: true, noColor: true, env: map[string]string{"CLICOLOR_FORCE": "1"}},
		"NO_COLOR switches it off":                {terminal: true, env: map[string]string{"NO_COLOR": "1"}},
		"an empty NO_COLOR does nothing":          {terminal: true, env: map[string]string{"NO_COLOR": ""}, want: true},
		"NO_COLOR wins over CLICOLOR_FORCE":       {terminal: true, env: map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}},
		"CLICOLOR_FORCE colours a pipe":           {env: map[string]string{"CLICOLOR_FORCE": "1"}, want: true},
		"CLICOLOR_FORCE=0 does not":               {env: map[string]string{"CLICOLOR_FORCE": "0"}},
		"CLICOLOR=0 switches a terminal off":      {terminal: true, env: map[string]string{"CLICOLOR": "0"}},
		"a dumb terminal has none":                {terminal: true, env: map[string]string{"TERM": "dumb"}},
		"a dumb terminal can be forced to colour": {terminal: true, env: map[string]string{"TERM": "dumb", "CLICOLOR_FORCE": "1"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, wantColor(c.terminal, func(k string) string { return c.env[k] }, c.noColor))
		})
	}
}

func TestAPipeIsEightyCellsWide(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, w.Close())
	})
	require.Equal(t, Layout{Width: 80}, Detect(w, func(string) string { return "" }, false))
}

func TestWideCharactersCountTwice(t *testing.T) {
	require.Equal(t, 4, width("田中"))
	require.Equal(t, 2, width("😀"))
	require.Equal(t, 1, width("e\u0301"))
	require.Equal(t, "田  ", pad("田", 4))
	require.Equal(t, []string{"田中", "田中"}, wrap("田中田中", 5), "a wide character is not cut in half")
	require.Equal(t, "田…", cutEnd("田中田", 4))
}

func TestCutMiddleKeepsBothEnds(t *testing.T) {
	require.Equal(t, "short", cutMiddle("short", 5))
	require.Equal(t, "ar…ab12", cutMiddle("arn:aws:kms:key/ab12", 7))
	rapid.Check(t, func(t *rapid.T) {
		s := Clean(hostile().Draw(t, "text"))
		n := rapid.IntRange(1, 40).Draw(t, "cells")
		got := cutMiddle(s, n)
		require.LessOrEqual(t, width(got), n)
		require.True(t, utf8.ValidString(got))
	})
}
