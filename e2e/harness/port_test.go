package harness_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestFreeAddrsAreNotGivenTwice: two services that are started at the same moment, or one that is down for a restart. In a
// chaos run a listener could not begin anew: its port was another's by then.
func TestFreeAddrsAreNotGivenTwice(t *testing.T) {
	t.Parallel()

	addrs := map[string]bool{}

	for range 1000 {
		addr, err := harness.FreeAddr(t.Context())
		require.NoError(t, err)
		require.False(t, addrs[addr], addr)

		addrs[addr] = true
	}
}
