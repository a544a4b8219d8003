package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/preflight"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

func TestColorsAreForTerminalsThatWantThem(t *testing.T) {
	t.Parallel()

	keys, device, err := pty.Open()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, device.Close())
		require.NoError(t, keys.Close())
	})

	for name, test := range map[string]struct {
		environ map[string]string
		want    bool
	}{
		"terminal":          {nil, true},
		"NO_COLOR":          {map[string]string{"NO_COLOR": "1"}, false},
		"NO_COLOR is empty": {map[string]string{"NO_COLOR": ""}, true},
		"dumb":              {map[string]string{"TERM": "dumb"}, false},
	} {
		p := &program{streams: streams{out: device}, environ: test.environ}
		require.Equal(t, test.want, p.color(), name)
		require.Equal(t, test.want, strings.Contains(p.finding(preflight.Finding{Status: preflight.Failed}), "\x1b["), name)
	}

	require.False(t, (&program{streams: streams{out: new(bytes.Buffer)}}).color(), "a pipe")

	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, null.Close()) })
	require.False(t, (&program{streams: streams{out: null}}).color(), "a character device, and no terminal")

	stats := &relayv1.Stats{Status: relayv1.Status_STATUS_DOWN}
	for _, color := range []bool{true, false} {
		var status, table, lines bytes.Buffer

		require.NoError(t, show.Status(&status, stats, color))
		require.NoError(t, show.Stats(&table, stats, color))
		require.NoError(t, show.NewLines(&lines, color).Print(stats))

		for _, text := range []string{status.String(), table.String(), lines.String()} {
			require.Equal(t, color, strings.Contains(text, "\x1b["), text)
		}
	}
}

// TestEveryCommandHasExamplesFirst walks through all commands that do something.
func TestEveryCommandHasExamplesFirst(t *testing.T) {
	t.Parallel()

	seen := 0

	var walk func(cmd *cobra.Command)

	walk = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			walk(child)
		}

		switch {
		case !cmd.Runnable() || cmd.HasSubCommands(), cmd.Name() == "version", cmd.Name() == "config":
			return
		}

		seen++

		var help bytes.Buffer

		cmd.SetOut(&help)
		require.NoError(t, cmd.Usage())
		require.True(t, strings.HasPrefix(help.String(), "Examples:\n  relayctl ") || strings.HasPrefix(help.String(), "Examples:\n  SOURCE_URI="), "%s: %s", cmd.CommandPath(), help.String())
	}

	walk((&program{streams: streams{out: new(bytes.Buffer), err: new(bytes.Buffer)}}).root())
	require.GreaterOrEqual(t, seen, 13)
}

func TestListOfChecksAsJSON(t *testing.T) {
	t.Parallel()

	r := relayctl(t, nil, "doctor", "--list", "-o", "json")
	require.Zero(t, r.code, r.errOut)

	var answer struct {
		Checks []preflight.Check `json:"checks"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &answer))
	require.Len(t, answer.Checks, len(preflight.Checks()))
	require.NotEmpty(t, answer.Checks[0].Remedy)
}
