package documents_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/documents"
)

// TestIDsAreOfAllKindsAndNeverEqual: not those of one writer, nor those of two.
func TestIDsAreOfAllKindsAndNeverEqual(t *testing.T) {
	t.Parallel()

	const most = 3600

	seen := map[string]bool{}
	kinds := map[bson.Type]int{}

	for writer := range 3 {
		for n := range int64(most) {
			id := documents.ID(writer, n+1)
			seen[id.String()] = true
			kinds[id.Type]++
		}
	}

	require.Len(t, seen, 3*most)
	require.Len(t, kinds, 9)
	require.Equal(t, 3*most/36, kinds[bson.TypeEmbeddedDocument], "few are documents")
}

// TestImagesAndUpdatesAreOfTheSeed: the same generator makes the same.
func TestImagesAndUpdatesAreOfTheSeed(t *testing.T) {
	t.Parallel()

	made := func(seed uint64) (all []bson.Raw) {
		random := rand.New(rand.NewPCG(seed, 0))

		for n := range int64(50) {
			image, err := bson.Marshal(documents.Image(random, documents.ID(0, n), n, 64))
			require.NoError(t, err)

			update, err := bson.Marshal(bson.D{{Key: "u", Value: documents.Update(random, n+1, 64)}})
			require.NoError(t, err)

			all = append(all, image, update)
		}

		return all
	}

	first := made(1)
	require.Equal(t, first, made(1))
	require.NotEqual(t, first, made(2))
}
