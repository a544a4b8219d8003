package verify_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

func raw(t *testing.T, d any) bson.Raw {
	t.Helper()

	b, err := bson.Marshal(d)
	require.NoError(t, err)

	return b
}

// TestMergeFindsExactlyWhatDiffers against two maps.
func TestMergeFindsExactlyWhatDiffers(t *testing.T) {
	t.Parallel()

	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		source, target, want := map[int]int{}, map[int]int{}, map[int]verify.Kind{}

		for range r.IntN(40) {
			id, state := r.IntN(60), r.IntN(8)
			delete(source, id)
			delete(target, id)
			delete(want, id)

			switch state {
			case 0:
				source[id], want[id] = 1, verify.Missing
			case 1:
				target[id], want[id] = 1, verify.Extra
			case 2:
				source[id], target[id], want[id] = 1, 2, verify.Different
			default:
				source[id], target[id] = 1, 1
			}
		}

		documents := func(side map[int]int) (list []bson.Raw) {
			for id := range 60 {
				if v, found := side[id]; found {
					list = append(list, raw(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: v}}))
				}
			}

			return list
		}

		kinds, ids := verify.Merge(documents(source), documents(target))
		require.Len(t, kinds, len(want), "seed %d", seed)
		require.True(t, slices.IsSortedFunc(ids, verify.Compare))

		for i, id := range ids {
			require.Equal(t, want[int(id.AsInt64())], kinds[i], "seed %d, _id %s", seed, id)
		}
	}
}

func TestMergeTakesEqualNumbersForOneID(t *testing.T) {
	t.Parallel()

	kinds, ids := verify.Merge([]bson.Raw{raw(t, bson.D{{Key: "_id", Value: 1}})}, []bson.Raw{raw(t, bson.D{{Key: "_id", Value: 1.0}})})
	require.Equal(t, []verify.Kind{verify.Different}, kinds)
	require.Len(t, ids, 1)
}
