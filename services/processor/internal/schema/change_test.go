package schema_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

func field(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }

// indexes describes indexes by their names.
func indexes(names ...string) bson.D {
	list := make(bson.A, len(names))
	for i, name := range names {
		list[i] = bson.D{{Key: "v", Value: 2}, {Key: "key", Value: field(name, 1)}, {Key: "name", Value: name}}
	}

	return field("indexes", list)
}

// parse reads an event of shop.orders with these fields more.
func parse(t *testing.T, operation event.Operation, more ...bson.E) (schema.Change, error) {
	t.Helper()

	told := bson.D{{Key: "operationType", Value: operation}}
	ns := bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}

	if operation == event.DropDatabase {
		ns = ns[:1]
	}

	raw, err := bson.Marshal(append(append(told, bson.E{Key: "ns", Value: ns}), more...))
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	return schema.Parse(&e)
}

func described(description bson.D) bson.E {
	return bson.E{Key: "operationDescription", Value: description}
}

func renamed(coll string) bson.E {
	return bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: coll}}}
}

func must(t *testing.T, operation event.Operation, more ...bson.E) *schema.Change {
	t.Helper()

	c, err := parse(t, operation, more...)
	require.NoError(t, err)

	return &c
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		operation event.Operation
		more      []bson.E
		want      error
	}{
		"another operation":         {"shardCollection", nil, schema.ErrUnsupported},
		"a document's":              {event.Delete, []bson.E{{Key: "documentKey", Value: field("_id", 1)}}, schema.ErrUnsupported},
		"a time series":             {event.Create, []bson.E{described(field("timeseries", field("timeField", "t")))}, schema.ErrUnsupported},
		"one of an older server":    {event.Create, []bson.E{described(field("viewOn", "system.buckets.orders"))}, schema.ErrUnsupported},
		"one by its kind":           {event.Create, []bson.E{described(bson.D{}), {Key: "nsType", Value: "timeseries"}}, schema.ErrUnsupported},
		"a changed time series":     {event.Modify, []bson.E{described(field("timeseries", field("granularity", "hours")))}, schema.ErrUnsupported},
		"an encrypted collection":   {event.Create, []bson.E{described(field("encryptedFields", bson.D{}))}, schema.ErrUnsupported},
		"a rename to nothing":       {event.Rename, nil, event.ErrMalformed},
		"a rename to a database":    {event.Rename, []bson.E{renamed("")}, event.ErrMalformed},
		"no indexes":                {event.CreateIndexes, []bson.E{described(field("indexes", bson.A{}))}, event.ErrMalformed},
		"no description of indexes": {event.DropIndexes, nil, event.ErrMalformed},
		"an index without a name":   {event.DropIndexes, []bson.E{described(field("indexes", bson.A{field("v", 2)}))}, event.ErrMalformed},
		"an index that is none":     {event.CreateIndexes, []bson.E{described(field("indexes", bson.A{1}))}, event.ErrMalformed},
		"no description of changes": {event.Modify, nil, event.ErrMalformed},
	} {
		_, err := parse(t, test.operation, test.more...)
		require.ErrorIs(t, err, test.want, name)
	}
}

func TestWhatAChangeSaysOfItself(t *testing.T) {
	t.Parallel()

	require.Equal(t, "drop of shop.orders", must(t, event.Drop).String())
	require.Equal(t, "dropDatabase of shop", must(t, event.DropDatabase).String())
	require.Equal(t, "rename of shop.orders to shop.old", must(t, event.Rename, renamed("old")).String())
	require.Equal(t, "createIndexes a, b of shop.orders", must(t, event.CreateIndexes, described(indexes("a", "b"))).String())
}

func TestWhichDocumentsAreConcerned(t *testing.T) {
	t.Parallel()

	orders, items, old := event.Namespace{DB: "shop", Coll: "orders"}, event.Namespace{DB: "shop", Coll: "items"}, event.Namespace{DB: "shop", Coll: "old"}
	elsewhere := event.Namespace{DB: "shelf", Coll: "orders"}

	for name, test := range map[string]struct {
		change *schema.Change
		drops  []event.Namespace
		moves  []event.Namespace
	}{
		"drop":         {must(t, event.Drop), []event.Namespace{orders}, nil},
		"dropDatabase": {must(t, event.DropDatabase), []event.Namespace{orders, items, old}, nil},
		"rename":       {must(t, event.Rename, renamed("old")), []event.Namespace{old}, []event.Namespace{orders}},
		"create":       {must(t, event.Create, described(bson.D{})), nil, nil},
		"index":        {must(t, event.CreateIndexes, described(indexes("a"))), nil, nil},
		"modify":       {must(t, event.Modify, described(bson.D{})), nil, nil},
	} {
		for _, ns := range []event.Namespace{orders, items, old, elsewhere} {
			to, moves := test.change.Moves(ns)
			require.Equal(t, slices.Contains(test.moves, ns), moves, "%s moves %s", name, ns)
			require.Equal(t, slices.Contains(test.drops, ns), test.change.Drops(ns), "%s drops %s", name, ns)
			require.Equal(t, moves || test.change.Drops(ns), test.change.Concerns(ns), "%s concerns %s", name, ns)

			if moves {
				require.Equal(t, old, to)
			}
		}
	}
}

func TestWhatIsSuperseded(t *testing.T) {
	t.Parallel()

	create, drop := must(t, event.Create, described(bson.D{})), must(t, event.Drop)
	build, both := must(t, event.CreateIndexes, described(indexes("a"))), must(t, event.CreateIndexes, described(indexes("a", "b")))
	unbuild := must(t, event.DropIndexes, described(indexes("a")))
	hide := must(t, event.Modify, described(field("index", bson.D{{Key: "name", Value: "a"}, {Key: "hidden", Value: true}})))
	away := must(t, event.Rename, renamed("old"))
	foreign := must(t, event.Create, described(bson.D{}))
	foreign.Namespace.Coll = "items"

	for _, test := range []struct {
		later, earlier *schema.Change
		want           bool
	}{
		{drop, create, true},
		{drop, build, true},
		{drop, hide, true},
		{drop, foreign, false},
		{must(t, event.DropDatabase), foreign, true},
		{drop, away, false}, // the collection that it did not rename is still there
		{unbuild, build, true},
		{unbuild, both, false}, // b is still to be built
		{unbuild, hide, true},
		{unbuild, create, false},
		{away, create, false},
		{must(t, event.Rename, renamed("items")), foreign, true},
		{create, create, false},
	} {
		require.Equal(t, test.want, test.later.Supersedes(test.earlier), "%s, earlier %s", test.later, test.earlier)
	}

	for _, once := range []*schema.Change{drop, away, must(t, event.DropDatabase)} {
		require.False(t, once.Repeatable(), once)
	}

	require.True(t, build.Repeatable())
	require.True(t, build.Builds())
	require.False(t, unbuild.Builds())
}

func TestIndexesMayBeLeftAlone(t *testing.T) {
	t.Parallel()

	none, same := schema.New(nil, schema.Options{NoIndexes: true}), schema.New(nil, schema.Options{})

	for change, skipped := range map[*schema.Change]bool{
		must(t, event.CreateIndexes, described(indexes("a"))):                true,
		must(t, event.DropIndexes, described(indexes("a"))):                  true,
		must(t, event.Modify, described(field("index", field("name", "a")))): true,
		must(t, event.Modify, described(field("validator", bson.D{}))):       false,
		must(t, event.Create, described(bson.D{})):                           false,
		must(t, event.Drop):                   false,
		must(t, event.Rename, renamed("old")): false,
		must(t, event.Create, described(field("clusteredIndex", field("unique", true)))): false,
	} {
		require.Equal(t, skipped, none.Skips(change), change)
		require.False(t, same.Skips(change), change)
	}
}
