package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTreeHoldsNoProgram: what go build leaves where it was called is not committed. A binary stays in everybody's clone
// for ever, however soon it is removed.
func TestTreeHoldsNoProgram(t *testing.T) {
	t.Parallel()

	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z").Output()
	require.NoError(t, err)

	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	require.Contains(t, names, "Makefile")

	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}

		require.NoError(t, err)

		for _, magic := range []string{"\x7fELF", "MZ\x90", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
			require.False(t, bytes.HasPrefix(content, []byte(magic)), "%s is a program", name)
		}
	}
}
