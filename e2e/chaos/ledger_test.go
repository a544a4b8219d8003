package chaos_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// TestResultsAreThoseOfTheRuns: the page in the tree is what the recorded runs make. make chaos RECORD=1 RUNS=1 writes it.
func TestResultsAreThoseOfTheRuns(t *testing.T) {
	t.Parallel()

	root, err := harness.Root(t.Context())
	require.NoError(t, err)
	records, err := chaos.ReadLedger(filepath.Join(root, chaos.LedgerFile))
	require.NoError(t, err)
	require.NotEmpty(t, records)

	page, err := os.ReadFile(filepath.Join(root, chaos.ResultsFile))
	require.NoError(t, err)

	var made strings.Builder

	chaos.Results(&made, records)
	require.Equal(t, made.String(), string(page))
}

// kill is the class, for what is said to have been struck.
func kill(t *testing.T) chaos.Class {
	t.Helper()

	classes, err := chaos.Select([]string{"kill"})
	require.NoError(t, err)

	return classes[0]
}

// TestRunsOfManySittingsAddUp: each run is a line behind those of before, and the page counts all.
func TestRunsOfManySittingsAddUp(t *testing.T) {
	t.Parallel()

	ledger := filepath.Join(t.TempDir(), "runs.jsonl")
	o := &chaos.Options{Seed: 7, Changes: 2000, Rate: 250, Classes: chaos.Classes()}
	good := &chaos.Outcome{
		Plan: chaos.NewPlan(o), Took: time.Minute, Changes: 2001,
		Strikes: []chaos.Strike{
			{Step: chaos.Step{Class: kill(t)}, Hit: chaos.Hit{Times: 1}, Changes: 150, Recovery: 1500 * time.Millisecond},
			{Step: chaos.Step{Class: kill(t)}, Hit: chaos.Hit{Times: 1}, Changes: 3},
			{Step: chaos.Step{Class: kill(t)}},
		},
		Points: chaos.Points{
			Armed:  map[string]bool{"processor.acked=exit@1": true, "processor.acked=sleep:2s@9": false},
			Passed: map[failpoint.Point]bool{failpoint.Acked: true},
		},
	}

	require.NoError(t, chaos.RecordOf(o, good, nil, "abc").Append(ledger))
	o.Seed++
	require.NoError(t, chaos.RecordOf(o, good, nil, "abc").Append(ledger))

	bad := *good
	bad.Wrong = []chaos.Finding{{Kind: "I3 again", Text: "I3 again: applied\ntwice"}}
	o.Seed = 11
	require.NoError(t, chaos.RecordOf(o, &bad, nil, "def").Append(ledger))
	require.NoError(t, chaos.RecordOf(o, &chaos.Outcome{Plan: good.Plan}, errors.New("no disk"), "def").Append(ledger))

	records, err := chaos.ReadLedger(ledger)
	require.NoError(t, err)
	require.Len(t, records, 4)

	records[2].Explained = "a guard that was missing"

	var page strings.Builder

	chaos.Results(&page, records)

	for _, line := range []string{
		"| abc | 2 | 2 | 0 | 0 | 0 | 4002 | 4 | 2m0s | 7–8 |",
		"| def | 2 | 0 | 0 | 1 | 1 | 2001 | 2 | 1m0s | 11 |",
		"| all | 4 | 2 | 0 | 1 | 1 | 6003 | 6 | 3m0s | 7–8, 11 |",
		" | 9 | 6 | 3 | 6 | 3 | 1.5s | 1.5s | 1.5s |",
		"- def, seed 11: I3 again: applied twice\n  `make chaos SEED=11 RUNS=1 CHANGES=2000 RATE=250`\n\n  **What it was**: a guard that was missing\n",
		"- def, seed 11: no disk",
		"- processor.acked, passed in 3 runs: sleep (armed in 3 runs)\n",
	} {
		require.Contains(t, page.String(), line)
	}

	require.NoError(t, os.WriteFile(ledger, []byte("{\"seed\":"), 0o600))
	_, err = chaos.ReadLedger(ledger)
	require.ErrorContains(t, err, "record 1")
}

// TestCoverageComesToAnEnd: if every failpoint that a run could pass struck in the way it was armed, all ways that a run can
// have at all are struck before long, and what was armed in vain comes at the first passage.
func TestCoverageComesToAnEnd(t *testing.T) {
	t.Parallel()

	var records []chaos.Record

	const most = 120

	for seed := range uint64(most) {
		o := &chaos.Options{Seed: 90_000 + seed, Changes: 50_000, Rate: 1000, Classes: chaos.Classes()}
		record := chaos.Record{Armed: map[string]bool{}}

		for _, a := range chaos.CoverageOf(records).Choose(chaos.NewPlan(o)) {
			record.Armed[a.String()] = true
		}

		records = append(records, record)
	}

	var text strings.Builder

	chaos.CoverageOf(records).Write(&text)

	_, never, _ := strings.Cut(text.String(), "Never struck:")
	require.Equal(t, 1, strings.Count(never, "\n- "), text.String())
	require.Contains(t, never, "\n- processor.checkpoint-written, passed in 0 runs: ")

	o := &chaos.Options{Seed: 1, Changes: 2000, Rate: 250, Classes: chaos.Classes()}
	vain := chaos.Record{Armed: map[string]bool{}}

	for _, a := range chaos.CoverageOf(nil).Choose(chaos.NewPlan(o)) {
		vain.Armed[a.String()] = false
	}

	again := chaos.CoverageOf([]chaos.Record{vain, vain, records[0], records[1], records[2], records[3], records[4]}).Choose(chaos.NewPlan(o))
	require.NotEmpty(t, again)

	for _, a := range again {
		for name := range vain.Armed {
			if strings.HasPrefix(name, string(a.Point)+"="+string(a.Action)) {
				require.EqualValues(t, 1, a.Passage, a)
			}
		}
	}
}
