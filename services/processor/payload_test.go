package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// TestNATSThatComesBackWithALargerMaxPayload: the listener reads it at each session and sends larger messages at once. A pull
// whose byte limit is below them never ends and never fails.
func TestNATSThatComesBackWithALargerMaxPayload(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.insert(t, 1)

	// A partition's share of the memory is below the message, so that only max_payload makes room.
	w.start(t, map[string]string{"MEMORY_BUDGET": "64MiB"})
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})

	w.nats.Stop()
	w.nats.SetMaxPayload(8 << 20)
	w.resume(t)
	require.Eventually(t, func() bool { return w.js.Conn().MaxPayload() == 8<<20 }, patience, glance)

	doc := bson.D{{Key: "_id", Value: 1}, {Key: "b", Value: bson.Binary{Data: make([]byte, 3<<20)}}}
	m := w.next(t, event.Replace, 1, bson.E{Key: "fullDocument", Value: doc})
	w.send(t, &m)

	w.awaitSettled(t, checkpoint.Counters{Processed: 2})
	require.Equal(t, marshal(t, doc), w.document(t, 1))
}
