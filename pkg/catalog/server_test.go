package catalog_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func run(t *testing.T, db *mongo.Database, command bson.D) {
	t.Helper()
	require.NoError(t, db.RunCommand(t.Context(), command).Err(), command)
}

func create(t *testing.T, db *mongo.Database, name string, options ...bson.D) {
	t.Helper()
	run(t, db, append(field("create", name), join(options...)...))
}

func index(t *testing.T, db *mongo.Database, coll, name string, spec ...bson.D) {
	t.Helper()
	run(t, db, join(field("createIndexes", coll), field("indexes", bson.A{append(field("name", name), join(spec...)...)})))
}

// long is as long as a name may be: 255 bytes with the database's (db.name).
func long(db *mongo.Database) string { return strings.Repeat("я", (255-len(db.Name())-1)/2) }

// fill makes one collection of each kind.
func fill(t *testing.T, db *mongo.Database) {
	t.Helper()

	key := func(f string) bson.D { return field("key", field(f, 1)) }

	create(t, db, "plain")
	create(t, db, "checked", field("validator", field("a", field("$gt", 1))), field("validationLevel", "moderate"),
		field("validationAction", "warn"), field("changeStreamPreAndPostImages", field("enabled", true)))
	create(t, db, "collated", field("collation", join(field("locale", "fr"), field("strength", 2))))
	create(t, db, "capped", field("capped", true), field("size", 4096), field("max", 10))
	create(t, db, "clustered", field("clusteredIndex", join(field("key", field("_id", 1)), field("unique", true))), field("expireAfterSeconds", 3600))
	create(t, db, "view", field("viewOn", "plain"), field("pipeline", bson.A{field("$match", field("a", 1))}))

	for _, name := range []string{"with.dots..in it", " blanks ", "コレクション", long(db)} {
		create(t, db, name)
		index(t, db, name, name[:len(name)/2]+"$.x", key("a.b"))
	}

	index(t, db, "plain", "a_1", key("a"))
	index(t, db, "plain", "unique", key("u"), field("unique", true), field("sparse", true))
	index(t, db, "plain", "partial", key("p"), field("partialFilterExpression", field("p", field("$gt", 1))))
	index(t, db, "plain", "ttl", key("t"), field("expireAfterSeconds", 3600))
	index(t, db, "plain", "hidden", key("h"), field("hidden", true))
	index(t, db, "plain", "german", key("c"), field("collation", field("locale", "de")))
	index(t, db, "plain", "wild", key("$**"), field("wildcardProjection", field("x", 1)))
	index(t, db, "plain", "sphere", field("key", field("g", "2dsphere")))
	index(t, db, "plain", "both ways", field("key", join(field("m", 1), field("n", -1))))
	index(t, db, "collated", "inherits", key("c"))
	index(t, db, "collated", "simple", key("d"), field("collation", field("locale", "simple")))
}

func read(t *testing.T, db *mongo.Database) []catalog.Collection {
	t.Helper()

	filter, err := event.ParseFilter([]string{db.Name() + ".*"}, nil)
	require.NoError(t, err)

	list, err := catalog.Read(t.Context(), db.Client(), filter)
	require.NoError(t, err)

	for i := range list {
		list[i].DB = "shop" // two databases of one server stand for those of two
	}

	return list
}

func copyTo(t *testing.T, db *mongo.Database, list []catalog.Collection) {
	t.Helper()

	for i := range list {
		ns := event.Namespace{DB: db.Name(), Coll: list[i].Name}
		require.NoError(t, catalog.EnsureCollection(t.Context(), db.Client(), ns, list[i].Options))
		require.NoError(t, catalog.EnsureIndexes(t.Context(), db.Client(), ns, event.UUID{}, list[i].Indexes))
	}
}

func TestACopyOfACatalogIsEqual(t *testing.T) {
	t.Parallel()

	source, target := mongotest.DB(t), mongotest.DB(t)
	fill(t, source)

	list := read(t, source)
	require.Len(t, list, 10)
	copyTo(t, target, list)
	require.Empty(t, catalog.Compare(list, read(t, target)))
	copyTo(t, target, list) // what is there stays
	require.Empty(t, catalog.Compare(list, read(t, target)))

	require.Equal(t, []catalog.Expiry{
		{Namespace: event.Namespace{DB: "shop", Coll: "clustered"}, Source: 3600, Target: catalog.DormantCollection, Dormant: true},
		{Namespace: event.Namespace{DB: "shop", Coll: "plain"}, Index: "ttl", Source: 3600, Target: catalog.DormantIndex, Dormant: true},
	}, catalog.Expiries(list, read(t, target)))
	require.Equal(t, []bool{false, false}, []bool{catalog.Expiries(list, list)[0].Dormant, catalog.Expiries(list, list)[1].Dormant})

	for _, c := range read(t, target) {
		for _, spec := range c.Indexes {
			if seconds, ok := spec.Lookup("expireAfterSeconds").AsInt64OK(); ok && c.Name == "plain" {
				require.Equal(t, int64(catalog.DormantIndex), seconds)
			}
		}

		if c.Name == "clustered" {
			require.Equal(t, int64(catalog.DormantCollection), c.Options.Lookup("expireAfterSeconds").AsInt64())
		}
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	t.Parallel()

	source, target := mongotest.DB(t), mongotest.DB(t)

	create(t, source, "missing")
	create(t, target, "extra")
	create(t, source, "both", field("validator", field("a", 1)), field("capped", true), field("size", 4096))
	create(t, target, "both", field("validator", field("a", 2)))
	create(t, source, "view")
	create(t, target, "view", field("viewOn", "both"))
	index(t, source, "both", "a_1", field("key", field("a", 1)), field("unique", true))
	index(t, target, "both", "a_1", field("key", field("a", 1)))
	index(t, source, "both", "b_1", field("key", field("b", 1)))
	index(t, target, "both", "c_1", field("key", field("c", 1)))

	var said, missing, extra []string

	for _, d := range catalog.Compare(read(t, source), read(t, target)) {
		said = append(said, d.String())

		if d.IsMissing() {
			missing = append(missing, d.What)
		}

		if d.IsExtra() {
			extra = append(extra, d.What)
		}
	}

	require.Equal(t, []string{
		`shop.both: option capped differs: source true, target none`,
		`shop.both: option size differs: source 4096, target none`,
		`shop.both: option validator differs: source {"a":1}, target {"a":2}`,
		`shop.both: index a_1 differs: source {"key":{"a":1},"name":"a_1","unique":true}, target {"key":{"a":1},"name":"a_1"}`,
		`shop.both: index b_1 is missing on the target: {"key":{"b":1},"name":"b_1"}`,
		`shop.both: index c_1 is on the target only: {"key":{"c":1},"name":"c_1"}`,
		`shop.extra: collection is on the target only: {}`,
		`shop.missing: collection is missing on the target: {}`,
		`shop.view: option type differs: source collection, target view`,
		`shop.view: option viewOn differs: source none, target "both"`,
	}, said)
	a := catalog.Compare(read(t, source), read(t, target))[3]
	require.Equal(t, [2]string{"index", "a_1"}, [2]string{a.Kind(), a.Name()})
	require.Equal(t, []catalog.OptionDifference{{Name: "unique", Source: "true"}}, a.Options)

	require.Equal(t, []string{"index b_1", "collection"}, missing)
	require.Equal(t, []string{"index c_1", "collection"}, extra)
}

func TestWhatIsThereButDifferentIsAConflict(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)
	client := db.Client()
	ns := event.Namespace{DB: db.Name(), Coll: "c"}
	create(t, db, "c", field("validator", field("a", 1)))
	index(t, db, "c", "a_1", field("key", field("a", 1)))

	var conflict *catalog.ConflictError

	require.ErrorAs(t, catalog.EnsureCollection(t.Context(), client, ns, raw(t, field("validator", field("a", 2)))), &conflict)
	require.JSONEq(t, `{"validator":{"a":2}}`, conflict.Want)
	require.Equal(t, `collection {"validator":{"a":1}}`, conflict.Have)

	for name, spec := range map[string]bson.D{
		"other options":  join(field("key", field("a", 1)), field("name", "a_1"), field("unique", true)),
		"other key":      join(field("key", field("b", 1)), field("name", "a_1")),
		"the key's name": join(field("key", field("a", 1)), field("name", "another")),
	} {
		err := catalog.EnsureIndexes(t.Context(), client, ns, event.UUID{}, []bson.Raw{raw(t, spec)})
		require.ErrorAs(t, err, &conflict, name)
		require.JSONEq(t, `{"key":{"a":1},"name":"a_1"}`, conflict.Have, name)
	}
}
