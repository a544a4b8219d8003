package flow_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// newPair is a world whose target is another server.
func newPair(t *testing.T) (w *world, target *mongo.Database) {
	t.Helper()

	w = newWorld(t)
	server := mongotest.New(t, mongotest.Options{})
	w.env["TARGET_URI"] = server.URI().Reveal()
	w.env["DDL"] = "on"
	w.target = server.Client(t)

	return w, w.target.Database(w.db.Name())
}

func (w *world) catalog(t *testing.T, client *mongo.Client) []catalog.Collection {
	t.Helper()

	filter, err := event.ParseFilter([]string{w.db.Name() + ".*"}, nil)
	require.NoError(t, err)

	list, err := catalog.Read(t.Context(), client, filter)
	require.NoError(t, err)

	return list
}

func makeDefinitions(t *testing.T, db *mongo.Database) {
	t.Helper()

	positive := bson.D{{Key: "total", Value: bson.D{{Key: "$gt", Value: 0}}}}
	require.NoError(t, db.CreateCollection(t.Context(), "orders", options.CreateCollection().SetValidator(positive)))
	require.NoError(t, db.CreateCollection(t.Context(), "sessions"))
	require.NoError(t, db.CreateView(t.Context(), "open", "orders", bson.A{bson.D{{Key: "$match", Value: bson.D{{Key: "open", Value: true}}}}}))
	createIndex(t, db, "orders", options.Index().SetUnique(true))
	createIndex(t, db, "sessions", options.Index().SetExpireAfterSeconds(60))
}

func createIndex(t *testing.T, db *mongo.Database, coll string, o *options.IndexOptionsBuilder) {
	t.Helper()

	_, err := db.Collection(coll).Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "a", Value: 1}}, Options: o})
	require.NoError(t, err)
}

func TestInitMakesDefinitions(t *testing.T) {
	t.Parallel()

	w, target := newPair(t)
	makeDefinitions(t, w.db)
	createIndex(t, target, "sessions", options.Index().SetExpireAfterSeconds(5)) // expires otherwise: no difference
	require.NoError(t, target.CreateCollection(t.Context(), "mine"))

	made, err := w.init(t)
	require.NoError(t, err)
	require.Contains(t, made.Notes, "on the target only, left alone: "+w.db.Name()+".mine (collection)")

	differences := catalog.Compare(w.catalog(t, w.db.Client()), w.catalog(t, w.target))
	require.Len(t, differences, 1)
	require.True(t, differences[0].IsExtra())

	again, err := w.init(t)
	require.NoError(t, err)
	require.False(t, again.Created)
}

func TestInitLeavesIndexesAlone(t *testing.T) {
	t.Parallel()

	w, target := newPair(t)
	makeDefinitions(t, w.db)
	createIndex(t, target, "orders", options.Index()) // not unique
	require.NoError(t, target.Collection("orders").Drop(t.Context()))

	_, err := w.init(t, "INDEXES", "none")
	require.NoError(t, err)

	specs, err := catalog.Indexes(t.Context(), w.target, event.Namespace{DB: target.Name(), Coll: "orders"})
	require.NoError(t, err)
	require.Len(t, specs, 1)
}

func TestInitRefusesOtherDefinitions(t *testing.T) {
	t.Parallel()

	w, target := newPair(t)
	makeDefinitions(t, w.db)
	require.NoError(t, target.CreateCollection(t.Context(), "orders"))
	require.NoError(t, target.CreateCollection(t.Context(), "sessions"))
	createIndex(t, target, "sessions", options.Index())

	_, err := w.init(t)
	requireRefused(t, err, "the target has 2 definitions that differ",
		`orders: option validator differs: source {"total":{"$gt":0}}, target none`,
		`sessions: index a_1 differs: source {"expireAfterSeconds":"set","key":{"a":1},"name":"a_1"}, target {"key":{"a":1},"name":"a_1"}`)

	_, found, err := mongodb.FindCollection(t.Context(), w.target, target.Name(), "open")
	require.NoError(t, err)
	require.False(t, found, "nothing is made where something is refused")
}

// TestInitRefusesDefinitionsThatChange: what changes while the token is taken may
// lie before or behind it.
func TestInitRefusesDefinitionsThatChange(t *testing.T) {
	t.Parallel()

	w, _ := newPair(t)
	makeDefinitions(t, w.db)

	wire := mongotest.Shared(t).NewWire(t)
	w.env["SOURCE_URI"] = wire.Through(mongotest.Shared(t).URI()).Reveal()

	var once sync.Once

	wire.Before(func(c mongotest.Command) {
		if c.Name == "aggregate" { // the change stream that gives the token
			once.Do(func() { assert.NoError(t, w.db.CreateCollection(t.Context(), "restless")) })
		}
	})

	_, err := w.init(t)
	requireRefused(t, err, "change right now")
}
