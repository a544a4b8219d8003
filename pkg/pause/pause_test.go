package pause_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
)

// newFlow returns a target and the name of a flow that nobody else has.
func newFlow(t *testing.T) (target *mongo.Client, flow string) {
	t.Helper()

	target, flow = mongotest.Shared(t).Client(t), "pause-"+bson.NewObjectID().Hex()
	t.Cleanup(func() { _, _ = pause.Delete(context.WithoutCancel(t.Context()), target, flow) })

	return target, flow
}

func by(who string) pause.Pause {
	return pause.Pause{By: who, Reason: "upgrade", Since: time.Date(2026, 11, 29, 12, 0, 0, 999, time.UTC)}
}

func TestPauseIsKeptUntilItEnds(t *testing.T) {
	t.Parallel()

	target, flow := newFlow(t)

	d, err := pause.Load(t.Context(), target, flow)
	require.NoError(t, err)
	require.Equal(t, pause.Document{Flow: flow}, d)

	changed, err := pause.End(t.Context(), target, flow)
	require.NoError(t, err)
	require.False(t, changed, "a flow that runs goes on")

	for range 2 { // with a document already, too
		begun, changed, err := pause.Begin(t.Context(), target, flow, by("ann"))
		require.NoError(t, err)
		require.True(t, changed)

		d, err = pause.Load(t.Context(), target, flow)
		require.NoError(t, err)
		require.Equal(t, begun.Pause.String(), d.Pause.String())
		require.True(t, begun.Pause.Is(d.Pause), "what is answered is what is read")
		require.Equal(t, "paused by ann since 2026-11-29T12:00:00Z: upgrade", d.Pause.String())

		again, changed, err := pause.Begin(t.Context(), target, flow, by("bob"))
		require.NoError(t, err)
		require.False(t, changed)
		require.True(t, again.Pause.Is(d.Pause), "who came first stays")

		changed, err = pause.End(t.Context(), target, flow)
		require.NoError(t, err)
		require.True(t, changed)

		d, err = pause.Load(t.Context(), target, flow)
		require.NoError(t, err)
		require.Nil(t, d.Pause)
	}

	deleted, err := pause.Delete(t.Context(), target, flow)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{pause.Collection: 1}, deleted)
}

// TestOneOfManyPauses: whoever pauses at the same time, one of them did.
func TestOneOfManyPauses(t *testing.T) {
	t.Parallel()

	target, flow := newFlow(t)

	var (
		all     sync.WaitGroup
		changes atomic.Int64
	)

	for range 8 {
		all.Go(func() {
			d, changed, err := pause.Begin(t.Context(), target, flow, by("ann"))
			if err == nil && d.Pause != nil && changed {
				changes.Add(1)
			}
		})
	}

	all.Wait()
	require.Equal(t, int64(1), changes.Load())
}

// TestDocumentEditedByHand is no flow that runs.
func TestDocumentEditedByHand(t *testing.T) {
	t.Parallel()

	target, flow := newFlow(t)

	_, err := target.Database("atlas_relay").Collection(pause.Collection).
		InsertOne(t.Context(), bson.D{{Key: "_id", Value: flow}, {Key: "pause", Value: "yes"}})
	require.NoError(t, err)

	_, err = pause.Load(t.Context(), target, flow)
	require.ErrorContains(t, err, "document "+flow+" of atlas_relay.flows")
}
