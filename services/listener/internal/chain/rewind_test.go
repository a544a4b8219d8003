package chain_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// placeOf is the place of event n, as a checkpoint names it.
func placeOf(n int) chain.Place {
	return chain.Place{Token: token(n), Position: event.Position{T: 1000, I: uint32(n)}, Event: uint64(n)}
}

// placeOfBeforeThePurge purges all but the last message, a marker, and returns where the stream is then rewound to for the
// sake of event 1.
func placeOfBeforeThePurge(t *testing.T, stream *topology.Stream) chain.Place {
	t.Helper()

	last, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), last.Sequence))

	place, err := chain.PlaceUpTo(t.Context(), stream, placeOf(1))
	require.NoError(t, err)

	return place
}

// TestPlacesOfEarlier rewinds to places of a stream in which collections come and go: to the marker before, with the table of
// then, and with the schema changes up to there it is that of the place.
func TestPlacesOfEarlier(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		_, stream, w := newSchemaStream(t, mode)

		history := []sourceEvent{
			createCapped(t, 1, "a", "a"),
			schemaChange(t, 2, event.Rename, "a", "a", bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "b"}}}),
			createCapped(t, 3, "a", "c"),
			schemaChange(t, 4, event.Drop, "b", "a"),
			createCapped(t, 5, "d", "d"),
		}
		want := [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"a"}, {"a", "d"}}

		check := func(at, marked int) {
			t.Helper()

			place, err := chain.PlaceUpTo(t.Context(), stream, placeOf(at))
			require.NoError(t, err)
			require.Equal(t, uint64(marked), place.Event, "of event %d", at)

			for i := marked; i < at; i++ {
				place.Table.Apply(&history[i].event)
			}

			require.Equal(t, want[at], pinnedNames(&chain.Tail{Table: place.Table}), "at event %d", at)
		}

		for i := range history {
			w.store(t, take(t, w.ledger, &history[i])...)

			if i == 1 || i == 3 { // some are followed by others without a marker
				w.store(t, markerOf(w.ledger))
			}
		}

		for at, marked := range []int{0, 0, 2, 2, 4, 4} {
			check(at, marked)
		}

		// A new generation publishes them again, and stops on the way.
		place, err := chain.PlaceUpTo(t.Context(), stream, placeOf(3))
		require.NoError(t, err)
		w.ledger.Rewind(1, place)
		w.store(t, markerOf(w.ledger))
		w.store(t, take(t, w.ledger, &history[2])...)

		tail, err := chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, pinnedNames(tail))
		require.Equal(t, uint64(3), tail.LastBarrier)

		for at, marked := range []int{0, 0, 2, 2} {
			check(at, marked)
		}
	})
}

// TestRewindBehindALostSchemaChange: the stream has lost its end, with a schema change that is applied everywhere, and is to
// be rewound to behind it. It begins at the marker before, so that the change comes again: the table knows of it by nothing
// else, and the collection's events would go by document ever after.
func TestRewindBehindALostSchemaChange(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		_, stream, w := newSchemaStream(t, mode)

		kept := createCapped(t, 1, "a", "a")
		w.store(t, take(t, w.ledger, &kept)...)
		w.store(t, markerOf(w.ledger))

		// Created at 2, gone with its marker.
		place, err := chain.PlaceUpTo(t.Context(), stream, placeOf(3))
		require.NoError(t, err)

		marker, err := stream.LastMarker(t.Context())
		require.NoError(t, err)
		require.Equal(t, marker.ResumeToken, place.Token)
		require.Equal(t, marker.Position, place.Position)
		require.Equal(t, uint64(1), place.Event)

		w.ledger.Rewind(1, place)
		w.store(t, markerOf(w.ledger))

		lost, inserted := createCapped(t, 2, "b", "b"), insertInto(t, 3, "b", "b")
		w.store(t, take(t, w.ledger, &lost)...)
		require.Equal(t, event.PinCapped, take(t, w.ledger, &inserted)[0].Pin)
	})
}

// TestTableOfBeforeThePurge: the stream is rewound to a place of which it has nothing any more. A capped collection of
// then, which the source has dropped since, keeps its partition: its events were applied there, and a partition knows what
// it has applied by its own checkpoint only. Elsewhere they would be applied again, or not at all.
func TestTableOfBeforeThePurge(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		_, stream, w := newSchemaStream(t, mode)

		made := createCapped(t, 1, "a", "a")
		w.store(t, take(t, w.ledger, &made)...)

		tail, err := chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)

		want, ok := tail.Table.Find(&made.event)
		require.True(t, ok)

		dropped := schemaChange(t, 2, event.Drop, "a", "a")
		w.store(t, take(t, w.ledger, &dropped)...)
		w.store(t, markerOf(w.ledger))

		place := placeOfBeforeThePurge(t, stream)
		require.Empty(t, pinnedNames(&chain.Tail{Table: place.Table}))
		require.Equal(t, uint64(1), place.Event)

		found, ok := place.Table.Find(&made.event)
		require.True(t, ok)
		require.Equal(t, want, found)
	})
}

// TestRewindToBeforeALaterCollectionOfTheName: a plain collection was there at the place that the stream is rewound to. The
// capped one that has its name by the time of the first marker is another: what comes again of the plain one goes by
// document, as it did, also behind a restart in the middle; and behind that marker's place the table is what it was there.
func TestRewindToBeforeALaterCollectionOfTheName(t *testing.T) {
	t.Parallel()

	type way struct {
		event     uint64
		partition int
		pin       event.Pin
	}

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream, w := newSchemaStream(t, mode)
		history := []sourceEvent{
			insertInto(t, 1, "a", "plain"), insertInto(t, 2, "a", "plain"), insertInto(t, 3, "a", "plain"),
			schemaChange(t, 4, event.Drop, "a", "plain"), createCapped(t, 5, "a", "capped"), insertInto(t, 6, "a", "capped"),
		}

		publish := func(from, to int) (ways []way) {
			for i := from - 1; i < to; i++ {
				messages := take(t, w.ledger, &history[i])
				w.store(t, messages...)

				for _, m := range messages {
					ways = append(ways, way{m.Event, m.Partition, m.Pin})
				}
			}

			return ways
		}

		publish(1, 1)
		want := publish(2, 6)
		w.store(t, markerOf(w.ledger))

		place := placeOfBeforeThePurge(t, stream)

		w.ledger.Rewind(1, place)
		w.store(t, markerOf(w.ledger))
		got := publish(2, 2)

		w = newWriter(t, server, stream, 2)
		got = append(got, publish(3, 6)...)
		require.Equal(t, want, got)
		require.Equal(t, event.PinCapped, got[len(got)-1].pin)
	})
}
