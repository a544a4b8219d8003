package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTwoRunsOfOneSeed: the second one is refused, and leaves the files of the first alone.
func TestTwoRunsOfOneSeed(t *testing.T) {
	t.Parallel()

	o := &Options{Dir: t.TempDir(), Seed: 7, Changes: 2000, Rate: 250, Classes: Classes()}
	folder := filepath.Join(o.Dir, "seed-7")
	require.NoError(t, os.Mkdir(folder, 0o700))

	release, err := lockFolder(folder)
	require.NoError(t, err)

	_, err = Run(t.Context(), o)
	require.ErrorContains(t, err, "another run of this seed is using it")
	require.DirExists(t, folder)

	require.NoError(t, release())

	release, err = lockFolder(folder)
	require.NoError(t, err)
	require.NoError(t, release())
}
