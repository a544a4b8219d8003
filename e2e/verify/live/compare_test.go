package live_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

func TestCompareFindsEveryDifference(t *testing.T) {
	t.Parallel()

	same := []any{
		bson.D{{Key: "_id", Value: int32(1)}, {Key: "a", Value: "x"}},
		bson.D{{Key: "_id", Value: "one"}},
		bson.D{{Key: "_id", Value: bson.D{{Key: "k", Value: 1}}}},
		bson.D{{Key: "_id", Value: bson.NewObjectID()}},
	}

	tests := map[string]struct {
		source, target []any
		says           []string
	}{
		"nothing":           {},
		"the same":          {source: same, target: same},
		"in another order":  {source: same, target: []any{same[3], same[1], same[0], same[2]}},
		"missing":           {source: same, target: same[1:], says: []string{`{"$numberInt":"1"} is missing on the target`}},
		"missing at all":    {source: same[:2], says: []string{"missing", "missing"}},
		"too many":          {source: same[:1], target: same[:2], says: []string{`"one" is on the target only`}},
		"another value":     {source: same[:1], target: []any{bson.D{{Key: "_id", Value: int32(1)}, {Key: "a", Value: "y"}}}, says: []string{"differs"}},
		"another type":      {source: []any{bson.D{{Key: "_id", Value: 7}, {Key: "a", Value: int32(1)}}}, target: []any{bson.D{{Key: "_id", Value: 7}, {Key: "a", Value: int64(1)}}}, says: []string{"differs"}},
		"fields swapped":    {source: []any{bson.D{{Key: "_id", Value: 7}, {Key: "a", Value: 1}, {Key: "b", Value: 1}}}, target: []any{bson.D{{Key: "_id", Value: 7}, {Key: "b", Value: 1}, {Key: "a", Value: 1}}}, says: []string{"differs"}},
		"_id of other type": {source: same[:2], target: []any{bson.D{{Key: "_id", Value: 1.0}, {Key: "a", Value: "x"}}, same[1]}, says: []string{"differs"}},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			source, target := mongotest.DB(t), mongotest.DB(t)

			for _, documents := range test.source {
				_, err := source.Collection("c").InsertOne(t.Context(), documents)
				require.NoError(t, err)
			}

			for _, documents := range test.target {
				_, err := target.Collection("c").InsertOne(t.Context(), documents)
				require.NoError(t, err)
			}

			result, err := live.Compare(t.Context(), source, target)
			require.NoError(t, err)
			require.Equal(t, len(test.says) == 0, result.Equal())
			require.Equal(t, int64(len(test.source)), result.Documents)
			require.Len(t, result.Differences, len(test.says))

			for i, says := range test.says {
				require.Contains(t, result.Differences[i].String(), says)
			}
		})
	}
}

func TestCompareDescribesOnlyTheFirstDifferences(t *testing.T) {
	t.Parallel()

	source, target := mongotest.DB(t), mongotest.DB(t)

	for n := range 25 {
		_, err := source.Collection("c").InsertOne(t.Context(), bson.D{{Key: "_id", Value: n}})
		require.NoError(t, err)
	}

	result, err := live.Compare(t.Context(), source, target)
	require.NoError(t, err)
	require.Equal(t, int64(25), result.Different)
	require.Len(t, result.Differences, 10)
}
