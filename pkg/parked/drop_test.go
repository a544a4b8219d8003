package parked_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// TestWhatEndedLongAgoLosesItsEvent: the records stay, and whoever waits or is dead keeps what it has. More ended than
// one write drops.
func TestWhatEndedLongAgoLosesItsEvent(t *testing.T) {
	t.Parallel()

	client, flow := newFlow(t)
	_, other := newFlow(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	limit := now.Add(-time.Hour)

	var all []parked.Record

	add := func(flow string, state parked.State, changed time.Time) {
		all = append(all, parked.Record{
			ID: flow + "/" + strconv.Itoa(len(all)), Rev: 3, Flow: flow, Size: 5, Event: bson.Raw{5, 0, 0, 0, 0}, State: state,
			Changed: changed, DocumentKey: bson.Raw{5, 0, 0, 0, 0},
		})
	}

	for _, state := range []parked.State{parked.Waiting, parked.Dead, parked.Intended} {
		add(flow, state, limit.Add(-time.Hour))
	}

	add(flow, parked.Discarded, limit)
	add(other, parked.Discarded, limit.Add(-time.Hour))

	kept := len(all)

	for range 300 {
		for _, state := range []parked.State{parked.Superseded, parked.Discarded, parked.Replayed, parked.Replaced} {
			add(flow, state, limit.Add(-time.Millisecond))
		}
	}

	large := &all[kept]
	large.Event, large.Chunks = nil, 2

	for n := range 2 {
		insert(t, client, parked.Chunks, parked.Chunk{ID: large.ID + "/" + strconv.Itoa(n), Flow: flow, Record: large.ID, N: n})
	}

	_, err := parked.Records(client).InsertMany(t.Context(), all)
	require.NoError(t, err)

	dropped, err := parked.DropEnded(t.Context(), client, flow, limit, now)
	require.NoError(t, err)
	require.Equal(t, len(all)-kept, dropped)

	for i, was := range all {
		records, err := parked.LoadIDs(t.Context(), client, []string{was.ID})
		require.NoError(t, err)
		require.Len(t, records, 1)

		r := &records[0]
		require.Equal(t, was.State, r.State)

		_, err = parked.LoadEvent(t.Context(), client, r)

		if i < kept {
			require.Equal(t, was.Rev, r.Rev)
			require.True(t, r.Dropped.IsZero())

			continue
		}

		require.Equal(t, was.Rev+1, r.Rev)
		require.Equal(t, now, r.Dropped.UTC())
		require.Zero(t, r.Chunks)
		require.ErrorIs(t, err, parked.ErrNoEvent)
	}

	chunks, err := client.Database(checkpoint.Database).Collection(parked.Chunks).CountDocuments(t.Context(), bson.D{{Key: "flow", Value: flow}})
	require.NoError(t, err)
	require.Zero(t, chunks)

	dropped, err = parked.DropEnded(t.Context(), client, flow, limit, now)
	require.NoError(t, err)
	require.Zero(t, dropped, "once")
}
