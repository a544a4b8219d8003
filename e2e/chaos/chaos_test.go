package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

var programs harness.Programs

// TestMain builds the services from this tree, once, with failpoints.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "atlas-relay-chaos-*")
	if err == nil {
		programs, err = harness.Build(context.Background(), dir, append([]string{"-tags=failpoints"}, raceFlags...)...)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)

		os.Exit(code)
	}))
}

// seedVariable takes the seed that a failed test printed; make chaos makes more runs, and longer ones.
const seedVariable = "E2E_SEED"

func seed(t *testing.T) uint64 {
	t.Helper()

	n := rand.Uint64N(1_000_000)

	if given := os.Getenv(seedVariable); given != "" {
		var err error
		n, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, seedVariable)
	}

	t.Logf("%s=%d", seedVariable, n)

	return n
}

// options of a short run.
func options(t *testing.T, seed uint64) *chaos.Options {
	t.Helper()

	choice, err := mongotest.Find(t.Context(), mongotest.FindOptions{Progress: os.Stderr})
	require.NoError(t, err)

	classes, lacking := chaos.Available(chaos.Classes())
	for _, line := range lacking {
		t.Log(line)
	}

	return &chaos.Options{
		Programs: programs, Dir: os.TempDir(), Seed: seed, Changes: 2000, Rate: 250, Classes: classes, Short: true, Choice: choice,
		Patience: 4 * time.Minute,
	}
}

// runs of the test below.
const runs = 6

// TestShortRuns makes a few runs with the faults that take little time. A run that finds something keeps its folder.
func TestShortRuns(t *testing.T) {
	summary, first := chaos.NewSummary(), seed(t)

	for n := range uint64(runs) {
		o := options(t, first+n)

		// The programs of a test look for races and the command's do not, so the command is only near to this run.
		outcome, err := chaos.Run(t.Context(), o)
		summary.Add(outcome, err)
		t.Log(outcome.Verdict(o, err))
		require.NoError(t, err)
		require.Empty(t, outcome.Wrong)
	}

	require.NoError(t, summary.Err())
	require.Positive(t, summary.Struck(), "no fault has struck: the runs prove nothing")

	var text strings.Builder

	summary.Write(&text)
	t.Log(text.String())
}

// TestPlanIsTheSeeds: the same seed gives the same plan, another one another.
func TestPlanIsTheSeeds(t *testing.T) {
	t.Parallel()

	n := seed(t)
	plan := func(seed uint64) string {
		return chaos.NewPlan(&chaos.Options{Seed: seed, Changes: 5000, Rate: 250, Classes: chaos.Classes()}).String()
	}

	first, again := plan(n), plan(n)
	require.Equal(t, first, again)
	require.NotEqual(t, first, plan(n+1))
}

// TestEveryClassIsDrawn in some plan, and each fault says what it is.
func TestEveryClassIsDrawn(t *testing.T) {
	t.Parallel()

	drawn := map[string]bool{}

	for seed := range uint64(300) {
		for _, step := range chaos.NewPlan(&chaos.Options{Seed: seed, Changes: 3000, Rate: 250, Classes: chaos.Classes()}).Steps {
			drawn[step.Class.Name] = true

			require.NotEmpty(t, step.Fault.String())
			require.Less(t, step.At, uint64(3000))
		}
	}

	for _, class := range chaos.Classes() {
		require.True(t, drawn[class.Name], class.Name)
		require.NotEmpty(t, class.Says, class.Name)
	}

	_, err := chaos.Select([]string{"kill", "no such class"})
	require.ErrorContains(t, err, "no such class")
}
