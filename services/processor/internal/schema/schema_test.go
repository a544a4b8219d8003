package schema_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

func (w *world) there(name string) (mongodb.Collection, bool) {
	w.t.Helper()

	c, found, err := mongodb.FindCollection(w.t.Context(), w.target.Client(), w.target.Name(), name)
	require.NoError(w.t, err)

	return c, found
}

// index returns the definition of an index of the target.
func (w *world) index(coll, name string) catalog.Definition {
	w.t.Helper()

	specs, err := catalog.Indexes(w.t.Context(), w.target.Client(), event.Namespace{DB: w.target.Name(), Coll: coll})
	require.NoError(w.t, err)

	for _, spec := range specs {
		if spec.Lookup("name").StringValue() == name {
			return catalog.IndexDefinition(spec)
		}
	}

	return nil
}

func command(name, coll string, more ...bson.D) bson.D {
	all := field(name, coll)
	for _, d := range more {
		all = append(all, d...)
	}

	return all
}

func spec(name, key string, more ...bson.E) bson.D {
	return field("indexes", bson.A{append(bson.D{{Key: "key", Value: field(key, 1)}, {Key: "name", Value: name}}, more...)})
}

// TestWhatTheSourceTellsIsMade replays the events of a real source, each change twice.
func TestWhatTheSourceTellsIsMade(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	ns := func(coll string) string { return w.source.Name() + "." + coll }

	for _, c := range []bson.D{
		command("create", "a", field("validator", field("x", 1)), field("validationLevel", "moderate")),
		command("create", "b.c ключ", field("collation", bson.D{{Key: "locale", Value: "fr"}, {Key: "strength", Value: 2}})),
		command("create", "log", field("capped", true), field("size", 4096), field("max", 5)),
		command("create", "clustered", field("clusteredIndex", bson.D{{Key: "key", Value: field("_id", 1)}, {Key: "unique", Value: true}}), field("expireAfterSeconds", 60)),
		command("createIndexes", "a", spec("x $1.", "x", bson.E{Key: "unique", Value: true}, bson.E{Key: "sparse", Value: true})),
		command("createIndexes", "a", spec("ttl", "t", bson.E{Key: "expireAfterSeconds", Value: 60})),
		command("createIndexes", "b.c ключ", spec("inherits", "y")),
		command("createIndexes", "b.c ключ", spec("simple", "y", bson.E{Key: "collation", Value: field("locale", "simple")})),
		command("createIndexes", "log", spec("away", "z")),
		command("dropIndexes", "log", field("index", "away")),
		command("collMod", "a", field("validator", field("x", 2)), field("validationAction", "warn")),
		command("collMod", "log", field("changeStreamPreAndPostImages", field("enabled", true))),
		command("renameCollection", ns("a"), field("to", ns("log")), field("dropTarget", true)),
		command("renameCollection", ns("b.c ключ"), field("to", ns("fresh"))),
		command("create", "a"),
		command("drop", "a"),
		command("create", "a"),
	} {
		w.run(c)
		w.make(w.next())
	}

	read := func(db *mongo.Database) []catalog.Collection {
		filter, err := event.ParseFilter([]string{db.Name() + ".*"}, nil)
		require.NoError(t, err)

		list, err := catalog.Read(t.Context(), db.Client(), filter)
		require.NoError(t, err)

		for i := range list {
			list[i].DB = "shop"
		}

		return list
	}

	source := read(w.source)
	require.Len(t, source, 4)
	require.Empty(t, catalog.Compare(source, read(w.target)))
}

// TestViewsAndIndexesAreModified: the stand-in's events do not tell these (mongotest.Features), mongod's do.
func TestViewsAndIndexesAreModified(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	match := func(v int) bson.D { return field("pipeline", bson.A{field("$match", field("v", v))}) }

	w.make(w.told(event.Create, "base", bson.D{}))
	w.make(w.told(event.Create, "view", append(field("viewOn", "base"), match(1)...)))
	w.make(w.told(event.Modify, "view", append(field("viewOn", "base"), match(2)...)))

	view, found := w.there("view")
	require.True(t, found)
	require.JSONEq(t, `{"pipeline":[{"$match":{"v":2}}],"viewOn":"base"}`, catalog.CollectionDefinition(view.Options).String())

	w.make(w.told(event.CreateIndexes, "base", spec("i", "a")))

	index := func(changes ...bson.E) {
		w.make(w.told(event.Modify, "base", field("index", append(field("name", "i"), changes...))))
	}
	index(bson.E{Key: "hidden", Value: true})
	index(bson.E{Key: "expireAfterSeconds", Value: int64(60)})
	index(bson.E{Key: "prepareUnique", Value: true})
	index(bson.E{Key: "unique", Value: true})
	require.JSONEq(t, `{"expireAfterSeconds":"set","hidden":true,"key":{"a":1},"name":"i","unique":true}`, w.index("base", "i").String())

	w.make(w.told(event.Drop, "view", nil))

	_, found = w.there("view")
	require.False(t, found)
	w.make(w.told(event.DropDatabase, "", nil))

	_, found = w.there("base")
	require.False(t, found)
}

// TestASecondRunLeavesAloneWhatCameLater: an owner that froze before its command wakes up when others have gone on.
func TestASecondRunLeavesAloneWhatCameLater(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	create := func(name string) { w.make(w.told(event.Create, name, bson.D{})) }
	to := bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "x"}, {Key: "coll", Value: "b"}}}
	replaces := field("dropTarget", bson.Binary{Subtype: bson.TypeBinaryUUID, Data: make([]byte, 16)})
	again := func(c *schema.Change, before bson.Raw) error { return w.executor.Execute(t.Context(), c, before) }

	create("a")

	drop, dropAll := w.told(event.Drop, "a", nil), w.told(event.DropDatabase, "", nil)
	beforeDrop, beforeAll := w.prepare(drop), w.prepare(dropAll)
	require.NoError(t, again(drop, beforeDrop))
	create("a")

	made, _ := w.there("a")
	require.NoError(t, again(drop, beforeDrop))
	require.NoError(t, again(dropAll, beforeAll))

	kept, found := w.there("a")
	require.True(t, found, "a drop hit what was made after it")
	require.Equal(t, made.UUID, kept.UUID)

	create("b")

	rename := w.told(event.Rename, "a", replaces, to)
	beforeRename := w.prepare(rename)
	require.NoError(t, again(rename, beforeRename))
	create("a")
	require.NoError(t, again(rename, beforeRename))

	renamed, _ := w.there("b")
	require.Equal(t, made.UUID, renamed.UUID, "a rename hit what was made after it")

	_, found = w.there("a")
	require.True(t, found)
}

func TestWhatIsThereButDifferentIsAConflict(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	elsewhere := bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "x"}, {Key: "coll", Value: "taken"}}}

	w.make(w.told(event.Create, "taken", field("validator", field("a", 1))))
	w.make(w.told(event.Create, "plain", bson.D{}))
	w.make(w.told(event.CreateIndexes, "plain", spec("i", "a")))

	for name, test := range map[string]struct {
		change     *schema.Change
		want, have string
	}{
		"other options":           {w.told(event.Create, "taken", field("validator", field("a", 2))), `{"validator":{"a":2}}`, `collection {"validator":{"a":1}}`},
		"a view instead":          {w.told(event.Create, "plain", field("viewOn", "taken")), `{"viewOn":"taken"}`, `collection {}`},
		"another index":           {w.told(event.CreateIndexes, "plain", spec("i", "b")), `{"key":{"b":1},"name":"i"}`, `{"key":{"a":1},"name":"i"}`},
		"indexes of nothing":      {w.told(event.CreateIndexes, "nothing", spec("i", "a")), "createIndexes i of " + w.target.Name() + ".nothing", ""},
		"changes of nothing":      {w.told(event.Modify, "nothing", bson.D{}), "modify of " + w.target.Name() + ".nothing", ""},
		"a rename of nothing":     {w.told(event.Rename, "nothing", nil, elsewhere), "rename of " + w.target.Name() + ".nothing to " + w.target.Name() + ".taken", ""},
		"a name that is not free": {w.told(event.Rename, "plain", nil, elsewhere), "rename of " + w.target.Name() + ".plain to " + w.target.Name() + ".taken", "one of that name"},
	} {
		var conflict *schema.ConflictError
		require.ErrorAs(t, w.fails(test.change), &conflict, name)
		require.Equal(t, test.want, conflict.Want, name)
		require.Equal(t, test.have, conflict.Have, name)
	}

	_, found := w.there("nothing")
	require.False(t, found, "an index command made a collection")
	w.make(w.told(event.DropIndexes, "nothing", spec("i", "a")))
	w.make(w.told(event.DropIndexes, "plain", field("indexes", bson.A{field("name", "gone"), field("name", "i")})))
	require.Nil(t, w.index("plain", "i"))
}

func TestDuplicatesUnderAUniqueIndexAreTheChangesOwnFault(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.make(w.told(event.Create, "c", bson.D{}))

	_, err := w.target.Collection("c").InsertMany(t.Context(), []any{field("a", 1), field("a", 1)})
	require.NoError(t, err)
	require.True(t, mongodb.IsDuplicateKey(w.fails(w.told(event.CreateIndexes, "c", spec("i", "a", bson.E{Key: "unique", Value: true})))))
	require.Nil(t, w.index("c", "i"))
}

func TestTroubleOfTheTargetIsNobodysFault(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.make(w.told(event.Create, "c", bson.D{}))

	drop := w.told(event.Drop, "c", nil)
	before := w.prepare(drop)

	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()

	err := w.executor.Execute(late, drop, before)
	require.Error(t, err)
	require.False(t, schema.IsOwn(err), err)
	require.True(t, mongodb.IsTransient(err), err)
	require.False(t, schema.IsOwn(errors.New("the program is wrong")))
	require.False(t, schema.IsOwn(mongo.CommandError{Code: 189, Message: "an election"}))
	require.False(t, schema.IsOwn(mongo.CommandError{Code: 13, Message: "no rights"}))
	require.True(t, schema.IsOwn(mongo.CommandError{Code: 67, Message: "cannot create index"}))

	_, found := w.there("c")
	require.True(t, found)
}

// TestCommandsSayWhichCollectionTheyAreMeantFor: a late one is refused by the server, and none waits longer than its owner.
func TestCommandsSayWhichCollectionTheyAreMeantFor(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	server := mongotest.Shared(t)
	wire := server.NewWire(t)

	client, err := mongodb.Connect(wire.Through(server.URI()), mongodb.Options{})
	require.NoError(t, err)

	defer func() { require.NoError(t, mongodb.Disconnect(t.Context(), client)) }()

	w.executor = schema.New(client, schema.Options{})

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	w.make(w.told(event.Create, "c", bson.D{}))
	made, _ := w.there("c")

	for _, c := range []*schema.Change{
		w.told(event.CreateIndexes, "c", spec("i", "a")),
		w.told(event.DropIndexes, "c", spec("i", "a")),
		w.told(event.Modify, "c", field("validator", bson.D{})),
		w.told(event.Rename, "c", nil, bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "x"}, {Key: "coll", Value: "d"}}}),
		w.told(event.Drop, "d", nil),
	} {
		require.NoError(t, w.executor.Execute(ctx, c, w.prepare(c)), c)
	}

	told := map[string]bool{}

	for _, c := range wire.Commands() {
		switch c.Name {
		case "createIndexes", "dropIndexes", "collMod", "renameCollection", "drop":
			if told[c.Name] {
				continue // again without the UUID, for a server that does not know the field
			}

			told[c.Name] = true

			_, uuid := c.Body.Lookup("collectionUUID").Binary()
			require.Equal(t, made.UUID[:], uuid, c.Name)
			require.LessOrEqual(t, c.Body.Lookup("maxTimeMS").AsInt64(), patience.Milliseconds(), c.Name)
			require.Equal(t, "majority", c.Body.Lookup("writeConcern", "w").StringValue(), c.Name)
		}
	}

	require.Len(t, told, 5)
}
