package ownership

import (
	"context"
	"maps"
	"slices"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// event writes an event of the source: what it does, and the document that it leaves (nil: none).
func (w *world) event(t tb, partition int, op event.Operation, id string, after bson.D, fields ...bson.E) {
	t.Helper()

	n := len(w.states)
	state := maps.Clone(w.states[n-1])

	if after == nil {
		delete(state, id)
	} else {
		state[id] = after
	}

	w.states = append(w.states, state)

	raw, err := bson.Marshal(append(bson.D{
		{Key: "operationType", Value: string(op)},
		{Key: "clusterTime", Value: bson.Timestamp{T: uint32(n)}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: w.ns.DB}, {Key: "coll", Value: w.ns.Coll}}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
	}, fields...))
	require.NoError(t, err)

	s := w.partitions[partition]
	s.messages = append(s.messages, event.Message{
		Kind: event.KindEvent, StreamID: "stream", Namespace: w.ns, Event: uint64(n), Count: uint64(len(s.messages) + 1),
		Position: event.Position{T: uint32(n)}, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Part: 1, Parts: 1, Attempt: 1, Size: len(raw), Payload: raw,
	})
}

// put inserts or replaces a document at the source.
func (w *world) put(t tb, partition int, id string, fields ...bson.E) {
	t.Helper()

	doc := append(bson.D{{Key: "_id", Value: id}}, fields...)
	op := event.Insert

	if w.last()[id] != nil {
		op = event.Replace
	}

	w.event(t, partition, op, id, doc, bson.E{Key: "fullDocument", Value: doc})
}

// set changes one field of a document at the source.
func (w *world) set(t tb, partition int, id, field string, value any) {
	t.Helper()

	after := slices.Clone(w.last()[id])

	if i := slices.IndexFunc(after, func(e bson.E) bool { return e.Key == field }); i >= 0 {
		after[i].Value = value
	} else {
		after = append(after, bson.E{Key: field, Value: value})
	}

	w.event(t, partition, event.Update, id, after, bson.E{Key: "updateDescription", Value: bson.D{
		{Key: "updatedFields", Value: bson.D{{Key: field, Value: value}}},
	}})
}

func (w *world) remove(t tb, partition int, id string) {
	t.Helper()
	w.event(t, partition, event.Delete, id, nil)
}

func (w *world) last() map[string]bson.D { return w.states[len(w.states)-1] }

// Fetch implements fetcher.
func (w *world) Fetch(_ context.Context, _ event.Namespace, documentKey bson.Raw, _ bson.Timestamp) (refetch.Image, error) {
	if w.down {
		return refetch.Image{}, refetch.ErrNoListener
	}

	at := w.at
	if at == 0 {
		at = len(w.states) - 1
	}

	image := refetch.Image{Time: bson.Timestamp{T: uint32(at)}}

	if doc := w.states[at][documentKey.Lookup("_id").StringValue()]; doc != nil {
		raw, err := bson.Marshal(doc)
		if err != nil {
			return refetch.Image{}, err
		}

		image.Document = raw
	}

	return image, nil
}
