package apply_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// FuzzEvent takes any event from its bytes to the writes that it means: an error of its own, or writes. Nothing else, as
// the bytes may be a stranger's.
func FuzzEvent(f *testing.F) {
	key := bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: 1}}}
	ns := bson.E{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}}

	for _, e := range []bson.D{
		{{Key: "operationType", Value: "insert"}, ns, key, {Key: "fullDocument", Value: bson.D{{Key: "_id", Value: 1}}}},
		{{Key: "operationType", Value: "update"}, ns, key, {Key: "updateDescription", Value: bson.D{
			{Key: "updatedFields", Value: bson.D{{Key: "a.0", Value: 1}}},
			{Key: "removedFields", Value: bson.A{"b"}},
			{Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: "c"}, {Key: "newSize", Value: 1}}}},
			{Key: "disambiguatedPaths", Value: bson.D{{Key: "a.0", Value: bson.A{"a", "0"}}}},
		}}},
		{{Key: "operationType", Value: "delete"}, ns, key},
		{{Key: "operationType", Value: "createIndexes"}, ns, {Key: "operationDescription", Value: bson.D{{Key: "indexes", Value: bson.A{bson.D{{Key: "name", Value: "a_1"}}}}}}},
		{{Key: "operationType", Value: "modify"}, ns, {Key: "operationDescription", Value: bson.D{{Key: "index", Value: bson.D{{Key: "name", Value: "a_1"}}}}}},
		{{Key: "operationType", Value: "rename"}, ns, {Key: "to", Value: bson.D{{Key: "db", Value: "a"}, {Key: "coll", Value: "b"}}}},
	} {
		raw, err := bson.Marshal(e)
		require.NoError(f, err)
		f.Add(raw)
	}

	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Parse(raw)
		if err != nil {
			return
		}

		for _, plan := range []func([]apply.Change) (*apply.Plan, error){apply.NewPlan, apply.NewOrderedPlan} {
			if _, err := plan([]apply.Change{{Event: e, Number: 1}, {Event: e, Number: 2}}); err != nil {
				require.ErrorAs(t, err, new(*apply.EventError))
			}
		}

		if _, err := schema.Parse(&e); err != nil {
			require.True(t, errors.Is(err, event.ErrMalformed) || errors.Is(err, schema.ErrUnsupported), "%v", err)
		}
	})
}
