package catalog_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
)

func raw(t *testing.T, doc bson.D) bson.Raw {
	t.Helper()

	b, err := bson.Marshal(doc)
	require.NoError(t, err)

	return b
}

func field(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }

func join(docs ...bson.D) bson.D {
	var all bson.D
	for _, d := range docs {
		all = append(all, d...)
	}

	return all
}

func TestCollectionsThatMeanTheSame(t *testing.T) {
	t.Parallel()

	french := join(field("locale", "fr"), field("strength", 2))

	for name, pair := range map[string][2]bson.D{
		"nothing said": {field("capped", false), {}},
		"no validator": {join(field("validator", bson.D{}), field("validationLevel", "strict"), field("validationAction", "error")), {}},
		"the server's own": {
			join(field("uuid", "x"), field("idIndex", bson.D{}), field("temp", true), field("recordIdsReplicated", true)), {},
		},
		"how it is stored": {field("storageEngine", field("wiredTiger", bson.D{})), {}},
		"numbers":          {join(field("capped", true), field("size", int64(4096))), join(field("capped", true), field("size", 4096.0))},
		"the order":        {join(field("size", 1), field("max", 2)), join(field("max", 2), field("size", 1))},
		"simple collation": {field("collation", field("locale", "simple")), {}},
		"collation written out": {
			field("collation", join(french, field("caseLevel", false), field("backwards", false), field("version", "57.1"))),
			field("collation", french),
		},
		"when it expires": {field("expireAfterSeconds", 60), field("expireAfterSeconds", int64(catalog.DormantCollection))},
		"an empty view":   {join(field("viewOn", "a"), field("pipeline", bson.A{})), field("viewOn", "a")},
		"the clustered index's version": {
			field("clusteredIndex", join(field("v", 2), field("key", field("_id", 1)), field("unique", true))),
			field("clusteredIndex", join(field("key", field("_id", 1)), field("unique", true))),
		},
	} {
		a, b := catalog.CollectionDefinition(raw(t, pair[0])), catalog.CollectionDefinition(raw(t, pair[1]))
		require.Equal(t, a, b, name)
		require.Equal(t, a.String(), b.String(), name)
	}
}

func TestIndexesThatMeanTheSame(t *testing.T) {
	t.Parallel()

	key := field("key", field("a", 1))

	for name, pair := range map[string][2]bson.D{
		"nothing said":    {join(key, field("unique", false), field("sparse", false), field("hidden", false), field("prepareUnique", false)), key},
		"numbers":         {field("key", field("a", 1.0)), field("key", field("a", int64(1)))},
		"built elsewhere": {join(key, field("v", 1), field("background", true), field("ns", "a.b")), join(key, field("v", 2))},
		"when it expires": {join(key, field("expireAfterSeconds", 60)), join(key, field("expireAfterSeconds", catalog.DormantIndex))},
		"text": {
			join(field("key", join(field("_fts", "text"), field("_ftsx", 1))), field("weights", field("s", 1)),
				field("default_language", "english"), field("language_override", "language"), field("textIndexVersion", 3)),
			join(field("key", join(field("_fts", "text"), field("_ftsx", 1))), field("weights", field("s", int64(1)))),
		},
	} {
		require.Equal(t, catalog.IndexDefinition(raw(t, pair[0])), catalog.IndexDefinition(raw(t, pair[1])), name)
	}
}

func TestDefinitionsThatDiffer(t *testing.T) {
	t.Parallel()

	for name, pair := range map[string][2]bson.D{
		"a validator":             {field("validator", field("a", 1)), field("validator", field("a", 2))},
		"its level":               {field("validationLevel", "off"), {}},
		"the order of a pipeline": {field("pipeline", bson.A{1, 2}), field("pipeline", bson.A{2, 1})},
		"an expiry":               {field("expireAfterSeconds", 60), {}},
		"pre-images":              {field("changeStreamPreAndPostImages", field("enabled", true)), {}},
		"a collation": {
			field("collation", join(field("locale", "fr"), field("strength", 2))), field("collation", field("locale", "fr")),
		},
		"what nobody knows yet": {field("somethingNew", 1), {}},
		"types":                 {field("validator", field("a", "1")), field("validator", field("a", 1))},
		"large numbers":         {field("size", int64(1<<53)), field("size", int64(1<<53+1))},
	} {
		require.NotEqual(t, catalog.CollectionDefinition(raw(t, pair[0])), catalog.CollectionDefinition(raw(t, pair[1])), name)
	}

	up, down := field("key", join(field("a", 1), field("b", -1))), field("key", join(field("b", -1), field("a", 1)))
	require.NotEqual(t, catalog.IndexDefinition(raw(t, up)), catalog.IndexDefinition(raw(t, down)), "the order of fields")
	require.NotEqual(t, catalog.IndexDefinition(raw(t, up)), catalog.IndexDefinition(raw(t, join(up, field("unique", true)))), "unique")
}

// TestCommands: what a target is told is what the source has, less what is its
// own business.
func TestCommands(t *testing.T) {
	t.Parallel()

	simple := field("collation", field("locale", "simple"))
	index := raw(t, join(field("v", 2), field("unique", true), field("expireAfterSeconds", 60), field("key", field("a", 1)), field("name", "a_1")))
	require.Equal(t,
		raw(t, join(field("createIndexes", "c"), field("indexes", bson.A{join(field("unique", true),
			field("expireAfterSeconds", int64(1<<31-1)), field("key", field("a", 1)), field("name", "a_1"), simple)}))),
		raw(t, catalog.IndexCommand("c", []bson.Raw{index})))

	options := raw(t, join(field("clusteredIndex", field("unique", true)), field("expireAfterSeconds", 60),
		field("collation", join(field("locale", "fr"), field("version", "57.1"))), field("idIndex", bson.D{})))
	require.Equal(t,
		raw(t, join(field("create", "c"), field("clusteredIndex", field("unique", true)), field("expireAfterSeconds", int64(1_700_000_000)),
			field("collation", field("locale", "fr")))),
		raw(t, catalog.CreateCommand("c", options)))

	for name, c := range map[string]struct{ changes, command bson.D }{
		"an index's expiry": {
			field("index", join(field("name", "a_1"), field("expireAfterSeconds", 60))),
			field("index", join(field("name", "a_1"), field("expireAfterSeconds", int64(1<<31-1)))),
		},
		"an expiry":              {field("expireAfterSeconds", int64(60)), field("expireAfterSeconds", int64(1_700_000_000))},
		"a longer one":           {field("expireAfterSeconds", int64(1_750_000_000)), field("expireAfterSeconds", int64(1_750_000_000))},
		"no expiry":              {field("expireAfterSeconds", "off"), field("expireAfterSeconds", "off")},
		"what it said of itself": {join(field("validator", bson.D{}), field("collectionUUID", "x")), field("validator", bson.D{})},
	} {
		require.Equal(t, raw(t, join(field("collMod", "c"), c.command)), raw(t, catalog.ModifyCommand("c", raw(t, c.changes))), name)
	}
}
