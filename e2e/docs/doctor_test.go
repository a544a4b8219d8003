package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestDoctorReference: deploy/DOCTOR.md is what relayctl doctor says of itself.
func TestDoctorReference(t *testing.T) {
	t.Parallel()

	out, err := exec.CommandContext(t.Context(), programs.Path(harness.Relayctl), "doctor", "--list").Output()
	require.NoError(t, err)

	path := filepath.Join(root, "deploy", "DOCTOR.md")
	if *update {
		require.NoError(t, os.WriteFile(path, out, 0o600))

		return
	}

	require.Equal(t, string(out), read(t, "deploy", "DOCTOR.md"), "the table is stale: run make generate")
}
