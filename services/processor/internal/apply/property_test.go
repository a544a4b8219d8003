package apply_test

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// lanes is the number of partitions of a history.
const lanes = 3

// histories numbers the collections of the property's runs.
var histories atomic.Int64

// TestAnyDeliveryEndsInTheSameTarget is the promise of this package: however the
// messages of a random history are batched, delivered again, delivered twice,
// interleaved between partitions and cut by crashes before and after the commit,
// the target ends as if each event had been applied once, in order.
func TestAnyDeliveryEndsInTheSameTarget(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)

	for name, options := range modes(t, db.Client()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			target := apply.New(db.Client(), options)

			rapid.Check(t, func(rt *rapid.T) {
				ns := event.Namespace{DB: db.Name(), Coll: "history" + strconv.FormatInt(histories.Add(1), 10)}
				h := newHistory(rt, ns)
				ctx := t.Context()

				all := make([]*owner, lanes)
				for i := range all {
					all[i] = newOwner(ctx, rt, db.Client(), target, ns.Coll, i, h.streams[i])
				}

				for len(all) > 0 {
					i := rapid.IntRange(0, len(all)-1).Draw(rt, "partition")
					if all[i].step(ctx, rt) {
						all = slices.Delete(all, i, i+1)
					}
				}

				requireSame(ctx, rt, db.Collection(ns.Coll), h.documents)
				requireCounted(ctx, rt, db.Client(), ns.Coll, h)
			})
		})
	}
}

// history is a random run of changes, and the documents that it leaves.
type history struct {
	streams   [lanes][]event.Message
	documents map[int]bson.D
}

func newHistory(t *rapid.T, ns event.Namespace) *history {
	h := &history{documents: map[int]bson.D{}}

	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		id := rapid.IntRange(0, 5).Draw(t, "id")
		raw := h.change(t, ns, id, n)

		e, err := event.Parse(raw)
		require.NoError(t, err)

		key, err := event.NewKey(ns, e.ID())
		require.NoError(t, err)

		stream := &h.streams[key.Partition(lanes)]
		*stream = append(*stream, event.Message{
			Kind: event.KindEvent, StreamID: "stream", Namespace: ns, Event: uint64(n + 1), Count: uint64(len(*stream) + 1),
			Position: event.Position{T: uint32(n + 1)}, ResumeToken: raw[:0:0], Part: 1, Parts: 1, Attempt: 1, Size: len(raw), Payload: raw,
		})
	}

	return h
}

// change makes the next change of a document and remembers what it leaves.
func (h *history) change(t *rapid.T, ns event.Namespace, id, n int) bson.Raw {
	doc := bson.D{{Key: "ns", Value: bson.D{{Key: "db", Value: ns.DB}, {Key: "coll", Value: ns.Coll}}}}
	before, exists := h.documents[id]

	image := bson.D{{Key: "_id", Value: id}, {Key: "v", Value: n}, {Key: "list", Value: bson.A{n, n, n}}}
	kinds := []event.Operation{event.Insert}

	if exists {
		kinds = []event.Operation{event.Update, event.Update, event.Replace, event.Delete, "cut"}
	}

	kind := rapid.SampledFrom(kinds).Draw(t, "operation")
	operation := kind

	switch kind {
	case event.Insert, event.Replace:
		h.documents[id] = image
		doc = append(doc, bson.E{Key: "fullDocument", Value: image})
	case event.Delete:
		delete(h.documents, id)
	case event.Update:
		// Applied twice or out of order, the sum of what was set shows it.
		h.documents[id] = bson.D{before[0], {Key: "v", Value: n}, before[2]}
		doc = append(doc, bson.E{Key: "updateDescription", Value: set(bson.E{Key: "v", Value: n})})
	default: // the list is cut, and its first element set
		operation = event.Update
		h.documents[id] = bson.D{before[0], {Key: "v", Value: n}, {Key: "list", Value: bson.A{n}}}
		doc = append(doc, bson.E{Key: "updateDescription", Value: append(
			set(bson.E{Key: "v", Value: n}, bson.E{Key: "list.0", Value: n}),
			bson.E{Key: "truncatedArrays", Value: bson.A{bson.D{{Key: "field", Value: "list"}, {Key: "newSize", Value: 1}}}},
		)})
	}

	raw, err := bson.Marshal(append(doc,
		bson.E{Key: "operationType", Value: string(operation)}, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}}))
	require.NoError(t, err)

	return raw
}

// owner applies one partition, and is replaced by another one at each crash.
type owner struct {
	client  *mongo.Client
	target  *apply.Target
	stream  []event.Message
	held    checkpoint.Document
	applier *apply.Applier
	session *mongo.Session

	verifier *consume.Verifier
	next     int    // message to be delivered
	seq      uint64 // consumer's sequence of the last delivery
}

func newOwner(ctx context.Context, t *rapid.T, client *mongo.Client, target *apply.Target, flow string, partition int, stream []event.Message) *owner {
	o := &owner{client: client, target: target, stream: stream, held: checkpoint.Document{
		ID: checkpoint.ID(flow, partition), Flow: flow, Partition: partition, Owner: 1,
		Place: checkpoint.Place{StreamID: "stream", ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
	}}

	_, err := checkpoint.Checkpoints(client).InsertOne(ctx, o.held)
	require.NoError(t, err)
	o.acquire(ctx, t)

	return o
}

// acquire takes the partition with a new epoch and a consumer that starts behind
// the checkpoint, or before it.
func (o *owner) acquire(ctx context.Context, t *rapid.T) {
	held, ok, err := checkpoint.LoadOne(ctx, o.client, o.held.Flow, o.held.Partition)
	require.NoError(t, err)
	require.True(t, ok)

	held.Epoch++
	_, err = checkpoint.Checkpoints(o.client).UpdateOne(ctx, bson.D{{Key: "_id", Value: held.ID}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: held.Epoch}}}})
	require.NoError(t, err)

	if o.session != nil {
		o.session.EndSession(ctx)
	}

	o.session, err = apply.NewSession(o.client)
	require.NoError(t, err)

	o.held, o.applier = held, o.target.In(o.session)
	o.verifier, o.seq = consume.NewVerifier(&held.Place), 0
	o.next = rapid.IntRange(0, int(held.Count)).Draw(t, "start")
}

// step collects a batch and settles it, or crashes; it returns true when
// everything is applied.
func (o *owner) step(ctx context.Context, t *rapid.T) bool {
	changes, last := o.gather(t)

	if len(changes) == 0 {
		if o.held.Count == int64(len(o.stream)) {
			o.session.EndSession(ctx)

			return true
		}

		o.acquire(ctx, t) // everything was delivered, not everything applied

		return false
	}

	plan, err := apply.NewPlan(changes)
	require.NoError(t, err)

	next := o.held
	next.Commits++
	next.Counters.Processed += int64(len(changes))
	next.Counters.Batches++
	next.Place = checkpoint.PlaceOf(&last, last.Count)
	next.ResumeToken = o.held.ResumeToken

	before := o.held

	switch rapid.SampledFrom([]string{"commit", "commit", "commit", "crash before", "crash after", "twice", "late"}).Draw(t, "outcome") {
	case "commit":
		require.NoError(t, o.applier.Commit(ctx, plan, &o.held, &next))
		o.held = next
	case "crash before":
		o.acquire(ctx, t)
	case "crash after":
		require.NoError(t, o.applier.Commit(ctx, plan, &o.held, &next))
		o.acquire(ctx, t)
	case "twice": // the reply was lost: the same transaction again
		require.NoError(t, o.applier.Commit(ctx, plan, &before, &next))
		require.NoError(t, o.applier.Commit(ctx, plan, &before, &next))
		o.held = next
	case "late": // the partition has a new owner when the transaction arrives
		stale, session := o.applier, o.session
		o.session = nil
		o.acquire(ctx, t)
		require.ErrorIs(t, stale.Commit(ctx, plan, &before, &next), apply.ErrStale)
		session.EndSession(ctx)
	}

	return false
}

// gather takes deliveries, some of them twice as a stream would hold them after
// two attempts, until the batch is as large as it is to be.
func (o *owner) gather(t *rapid.T) (changes []apply.Change, last event.Message) {
	size := rapid.IntRange(1, 10).Draw(t, "size")

	for o.next < len(o.stream) && len(changes) < size {
		m := o.stream[o.next]
		o.next++

		for range rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "deliveries") {
			o.seq++

			whole, complete, err := o.verifier.Check(m, o.seq)
			require.NoError(t, err)

			if !complete {
				continue
			}

			e, err := event.Parse(whole.Payload)
			require.NoError(t, err)

			changes, last = append(changes, apply.Change{Event: e, Number: whole.Event, Position: whole.Position}), whole
		}
	}

	return changes, last
}

func requireSame(ctx context.Context, t *rapid.T, coll *mongo.Collection, documents map[int]bson.D) {
	var want, got []string

	for _, id := range slices.Sorted(maps.Keys(documents)) {
		raw, err := bson.Marshal(documents[id])
		require.NoError(t, err)

		want = append(want, hex.EncodeToString(raw))
	}

	cursor, err := coll.Find(ctx, bson.D{})
	require.NoError(t, err)

	for cursor.Next(ctx) {
		got = append(got, hex.EncodeToString(cursor.Current))
	}

	require.NoError(t, cursor.Err())
	require.ElementsMatch(t, want, got)
	require.NoError(t, coll.Drop(ctx))
}

// requireCounted makes sure that every event is counted once.
func requireCounted(ctx context.Context, t *rapid.T, client *mongo.Client, flow string, h *history) {
	all, err := checkpoint.Load(ctx, client, flow)
	require.NoError(t, err)

	for i, stream := range h.streams {
		require.Equal(t, int64(len(stream)), all[i].Counters.Processed)
		require.Equal(t, int64(len(stream)), all[i].Count)
	}
}
