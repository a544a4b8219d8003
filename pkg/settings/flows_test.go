package settings_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func TestFlows(t *testing.T) {
	t.Parallel()

	var flows settings.Flows

	require.NoError(t, flows.UnmarshalText([]byte("c, a,b ,a")))
	require.Equal(t, "a,b,c", flows.String())
	require.NoError(t, flows.Exclude("d"))
	require.ErrorContains(t, flows.Exclude("b"), "SKIP_ORIGINS")

	for _, wrong := range []string{"a,", "A", "a b", "-a", "a/00"} {
		require.Error(t, flows.UnmarshalText([]byte(wrong)), wrong)
	}
}
