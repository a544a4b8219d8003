package routing_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const partitions = 8

var (
	capped    = bson.D{{Key: "capped", Value: true}, {Key: "size", Value: 4096}}
	german    = bson.D{{Key: "collation", Value: bson.D{{Key: "locale", Value: "de"}}}}
	encrypted = bson.D{{Key: "encryptedFields", Value: bson.D{{Key: "fields", Value: bson.A{}}}}}
)

func shop(coll string) event.Namespace { return event.Namespace{DB: "shop", Coll: coll} }

func uuid(letter byte) event.UUID { return event.UUID(slices.Repeat([]byte{letter}, 16)) }

// change returns an event; letter 0 is a server that does not say the UUID.
func change(t require.TestingT, op event.Operation, coll string, letter byte, fields ...bson.E) *event.Event {
	ns := bson.D{{Key: "db", Value: "shop"}}
	if coll != "" {
		ns = append(ns, bson.E{Key: "coll", Value: coll})
	}

	doc := append(bson.D{{Key: "operationType", Value: op}, {Key: "ns", Value: ns}}, fields...)
	if letter != 0 {
		u := uuid(letter)
		doc = append(doc, bson.E{Key: "collectionUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: u[:]}})
	}

	if op.IsDocument() {
		doc = append(doc, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: 1}}})
	}

	raw, err := bson.Marshal(doc)
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	return &e
}

func create(t require.TestingT, coll string, letter byte, options bson.D, fields ...bson.E) *event.Event {
	return change(t, event.Create, coll, letter, append(fields, bson.E{Key: "operationDescription", Value: options})...)
}

func rename(t require.TestingT, from, to string, letter byte) *event.Event {
	return change(t, event.Rename, from, letter, bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: to}}})
}

func entry(coll string, letter byte, pin event.Pin) routing.Entry {
	return routing.Entry{Namespace: shop(coll), Collection: uuid(letter), Partition: event.PartitionOf(shop(coll), partitions), Pin: pin}
}

func TestWhatIsPinned(t *testing.T) {
	t.Parallel()

	both := append(slices.Clone(capped), german...)

	for name, test := range map[string]struct {
		create *event.Event
		want   *routing.Entry
	}{
		"plain":            {create: create(t, "c", 'a', bson.D{{Key: "validator", Value: bson.D{}}})},
		"no options":       {create: change(t, event.Create, "c", 'a')},
		"capped":           {create: create(t, "c", 'a', capped), want: new(entry("c", 'a', event.PinCapped))},
		"collation":        {create: create(t, "c", 'a', german), want: new(entry("c", 'a', event.PinCollation))},
		"both":             {create: create(t, "c", 'a', both), want: new(entry("c", 'a', event.PinCapped))},
		"simple collation": {create: create(t, "c", 'a', bson.D{{Key: "collation", Value: bson.D{{Key: "locale", Value: "simple"}}}})},
		"encrypted":        {create: create(t, "c", 'a', encrypted), want: &routing.Entry{Namespace: shop("c"), Collection: uuid('a'), Encrypted: true}},
		"view":             {create: create(t, "c", 0, append(bson.D{{Key: "viewOn", Value: "d"}}, german...))},
		"view by type":     {create: create(t, "c", 0, german, bson.E{Key: "nsType", Value: "view"})},
		"internal":         {create: create(t, "system.profile", 'a', capped)},
		"without a UUID": {create: create(t, "c", 0, capped), want: &routing.Entry{
			Namespace: shop("c"), Partition: event.PartitionOf(shop("c"), partitions), Pin: event.PinCapped,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			table := routing.New(partitions)
			require.Equal(t, test.want != nil, table.Apply(test.create))

			if test.want == nil {
				require.Empty(t, table.Entries())
			} else {
				require.Equal(t, []routing.Entry{*test.want}, table.Entries())
			}
		})
	}
}

func TestTheTableFollowsTheSource(t *testing.T) {
	t.Parallel()

	a := entry("a", 'a', event.PinCapped)
	renamed := a
	renamed.Namespace = shop("b") // in its partition

	tests := map[string]struct {
		changes []*event.Event
		want    []routing.Entry
	}{
		"drop":                     {changes: []*event.Event{change(t, event.Drop, "a", 'a')}},
		"drop without a UUID":      {changes: []*event.Event{change(t, event.Drop, "a", 0)}},
		"drop of an earlier one":   {changes: []*event.Event{change(t, event.Drop, "a", 'z')}, want: []routing.Entry{a}},
		"drop of another":          {changes: []*event.Event{change(t, event.Drop, "c", 'c')}, want: []routing.Entry{a}},
		"dropDatabase":             {changes: []*event.Event{change(t, event.DropDatabase, "", 0)}},
		"rename":                   {changes: []*event.Event{rename(t, "a", "b", 'a')}, want: []routing.Entry{renamed}},
		"rename without a UUID":    {changes: []*event.Event{rename(t, "a", "b", 0)}, want: []routing.Entry{renamed}},
		"rename over it":           {changes: []*event.Event{rename(t, "c", "a", 'c')}},
		"rename over another":      {changes: []*event.Event{create(t, "b", 'b', german), rename(t, "a", "b", 'a')}, want: []routing.Entry{renamed}},
		"rename there and back":    {changes: []*event.Event{rename(t, "a", "b", 'a'), rename(t, "b", "a", 'a')}, want: []routing.Entry{a}},
		"created again, plain":     {changes: []*event.Event{change(t, event.Create, "a", 'b')}},
		"created again, collation": {changes: []*event.Event{create(t, "a", 'b', german)}, want: []routing.Entry{entry("a", 'b', event.PinCollation)}},
		"indexes":                  {changes: []*event.Event{change(t, event.CreateIndexes, "a", 'a'), change(t, event.Modify, "a", 'a')}, want: []routing.Entry{a}},
		"a document":               {changes: []*event.Event{change(t, event.Insert, "a", 'a')}, want: []routing.Entry{a}},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			table := routing.New(partitions)
			require.True(t, table.Apply(create(t, "a", 'a', capped)))

			for _, e := range test.changes {
				table.Apply(e)
			}

			require.Equal(t, append([]routing.Entry{}, test.want...), table.Entries())
		})
	}
}

// TestACatalogOfLater: the catalog is newer than the changes that come. Whatever they
// are, an event of a collection that it knows goes where it says, and in the end
// nothing else has become of the table.
func TestACatalogOfLater(t *testing.T) {
	t.Parallel()

	table := routing.FromCatalog([]mongodb.Collection{
		mongodb.ParseCollection("shop", "plain", "collection", nil),
		{DB: "shop", Name: "b", UUID: uuid('a'), Type: "collection", Capped: true},
		{DB: "shop", Name: "new", UUID: uuid('c'), Type: "collection", Collation: "de"},
		{DB: "shop", Name: "view", Type: "view", Collation: "de"},
		{DB: "shop", Name: "system.buckets.x", Type: "collection", Capped: true},
	}, partitions)
	want := []routing.Entry{entry("b", 'a', event.PinCapped), entry("new", 'c', event.PinCollation)}
	require.Equal(t, want, table.Entries())

	partition := event.PartitionOf(shop("b"), partitions)

	for _, e := range []*event.Event{
		change(t, event.Insert, "new", 'x'), // an earlier one of that name, plain
		change(t, event.Drop, "new", 'x'),
		create(t, "a", 'a', capped),
		change(t, event.Insert, "a", 'a'),
		rename(t, "a", "b", 'a'),
		change(t, event.Insert, "b", 'a'),
		create(t, "new", 'c', german),
	} {
		if e.Collection == uuid('a') {
			found, ok := table.Find(e)
			require.True(t, ok)
			require.Equal(t, partition, found.Partition)
		}

		table.Apply(e)
	}

	require.Equal(t, want, table.Entries())
}

func TestWhichEventsAreBarriers(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		event *event.Event
		want  bool
	}{
		"insert":                   {change(t, event.Insert, "a", 'a'), false},
		"sharding":                 {change(t, "shardCollection", "a", 'a'), false},
		"drop":                     {change(t, event.Drop, "a", 'a'), true},
		"create":                   {create(t, "a", 'a', capped), true},
		"create encrypted":         {create(t, "a", 'a', encrypted), true},
		"create view":              {create(t, "a", 0, bson.D{{Key: "viewOn", Value: "b"}}), true},
		"create time series":       {create(t, "a", 0, bson.D{{Key: "timeseries", Value: bson.D{}}}), false},
		"create its view":          {create(t, "a", 0, bson.D{{Key: "viewOn", Value: "system.buckets.a"}}), false},
		"create as it says":        {create(t, "a", 0, bson.D{}, bson.E{Key: "nsType", Value: "timeseries"}), false},
		"an operation of tomorrow": {change(t, "compactify", "a", 'a'), false},
	} {
		require.Equal(t, test.want, routing.IsBarrier(test.event), name)
	}
}

func TestEncryptedCollectionsAreSkipped(t *testing.T) {
	t.Parallel()

	table := routing.New(partitions)
	made := create(t, "secret", 'a', encrypted)

	_, skipped := table.IsSkipped(made)
	require.False(t, skipped, "an operator learns of it")
	table.Apply(made)

	_, skipped = table.IsSkipped(made)
	require.False(t, skipped)

	for name, e := range map[string]*event.Event{
		"a document":    change(t, event.Insert, "secret", 'a'),
		"without UUID":  change(t, event.Insert, "secret", 0),
		"its indexes":   change(t, event.CreateIndexes, "secret", 'a'),
		"its drop":      change(t, event.Drop, "secret", 'a'),
		"beside it":     change(t, event.Insert, "enxcol_.secret.esc", 'b'),
		"create beside": create(t, "enxcol_.secret.ecoc", 'c', bson.D{}),
	} {
		why, skipped := table.IsSkipped(e)
		require.True(t, skipped, name)
		require.NotEmpty(t, why, name)
	}

	_, skipped = table.IsSkipped(change(t, event.Insert, "plain", 'z'))
	require.False(t, skipped)

	require.True(t, table.Apply(change(t, event.Drop, "secret", 'a')))
	require.Empty(t, table.Entries())
}

// TestMarkersCarryTheTable draws schema changes; a table that went through a marker
// behind any of them goes on like one that did not.
func TestMarkersCarryTheTable(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		whole, carried := routing.New(partitions), routing.New(partitions)
		name := rapid.SampledFrom([]string{"a", "b", "c"})

		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			coll, letter := name.Draw(t, "name"), rapid.ByteRange('a', 'e').Draw(t, "uuid")*rapid.ByteRange(0, 1).Draw(t, "has a UUID")

			var e *event.Event

			switch rapid.IntRange(0, 3).Draw(t, "operation") {
			case 0:
				e = create(t, coll, letter, rapid.SampledFrom([]bson.D{capped, german, encrypted, {}}).Draw(t, "options"))
			case 1:
				e = change(t, event.Drop, coll, letter)
			case 2:
				e = rename(t, coll, name.Draw(t, "to"), letter)
			default:
				e = change(t, event.DropDatabase, "", 0)
			}

			before := whole.Entries()
			changed := whole.Apply(e)
			require.Equal(t, changed, carried.Apply(e))

			if !changed {
				require.Equal(t, before, whole.Entries())
			}

			require.Equal(t, whole.Entries(), carried.Entries())

			var err error
			carried, err = routing.FromMarker(encoded(carried), partitions)
			require.NoError(t, err)
			require.Equal(t, whole.Entries(), carried.Entries())

			for _, entry := range whole.Entries() {
				found, ok := carried.Find(&event.Event{Namespace: entry.Namespace, Collection: entry.Collection})
				require.True(t, ok)
				require.Equal(t, entry, found)
			}
		}
	})
}

func TestFromMarkerRefuses(t *testing.T) {
	t.Parallel()

	for name, spoil := range map[string]func(*relayv1.PinnedNamespace){
		"another number of partitions": func(p *relayv1.PinnedNamespace) { p.Partition = partitions },
		"a short UUID":                 func(p *relayv1.PinnedNamespace) { p.CollectionUuid = []byte("short") },
		"no pin":                       func(p *relayv1.PinnedNamespace) { p.Pin = relayv1.Pin_PIN_UNSPECIFIED },
		"a pin of tomorrow":            func(p *relayv1.PinnedNamespace) { p.Pin = 99 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p := &relayv1.PinnedNamespace{Namespace: &relayv1.Namespace{Database: "shop", Collection: "a"}, Pin: relayv1.Pin_PIN_CAPPED}
			_, err := routing.FromMarker(&relayv1.Marker{Pinned: []*relayv1.PinnedNamespace{p}}, partitions)
			require.NoError(t, err)

			spoil(p)

			_, err = routing.FromMarker(&relayv1.Marker{Pinned: []*relayv1.PinnedNamespace{p}}, partitions)
			require.ErrorIs(t, err, event.ErrMalformed)
		})
	}
}

func encoded(t *routing.Table) *relayv1.Marker {
	marker := &relayv1.Marker{}
	t.Encode(marker)

	return marker
}
