package pause_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
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
		changed, err := pause.Begin(t.Context(), target, flow, by("ann"))
		require.NoError(t, err)
		require.True(t, changed)

		d, err = pause.Load(t.Context(), target, flow)
		require.NoError(t, err)
		require.Equal(t, "paused by ann since 2026-11-29T12:00:00Z: upgrade", d.Pause.String())

		changed, err = pause.Begin(t.Context(), target, flow, by("bob"))
		require.NoError(t, err)
		require.False(t, changed)

		again, err := pause.Load(t.Context(), target, flow)
		require.NoError(t, err)
		require.True(t, again.Is(&d), "who came first stays")

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
			if changed, err := pause.Begin(t.Context(), target, flow, by("ann")); err == nil && changed {
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

func TestNamespacesArePausedByTheirNames(t *testing.T) {
	t.Parallel()

	target, flow := newFlow(t)
	orders, shop, stock := event.Namespace{DB: "shop", Coll: "orders"}, event.Namespace{DB: "shop"}, event.Namespace{DB: "stock", Coll: "a.b"}
	load := func() pause.Document {
		t.Helper()

		d, err := pause.Load(t.Context(), target, flow)
		require.NoError(t, err)

		return d
	}
	begin := func(who string, want int, namespaces ...event.Namespace) {
		t.Helper()

		changed, err := pause.BeginNamespaces(t.Context(), target, flow, namespaces, by(who))
		require.NoError(t, err)
		require.Equal(t, want, changed)
	}
	end := func(want int, namespaces ...event.Namespace) {
		t.Helper()

		changed, err := pause.EndNamespaces(t.Context(), target, flow, namespaces)
		require.NoError(t, err)
		require.Equal(t, want, changed)
	}

	end(0, orders)
	begin("ann", 2, orders, stock)

	d := load()
	require.Nil(t, d.Pause, "the flow runs")
	require.True(t, d.Covers(orders))
	require.False(t, d.Covers(event.Namespace{DB: "shop", Coll: "other"}))

	begin("bob", 1, orders, shop)

	d = load()
	require.Len(t, d.Namespaces, 3)
	require.Equal(t, "ann", d.Namespaces[0].Pause.By, "who came first stays")
	require.Equal(t, "shop.orders", d.Namespaces[0].Name())
	require.Equal(t, "shop", d.Namespaces[2].Name())
	require.True(t, d.Covers(event.Namespace{DB: "shop", Coll: "other"}))

	_, err := pause.Begin(t.Context(), target, flow, by("ann"))
	require.NoError(t, err)
	_, err = pause.End(t.Context(), target, flow)
	require.NoError(t, err)
	require.Len(t, load().Namespaces, 3, "they stay when the flow goes on")

	end(1, shop)

	d = load()
	require.True(t, d.Covers(orders), "it was paused by its own name")
	end(2, orders, stock)
	require.Empty(t, load().Namespaces)
}

func TestNamespacesThatAreTooMany(t *testing.T) {
	t.Parallel()

	target, flow := newFlow(t)

	var all []event.Namespace
	for n := range pause.MaxNamespaces + 1 {
		all = append(all, event.Namespace{DB: "shop", Coll: strconv.Itoa(n)})
	}

	changed, err := pause.BeginNamespaces(t.Context(), target, flow, all, by("ann"))
	require.ErrorIs(t, err, pause.ErrTooMany)
	require.Equal(t, pause.MaxNamespaces, changed)

	changed, err = pause.BeginNamespaces(t.Context(), target, flow, all[:1], by("ann"))
	require.NoError(t, err, "it is paused already")
	require.Zero(t, changed)
}

// A document that somebody has edited by hand is no pause and no absence of one.
func TestDamagedDocument(t *testing.T) {
	t.Parallel()

	for name, set := range map[string]bson.D{
		"a pause that is a text":      {{Key: "pause", Value: "yes"}},
		"a pause that is a number":    {{Key: "pause", Value: 1}},
		"since when is a text":        {{Key: "pause", Value: bson.D{{Key: "by", Value: "ann"}, {Key: "since", Value: "yesterday"}}}},
		"namespaces that are a text":  {{Key: "namespaces", Value: "shop"}},
		"a namespace that is a text":  {{Key: "namespaces", Value: bson.A{"shop.orders"}}},
		"a database that is a number": {{Key: "namespaces", Value: bson.A{bson.D{{Key: "db", Value: 7}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			target, flow := newFlow(t)
			_, err := target.Database("atlas_relay").Collection(pause.Collection).InsertOne(t.Context(), append(bson.D{{Key: "_id", Value: flow}}, set...))
			require.NoError(t, err)

			_, err = pause.Load(t.Context(), target, flow)

			var damaged *pause.DamagedError

			require.ErrorAs(t, err, &damaged)
			require.Contains(t, err.Error(), "document "+flow+" of atlas_relay.flows of the target does not say what is paused")
			require.Contains(t, damaged.Remedy(), "or delete it")

			_, err = pause.Delete(t.Context(), target, flow)
			require.NoError(t, err)

			_, err = pause.Load(t.Context(), target, flow)
			require.NoError(t, err)
		})
	}
}
