package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

func (w *world) there(name string) (mongodb.Collection, bool) {
	w.t.Helper()

	c, found, err := mongodb.FindCollection(w.t.Context(), w.target.Client(), w.target.Name(), name)
	require.NoError(w.t, err)

	return c, found
}

func TestCreateRenameDrop(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.run(bson.D{{Key: "create", Value: "a"}, {Key: "validator", Value: bson.D{{Key: "x", Value: 1}}}})
	w.run(bson.D{{Key: "create", Value: "b"}})
	w.run(bson.D{{Key: "createIndexes", Value: "a"}, {Key: "indexes", Value: bson.A{
		bson.D{{Key: "key", Value: bson.D{{Key: "x", Value: 1}}}, {Key: "name", Value: "x_1"}, {Key: "unique", Value: true}},
	}}})
	w.run(bson.D{
		{Key: "renameCollection", Value: w.source.Name() + ".a"}, {Key: "to", Value: w.source.Name() + ".b"}, {Key: "dropTarget", Value: true},
	})
	w.run(bson.D{{Key: "drop", Value: "b"}})

	for range 3 {
		w.make(w.next())
	}

	a, found := w.there("a")
	require.True(t, found)

	w.make(w.next())

	b, found := w.there("b")
	require.True(t, found)
	require.Equal(t, a.UUID, b.UUID)

	drop := w.next()
	before := w.prepare(drop)
	require.NoError(t, w.executor.Execute(t.Context(), drop, before))

	_, found = w.there("b")
	require.False(t, found)

	w.make(w.told(event.Create, "b", bson.D{}))
	require.NoError(t, w.executor.Execute(t.Context(), drop, before))

	_, found = w.there("b")
	require.True(t, found, "a drop that runs again leaves what was made after it")
}

func TestRenameOfWhatIsMissingIsAConflict(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	rename := w.told(event.Rename, "a", bson.D{}, bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "x"}, {Key: "coll", Value: "b"}}})

	var conflict *schema.ConflictError
	require.ErrorAs(t, w.fails(rename), &conflict)
}
