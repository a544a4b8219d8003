package ownership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestWantedIsAContract: processors of two versions run side by side.
func TestWantedIsAContract(t *testing.T) {
	t.Parallel()

	const contract = "b a a a b c c a c c b c b a c b"
	require.Equal(t, contract, strings.Join(wanted(16, []string{"a", "b", "c"}), " "))
}

func TestWanted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 64).Draw(t, "partitions")
		members := rapid.SliceOfNDistinct(rapid.StringMatching(`[0-9a-f]{16}`), 0, 20, rapid.ID).Draw(t, "members")
		owners := wanted(partitions, members)

		require.Len(t, owners, partitions)

		if len(members) == 0 {
			require.Empty(t, slices.DeleteFunc(owners, func(o string) bool { return o == "" }))

			return
		}

		load := map[string]int{}
		for _, owner := range owners {
			require.Contains(t, members, owner)
			load[owner]++
		}

		for _, m := range members {
			require.GreaterOrEqual(t, load[m], partitions/len(members))
			require.LessOrEqual(t, load[m], (partitions+len(members)-1)/len(members))
		}

		shuffled := slices.Clone(members)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again := wanted(partitions, shuffled)
		require.Equal(t, owners, again, "the order of the members does not matter")
	})
}

// TestOnlyLittleMoves: what a join or a leave moves is near what it has to move.
func TestOnlyLittleMoves(t *testing.T) {
	t.Parallel()

	const (
		partitions = 16
		runs       = 500
	)

	random := rand.New(rand.NewPCG(1, 2))

	for n := 1; n <= 8; n++ {
		moved := 0

		for range runs {
			var members []string
			for range n + 1 {
				members = append(members, fmt.Sprintf("%016x", random.Uint64()))
			}

			before, after := wanted(partitions, members[:n]), wanted(partitions, members)
			for p := range before {
				if before[p] != after[p] {
					moved++
				}
			}
		}

		least := float64(partitions) / float64(n+1) // the share of the one that comes or goes
		average := float64(moved) / runs
		t.Logf("%d to %d members, or back: %.1f partitions move, %.1f have to", n, n+1, average, least)
		require.LessOrEqual(t, average, 2.2*least)
	}
}
