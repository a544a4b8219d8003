package nearest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/nearest"
)

func TestTo(t *testing.T) {
	t.Parallel()

	known := []string{"init", "show", "delete", "accept-gap", "gaps"}

	for typed, want := range map[string]string{
		"inti": "init", "sho": "show", "shwo": "show", "delte": "delete", "acceptgap": "accept-gap", "accept": "accept-gap", "gap": "gaps",
		"x": "", "": "", "something": "",
	} {
		require.Equal(t, want, nearest.To(typed, known), typed)
	}

	require.Equal(t, ", did you mean init?", nearest.Question("inti", known))
	require.Empty(t, nearest.Question("something", known))
}
