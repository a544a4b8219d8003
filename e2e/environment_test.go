package e2e_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seedVariable takes the seed that a failed test printed.
const seedVariable = "E2E_SEED"

// number is what the environment asks for, or the preset.
func number(t *testing.T, variable string, preset uint64) uint64 {
	t.Helper()

	given := os.Getenv(variable)
	if given == "" {
		return preset
	}

	n, err := strconv.ParseUint(given, 10, 64)
	require.NoError(t, err, variable)

	return n
}

// seconds is how long a test breaks things, if the environment does not say otherwise.
func seconds(t *testing.T, variable string, preset uint64) time.Duration {
	t.Helper()

	return time.Duration(number(t, variable, preset)) * time.Second
}

// seed is a random one, or that of a test that failed, and is printed.
func seed(t *testing.T) uint64 {
	t.Helper()

	n := number(t, seedVariable, rand.Uint64N(1_000_000))
	t.Logf("%s=%d", seedVariable, n)

	return n
}
