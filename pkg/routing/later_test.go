package routing_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
)

// TestLaterCollectionsOfTheNameAreOthers: the stream is rewound to before what its first marker knows. A collection of then
// was spread by document; a later one of its name is pinned, and theirs are not the same events. A chaos run (seed 89002)
// whose rewind took them for the same counted four events twice.
func TestLaterCollectionsOfTheNameAreOthers(t *testing.T) {
	t.Parallel()

	table := routing.New(partitions)
	require.True(t, table.Apply(create(t, "gone", 'g', capped)))
	require.True(t, table.Apply(change(t, event.Drop, "gone", 'g')))
	require.True(t, table.Apply(create(t, "a", 'b', german)))

	place := event.Position{T: 9, I: 9}
	table.IsOf(place)
	table.IsOf(event.Position{T: 1}) // of an earlier one it is not

	table, err := routing.FromMarker(encoded(table), partitions)
	require.NoError(t, err)

	later := []routing.Entry{entry("a", 'b', event.PinCollation)}
	require.Equal(t, later, table.Entries())

	// All that happens up to there happens once more.
	for _, e := range []*event.Event{
		create(t, "a", 'p', bson.D{}), change(t, event.Insert, "a", 'p'), rename(t, "a", "x", 'p'), rename(t, "x", "a", 'p'),
		change(t, event.Drop, "a", 'p'), change(t, event.DropDatabase, "", 0), create(t, "gone", 'g', capped),
		change(t, event.Drop, "gone", 'g'), create(t, "a", 'b', german),
	} {
		table.Reach(event.Position{T: 5})
		require.False(t, table.Apply(e), "%s of %s", e.Operation, e.Namespace)
		require.Equal(t, later, table.Entries(), "%s of %s", e.Operation, e.Namespace)

		found, ok := table.Find(e)
		require.Equal(t, e.Collection == uuid('b') || e.Collection == uuid('g'), ok, "%s of %s: %v", e.Operation, e.Namespace, found)
	}

	_, ok := table.Find(change(t, event.Insert, "a", 0))
	require.True(t, ok, "a server that tells no UUID has names only")

	// What was dropped too long ago is known from its beginning on.
	forgotten := create(t, "f", 'f', capped)
	require.True(t, table.Apply(forgotten), "a marker has to tell of it")
	require.Equal(t, later, table.Entries())

	found, ok := table.Find(forgotten)
	require.True(t, ok)
	require.Equal(t, entry("f", 'f', event.PinCapped), found)

	// The last event of before that place, and the first behind it.
	resharded := change(t, event.Insert, "a", 'z')

	table.Reach(place)
	_, ok = table.Find(resharded)
	require.False(t, ok)

	table.Reach(event.Position{T: 9, I: 9, Ordinal: 1})
	_, ok = table.Find(resharded)
	require.True(t, ok)
	require.Nil(t, encoded(table).GetTablePlace())
	require.True(t, table.Apply(change(t, event.Drop, "a", 'b')))
}

// TestReshardedCollectionsAreFoundByBothUUIDs: resharding gives a collection another UUID. Documents with it may come before
// the event that tells so.
func TestReshardedCollectionsAreFoundByBothUUIDs(t *testing.T) {
	t.Parallel()

	reshard := func(from, to byte) *event.Event {
		u := uuid(to)

		return change(t, event.ReshardCollection, "a", from, bson.E{Key: "operationDescription", Value: bson.D{
			{Key: "reshardUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: u[:]}},
		}})
	}

	table := routing.New(partitions)
	require.False(t, table.Apply(reshard('o', 'p')), "of a plain collection")
	require.True(t, table.Apply(create(t, "a", 'a', german)))

	want := entry("a", 'a', event.PinCollation)
	found := func(letter byte) routing.Entry {
		e, ok := table.Find(change(t, event.Insert, "a", letter))
		require.True(t, ok)

		return e
	}
	require.Equal(t, want, found('n'), "by its name")

	require.False(t, table.Apply(change(t, event.ReshardCollection, "a", 'a')), "it does not say how")
	require.True(t, table.Apply(reshard('a', 'n')))
	require.False(t, table.Apply(reshard('a', 'n')), "again")

	carried, err := routing.FromMarker(encoded(table), partitions)
	require.NoError(t, err)

	for _, table = range []*routing.Table{table, carried} {
		table.IsOf(event.Position{T: 1})
		require.Equal(t, want, found('a'))
		require.Equal(t, entry("a", 'n', event.PinCollation), found('n'))
	}
}
