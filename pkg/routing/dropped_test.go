package routing_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
)

// TestDroppedCollectionsKeepTheirWay: the stream is rewound to before what its first marker knows, and that collection's
// events come again. Each goes the way that it went; by the name of a later collection it would not.
func TestDroppedCollectionsKeepTheirWay(t *testing.T) {
	t.Parallel()

	table := routing.New(partitions)
	require.True(t, table.Apply(create(t, "a", 'a', capped)))

	old, ok := table.Find(&event.Event{Namespace: shop("a"), Collection: uuid('a')})
	require.True(t, ok)

	require.True(t, table.Apply(change(t, event.Drop, "a", 'a')))
	require.True(t, table.Apply(create(t, "a", 'b', german)))

	table, err := routing.FromMarker(encoded(table), partitions)
	require.NoError(t, err)

	later, ok := table.Find(&event.Event{Namespace: shop("a"), Collection: uuid('b')})
	require.True(t, ok)
	require.Equal(t, event.PinCollation, later.Pin)

	found, ok := table.Find(&event.Event{Namespace: shop("a"), Collection: uuid('a')})
	require.True(t, ok)
	require.Equal(t, old, found)

	// Its rename and its drop come again, and hit no other.
	require.False(t, table.Apply(rename(t, "a", "z", 'a')))
	require.False(t, table.Apply(change(t, event.Drop, "a", 'a')))

	found, ok = table.Find(&event.Event{Namespace: shop("a"), Collection: uuid('b')})
	require.True(t, ok)
	require.Equal(t, later, found)

	// Before that was its beginning: it is there again.
	require.True(t, table.Apply(create(t, "a", 'a', capped)))
	require.Equal(t, []routing.Entry{old}, table.Entries())
}

// TestWhatACatalogOfLaterLacksKeepsItsWay: behind a hole the table is made from the catalog of now, and the source is read from
// further back. What was dropped in between still has events, which go the way that earlier ones went.
func TestWhatACatalogOfLaterLacksKeepsItsWay(t *testing.T) {
	t.Parallel()

	earlier := routing.New(partitions)
	require.True(t, earlier.Apply(create(t, "gone", 'g', capped)))
	require.True(t, earlier.Apply(create(t, "a", 'a', capped)))
	require.True(t, earlier.Apply(create(t, "old", 'o', german)))
	require.True(t, earlier.Apply(change(t, event.Drop, "old", 'o')))

	way := func(table *routing.Table, coll string, letter byte) routing.Entry {
		t.Helper()

		found, _ := table.Find(&event.Event{Namespace: shop(coll), Collection: uuid(letter)})

		return found
	}

	table := routing.New(partitions)
	require.True(t, table.Apply(create(t, "a", 'a', capped)))
	table.RememberDropped(earlier)

	for coll, letter := range map[string]byte{"gone": 'g', "a": 'a', "old": 'o'} {
		require.Equal(t, way(earlier, coll, letter), way(table, coll, letter), coll)
	}

	require.Equal(t, []routing.Entry{way(earlier, "a", 'a')}, table.Entries(), "of what has such a name by now nothing is known")
	require.False(t, table.Apply(change(t, event.Drop, "gone", 'g')), "it is dropped already")
}

// TestDroppedCollectionsAreForgottenInTheEnd: a marker has to fit into a message.
func TestDroppedCollectionsAreForgottenInTheEnd(t *testing.T) {
	t.Parallel()

	const most = 256

	table := routing.New(partitions)

	for n := range 2 * most {
		id := event.UUID{1, byte(n), byte(n >> 8)}
		e := create(t, "a", 'a', capped)
		e.Collection = id
		require.True(t, table.Apply(e))

		e = change(t, event.Drop, "a", 'a')
		e.Collection = id
		require.True(t, table.Apply(e))
	}

	marker := encoded(table)
	require.Len(t, marker.GetDropped(), most)
	require.Less(t, proto.Size(marker), 32<<10)

	_, ok := table.Find(&event.Event{Namespace: shop("a"), Collection: event.UUID{1, 0, 0}})
	require.False(t, ok, "the first one")

	_, ok = table.Find(&event.Event{Namespace: shop("a"), Collection: event.UUID{1, 255, 1}})
	require.True(t, ok, "the last one")
}
