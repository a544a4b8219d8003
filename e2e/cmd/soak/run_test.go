package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/logtest"
)

// TestAShortRun runs the command as a whole, for less long.
func TestAShortRun(t *testing.T) {
	t.Parallel()

	out := new(logtest.Buffer)
	err := run(t.Context(), &Config{Lasts: 15 * time.Second, Rate: 200, Every: 4 * time.Second}, out)
	require.NoError(t, err, "%s", out)
	require.Contains(t, out.String(), "faults: ")
	require.Contains(t, out.String(), "| processor: memory, goroutines (medians) |")
	require.Contains(t, out.String(), "was not judged", "of growth")
}
