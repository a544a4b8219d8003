package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestManualPages: one for each command, the same each time, with what its help says.
func TestManualPages(t *testing.T) {
	t.Parallel()

	folder := filepath.Join(t.TempDir(), "share", "man1")
	first := relayctl(t, nil, "man", folder)
	require.Zero(t, first.code, first.errOut)

	page, err := os.ReadFile(filepath.Join(folder, "relayctl-flow-pause.1"))
	require.NoError(t, err)
	require.Contains(t, string(page), "--reason")
	require.Contains(t, string(page), "SEE ALSO")

	var others []string

	pages, err := os.ReadDir(folder)
	require.NoError(t, err)

	for _, p := range pages {
		others = append(others, p.Name())
	}

	require.Subset(t, others, []string{"relayctl.1", "relayctl-status.1", "relayctl-dead-letters-replay.1", "relayctl-man.1"})

	taken := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(taken, nil, 0o600))

	refused := relayctl(t, nil, "man", taken)
	require.NotZero(t, refused.code)
	require.Contains(t, refused.errOut, taken)
}
