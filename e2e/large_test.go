package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// largest is the size of the largest document that MongoDB takes (https://www.mongodb.com/docs/manual/reference/limits).
const largest = 16 << 20

// padded makes a document of exactly size bytes.
func padded(id any, size int) bson.D {
	document := bson.D{{Key: "_id", Value: id}, {Key: "v", Value: int64(1)}, {Key: "padding", Value: ""}}

	raw, err := bson.Marshal(document)
	if err != nil {
		panic(err) // our own values always can be marshalled
	}

	document[2].Value = strings.Repeat("x", size-len(raw))

	return document
}

// TestLargestDocuments sends documents that no NATS message of the default limit can hold, and kills both ends of the
// stream meanwhile.
func TestLargestDocuments(t *testing.T) {
	s := open(t)
	coll := s.source().Collection("large")
	require.NoError(t, s.source().CreateCollection(t.Context(), coll.Name()))
	s.replicate()

	const documents = 4

	written := uint64(0)
	paced := func() { // before each event: at most it and an unfinished one before it wait for the listener
		s.await("the events before captured", harness.Captured(written))
		written++
	}

	for n := range documents {
		paced()

		_, err := coll.InsertOne(t.Context(), padded(n, largest-n))
		require.NoError(t, err)

		if n == 1 { // in the middle of its parts, or before, or behind: all of them must do
			require.NoError(t, s.relay.Listener.Kill())
			require.NoError(t, s.relay.Processors()[0].Kill())
			require.NoError(t, s.relay.Listener.Start())
			require.NoError(t, s.relay.Processors()[0].Start())
		}
	}

	paced()

	_, err := coll.UpdateByID(t.Context(), 1, bson.D{{Key: "$inc", Value: bson.D{{Key: "v", Value: 1}}}})
	require.NoError(t, err)
	paced()

	_, err = coll.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: 2}}, padded(2, largest))
	require.NoError(t, err)
	paced()

	_, err = coll.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 3}})
	require.NoError(t, err)

	sample := s.await("everything applied", harness.Applied(written))

	require.NoError(t, live.Counters(sample, written, 0))
	s.equal()

	received, err := s.target().Collection("large").FindOne(t.Context(), bson.D{{Key: "_id", Value: 0}}).Raw()
	require.NoError(t, err)
	require.Len(t, received, largest)
}
