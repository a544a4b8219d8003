package standins

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestProgramWithoutLibraries: a program that names no loader is all there is to pack; ldd fails for it.
func TestProgramWithoutLibraries(t *testing.T) {
	t.Parallel()

	root, err := harness.Root(t.Context())
	require.NoError(t, err)

	program := filepath.Join(t.TempDir(), "mongosh")
	require.NoError(t, goTool(t.Context(), root, []string{"GOOS=linux"}, "build", "-o", program, "github.com/atlas-relay/atlas-relay/e2e/standins/mongosh"))

	files := empty()
	require.NoError(t, files.withLibraries(t.Context(), "bin/mongosh", program))
	require.Equal(t, map[string]string{"bin/mongosh": program}, files.files)
}
