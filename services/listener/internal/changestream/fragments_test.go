package changestream

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// The server of the tests does not split events, so fragments are made here by
// the rules of MongoDB's manual ($changeStreamSplitLargeEvent): each has an _id
// of its own and splitEvent, every other top-level field stands in one of them.

func fragment(t require.TestingT, number, of int, fields bson.D) event.Event {
	doc := append(bson.D{
		{Key: "_id", Value: bson.D{{Key: "_data", Value: fmt.Sprintf("token-%d", number)}}},
		{Key: "splitEvent", Value: bson.D{{Key: "fragment", Value: int32(number)}, {Key: "of", Value: int32(of)}}},
	}, fields...)

	raw, err := bson.Marshal(doc)
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	return e
}

func TestFragmentsMakeTheEventThatWasSplit(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		body := make([]byte, rapid.IntRange(0, 3000).Draw(t, "body"))
		fields := bson.D{
			{Key: "operationType", Value: "update"},
			{Key: "clusterTime", Value: bson.Timestamp{T: 1, I: 2}},
			{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
			{Key: "documentKey", Value: bson.D{{Key: "_id", Value: "a"}}},
			{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: bson.D{{Key: "body", Value: body}}}}},
			{Key: "fullDocument", Value: bson.D{{Key: "body", Value: body}}},
			{Key: "fullDocumentBeforeChange", Value: bson.D{{Key: "body", Value: body[:len(body)/2]}}},
		}

		of := rapid.IntRange(2, len(fields)).Draw(t, "fragments")
		cuts := rapid.SliceOfNDistinct(rapid.IntRange(1, len(fields)-1), of-1, of-1, rapid.ID).Draw(t, "cuts")
		groups := cut(fields, cuts)

		var f fragments

		for i, group := range groups {
			whole, err := f.add(fragment(t, i+1, of, group))
			require.NoError(t, err)

			if i+1 < of {
				require.Nil(t, whole)
				require.True(t, f.open())

				continue
			}

			want, err := bson.Marshal(append(bson.D{
				{Key: "_id", Value: bson.D{{Key: "_data", Value: fmt.Sprintf("token-%d", of)}}},
			}, fields...))
			require.NoError(t, err)
			require.Equal(t, want, []byte(whole.Raw))
			require.Equal(t, event.Update, whole.Operation)
			require.False(t, f.open())
		}
	})
}

// cut divides fields into groups that begin at the given indexes.
func cut(fields bson.D, starts []int) []bson.D {
	begins := map[int]bool{}
	for _, s := range starts {
		begins[s] = true
	}

	var groups []bson.D

	for i, field := range fields {
		if i == 0 || begins[i] {
			groups = append(groups, nil)
		}

		groups[len(groups)-1] = append(groups[len(groups)-1], field)
	}

	return groups
}

func TestFragmentsRefuseWhatDoesNotFollow(t *testing.T) {
	t.Parallel()

	whole := event.Event{Operation: event.Insert}
	one := bson.D{{Key: "operationType", Value: "insert"}}

	tests := map[string][]event.Event{
		"second first":         {fragment(t, 2, 3, one)},
		"a fragment missing":   {fragment(t, 1, 3, one), fragment(t, 3, 3, nil)},
		"of another event":     {fragment(t, 1, 3, one), fragment(t, 2, 4, nil)},
		"whole event between":  {fragment(t, 1, 3, one), whole},
		"first fragment again": {fragment(t, 1, 3, one), fragment(t, 1, 3, one)},
	}

	for name, events := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var (
				f   fragments
				err error
			)

			for _, e := range events {
				require.NoError(t, err)

				_, err = f.add(e)
			}

			require.ErrorIs(t, err, event.ErrMalformed)
		})
	}
}

func TestOneOfOneIsWhole(t *testing.T) {
	t.Parallel()

	var f fragments

	raw, err := bson.Marshal(bson.D{
		{Key: "operationType", Value: "drop"},
		{Key: "splitEvent", Value: bson.D{{Key: "fragment", Value: int32(1)}, {Key: "of", Value: int32(1)}}},
	})
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	whole, err := f.add(e)
	require.NoError(t, err)
	require.Equal(t, bson.Raw(raw), whole.Raw)
}
