package chaos

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDdmin finds the parts that are needed together, wherever they stand, and asks far less often than there are subsets.
func TestDdmin(t *testing.T) {
	t.Parallel()

	all := make([]int, 142)
	for i := range all {
		all[i] = i
	}

	for name, needed := range map[string][]int{
		"none": {}, "the first": {0}, "the last": {141}, "two far apart": {3, 140}, "three": {10, 11, 90}, "many": {0, 20, 40, 60, 80, 100, 120},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			asked := 0
			left := ddmin(all, func(part []int) bool {
				asked++

				require.True(t, slices.IsSorted(part), "the order of the whole")

				return !slices.ContainsFunc(needed, func(n int) bool { return !slices.Contains(part, n) })
			})

			require.ElementsMatch(t, needed, left)
			require.Less(t, asked, 600)
		})
	}

	require.Equal(t, all, ddmin(all, func([]int) bool { return false }), "what never shows itself again stays whole")
}

// TestShrinkingCutsTheLoad behind the last fault that is left.
func TestShrinkingCutsTheLoad(t *testing.T) {
	t.Parallel()

	o := &Options{Seed: 7, Changes: 5000, Rate: 250, Classes: Classes()}
	plan := NewPlan(o)
	s := &shrinking{whole: o}

	third := s.of([]atom{{step: &plan.Steps[2]}})
	require.Equal(t, []int{3}, third.Steps)
	require.Empty(t, third.Points)
	require.Equal(t, int(plan.Steps[2].At)+shrinkBehind, third.Until)

	again := NewPlan(third)
	require.Len(t, again.Steps, 1)
	require.Equal(t, plan.Steps[2].String(), again.Steps[0].String())
	require.Equal(t, third.Until, again.Load.Changes)

	whole := s.of(plan.atoms())
	require.Zero(t, whole.Until)
	require.Len(t, NewPlan(whole).Steps, len(plan.Steps))
	require.Equal(t, plan.Faults(), NewPlan(whole).Faults())
	require.Contains(t, third.Replay(), "STEPS=3 POINTS=none UNTIL=")
}
