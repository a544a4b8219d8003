package apply_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// shape is what a delta has to know about its document at the source.
type shape struct {
	exists bool
	object bool // field a is a document
	hasA   bool
	list   int // elements of the array list; -1: it is a number
}

// shapeless draws a history whose deltas do not fit earlier or later versions of their documents: fields change their
// type, vanish and come back, arrays are cut and grow.
func shapeless(t *rapid.T, ns event.Namespace) []apply.Change {
	shapes := map[int]*shape{}

	var changes []apply.Change

	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		id := rapid.IntRange(0, 3).Draw(t, "id")
		if shapes[id] == nil {
			shapes[id] = &shape{}
		}

		raw, err := bson.Marshal(append(shapes[id].change(t, id, n),
			bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
			bson.E{Key: "ns", Value: bson.D{{Key: "db", Value: ns.DB}, {Key: "coll", Value: ns.Coll}}}))
		require.NoError(t, err)

		e, err := event.Parse(raw)
		require.NoError(t, err)

		changes = append(changes, apply.Change{Event: e, Number: uint64(n + 1), Position: event.Position{T: uint32(n + 1)}})
	}

	return changes
}

func (s *shape) change(t *rapid.T, id, n int) bson.D {
	kinds := []string{"insert"}
	if s.exists {
		kinds = []string{"replace", "delete", "v", "no v", "a scalar", "a object", "list array", "list scalar"}
		if s.object {
			kinds = append(kinds, "a.b", "a.b")
		}

		if s.hasA {
			kinds = append(kinds, "no a")
		}

		if s.list > 0 {
			kinds = append(kinds, "cut", "element", "append")
		}
	}

	kind := rapid.SampledFrom(kinds).Draw(t, "operation")

	switch kind {
	case "insert", "replace":
		*s = shape{exists: true, object: true, hasA: true, list: 3}

		return bson.D{{Key: "operationType", Value: kind}, {Key: "fullDocument", Value: bson.D{
			{Key: "_id", Value: id}, {Key: "v", Value: n}, {Key: "list", Value: bson.A{n, n, n}}, {Key: "a", Value: bson.D{{Key: "b", Value: n}}},
		}}}
	case "delete":
		*s = shape{}

		return bson.D{{Key: "operationType", Value: kind}}
	default:
		return bson.D{{Key: "operationType", Value: "update"}, {Key: "updateDescription", Value: s.delta(kind, n)}}
	}
}

func (s *shape) delta(kind string, n int) bson.D {
	switch kind {
	case "no v":
		return unset("v")
	case "no a":
		s.hasA, s.object = false, false

		return unset("a")
	case "a scalar":
		s.hasA, s.object = true, false

		return set(bson.E{Key: "a", Value: n})
	case "a object":
		s.hasA, s.object = true, true

		return set(bson.E{Key: "a", Value: bson.D{{Key: "b", Value: n}}})
	case "a.b":
		return set(bson.E{Key: "a.b", Value: n})
	case "list array":
		s.list = 2

		return set(bson.E{Key: "list", Value: bson.A{n, n}})
	case "list scalar":
		s.list = -1

		return set(bson.E{Key: "list", Value: n})
	case "element":
		return set(bson.E{Key: "list." + strconv.Itoa(s.list-1), Value: n})
	case "append":
		s.list++

		return set(bson.E{Key: "list." + strconv.Itoa(s.list-1), Value: n})
	case "cut":
		s.list--

		return append(set(), bson.E{Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: "list"}, {Key: "newSize", Value: s.list}}}})
	default:
		return set(bson.E{Key: "v", Value: n})
	}
}

func unset(field string) bson.D {
	return bson.D{{Key: "updatedFields", Value: bson.D{}}, {Key: "removedFields", Value: bson.A{field}}}
}

// contents are the documents of a collection by _id, without the order of their fields: that is not promised of
// changes that were applied twice.
func contents(ctx context.Context, t require.TestingT, coll *mongo.Collection) map[int32]bson.M {
	cursor, err := coll.Find(ctx, bson.D{})
	require.NoError(t, err)

	var all []bson.M
	require.NoError(t, cursor.All(ctx, &all))

	byID := map[int32]bson.M{}

	for _, doc := range all {
		id, _ := doc["_id"].(int32)
		byID[id] = doc
	}

	return byID
}

func images(ctx context.Context, tb testing.TB, coll *mongo.Collection) map[event.Key]bson.Raw {
	tb.Helper()

	cursor, err := coll.Find(ctx, bson.D{})
	require.NoError(tb, err)

	all := map[event.Key]bson.Raw{}

	for cursor.Next(ctx) {
		key, err := event.NewKey(event.Namespace{DB: coll.Database().Name(), Coll: coll.Name()}, cursor.Current.Lookup("_id"))
		require.NoError(tb, err)

		all[key] = append(bson.Raw(nil), cursor.Current...)
	}

	require.NoError(tb, cursor.Err())

	return all
}
