package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever is missed after LEASE_TTL reports at least three times in it, and never less often than before there was one.
func TestPace(t *testing.T) {
	t.Parallel()

	for _, ttl := range []time.Duration{time.Second, 1500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Hour} {
		every, looks := pace(ttl)
		require.Positive(t, every, ttl)
		require.Positive(t, looks, ttl)
		require.LessOrEqual(t, every, changedEvery, ttl)
		require.LessOrEqual(t, time.Duration(looks)*every, unchangedEvery, ttl)
		require.LessOrEqual(t, time.Duration(renewals*looks)*every, ttl, ttl)
	}

	every, looks := pace(time.Hour)
	require.Equal(t, unchangedEvery, time.Duration(looks)*every, "no more often than it has to")
}
