package e2e_test

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// TestOrdinaryProgramsHaveNoFailpoints reads the programs as they are built for users: no name of a failpoint, nor the
// variables that arm them, is in the files. Those built with the tag have all of their service, so the search finds them.
func TestOrdinaryProgramsHaveNoFailpoints(t *testing.T) {
	broken, err := harness.Build(t.Context(), t.TempDir(), append([]string{"-tags=failpoints"}, buildFlags...)...)
	require.NoError(t, err)

	names := func(program string, in harness.Programs) (found []string) {
		text, err := os.ReadFile(in.Path(program))
		require.NoError(t, err)

		for _, name := range []string{failpoint.Variable, failpoint.HitsVariable} {
			if bytes.Contains(text, []byte(name)) {
				found = append(found, name)
			}
		}

		for _, place := range failpoint.Table() {
			if bytes.Contains(text, []byte(place.Point)) {
				found = append(found, string(place.Point))
			}
		}

		return found
	}

	for _, service := range []string{failpoint.Listener, failpoint.Processor, failpoint.Stats} {
		require.Empty(t, names(service, programs), service)

		for _, place := range failpoint.Table() {
			if slices.Contains(place.In, service) {
				require.Contains(t, names(service, broken), string(place.Point), service)
			}
		}
	}
}
