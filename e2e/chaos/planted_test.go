package chaos_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// plant builds the programs with one change of their code.
func plant(t *testing.T, file, before, after string) harness.Programs {
	t.Helper()

	root, err := harness.Root(t.Context())
	require.NoError(t, err)

	dir, path := t.TempDir(), filepath.Join(root, file)
	code, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(code), before), "the place in %s that the bug is planted at", file)

	mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(mutant, []byte(strings.Replace(string(code), before, after, 1)), 0o600))

	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutant}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, text, 0o600))

	mutants, err := harness.Build(t.Context(), t.TempDir(), append([]string{"-tags=failpoints", "-overlay=" + overlay}, raceFlags...)...)
	require.NoError(t, err)

	return mutants
}

// surely finds the fault in a plan that shows the bug below: 20 changes or more that come again at other places.
var surely = regexp.MustCompile(`([2-9]\d|\d{3,}) changes, applied; they come again with other numbers`)

// TestPlantedBugIsFoundAndShrunk plants a < where a <= belongs: the event that a checkpoint stands at is taken for a new one
// when it comes again. It only does where the stream has lost its end after that was applied, and what comes again has other
// numbers, so that it is read from a marker on. A run with such a fault and others finds it, and is shortened to the one fault
// that it takes.
func TestPlantedBugIsFoundAndShrunk(t *testing.T) {
	const changes = 1100 // of which the schedule has two faults

	classes, err := chaos.Select([]string{"tail", "network"})
	require.NoError(t, err)

	o := options(t, seed(t))
	o.Dir, o.Changes, o.Classes, o.Points = t.TempDir(), changes, classes, []failpoint.Armed{}
	o.Programs = plant(t, "services/processor/internal/consume/verifier.go", "m.Position.Compare(v.position) <= 0", "m.Position.Compare(v.position) < 0")

	for !surely.MatchString(chaos.NewPlan(o).String()) { // a seed whose plan has such a fault
		o.Seed++
	}

	outcome, err := chaos.Run(t.Context(), o)
	require.NoError(t, err)
	t.Log(outcome.Verdict(o, nil))
	require.NotEmpty(t, outcome.Wrong, "the bug was not found")
	require.Contains(t, outcome.Kinds(), "I8 sum", "an event was counted twice, and perhaps seen twice on the target")
	require.Greater(t, outcome.Plan.Faults(), 1)

	shrunk, err := chaos.Shrink(t.Context(), o, outcome, chaos.Effort{Runs: 12, Tries: 2}, testWriter{t})
	require.NoError(t, err)
	require.True(t, shrunk.Again)
	require.Equal(t, 1, shrunk.Faults())
	require.Equal(t, "tail", shrunk.Outcome.Plan.Steps[0].Class.Name)

	verdict := shrunk.Verdict(outcome.Plan.Faults())
	t.Log(verdict)
	require.Len(t, strings.Split(verdict, "\n"), 3)
	require.Contains(t, verdict, "shrunk from 2 faults to 1")

	schedule, err := os.ReadFile(filepath.Join(outcome.Folder, "shrunk", "schedule.txt"))
	require.NoError(t, err)
	require.Contains(t, string(schedule), shrunk.Options.Replay())
	require.FileExists(t, filepath.Join(outcome.Folder, "shrunk", "last", "check.txt"))
}

// testWriter writes to the test's log.
type testWriter struct{ t *testing.T }

// Write implements io.Writer.
func (w testWriter) Write(text []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(text), "\n"))

	return len(text), nil
}
