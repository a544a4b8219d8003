package api_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
)

// TestEveryReasonIsExplained reads the code: a reason that somebody adds needs a cause and a remedy, and the code that it
// comes with.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()

	explained := map[string]api.Reason{}

	for _, r := range api.Reasons() {
		require.NotContains(t, explained, r.Name)
		require.NotEmpty(t, r.Cause, r.Name)
		require.NotEmpty(t, r.Remedy, r.Name)
		explained[r.Name] = r
	}

	files, err := filepath.Glob("*.go")
	require.NoError(t, err)

	var text strings.Builder

	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)

		if !strings.HasSuffix(file, "_test.go") {
			text.Write(content)
		}
	}

	names := map[string]string{} // constant to reason

	for _, found := range regexp.MustCompile(`(?m)^\s*(reason\w+)\s*= "([A-Z_]+)"`).FindAllStringSubmatch(text.String(), -1) {
		names[found[1]] = found[2]
		require.Contains(t, explained, found[2], "add it to Reasons")
	}

	require.Len(t, names, len(explained), "one that no longer exists")

	for _, found := range regexp.MustCompile(`with\(codes\.(\w+), \w+, (reason\w+)`).FindAllStringSubmatch(text.String(), -1) {
		require.Equal(t, explained[names[found[2]]].Code.String(), found[1], found[2])
	}
}
