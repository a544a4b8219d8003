package capture_test

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// looksUp makes updates carry the document of the moment they are read at.
func looksUp(o *capture.Options) { o.FullDocument = changestream.UpdateLookup }

// TestLargeUpdateOfOtherBytesTheSecondTime lets a listener die between the parts of an update whose image is looked up,
// and the document change before the next one reads the event: what it publishes is the second image alone, whole. A
// batch is stored whole or not at all, so only the chain can be left in the middle of an event.
func TestLargeUpdateOfOtherBytesTheSecondTime(t *testing.T) {
	t.Parallel()

	for name, second := range map[string]bson.D{
		"larger":  {{Key: "_id", Value: int32(1)}, {Key: "body", Value: make([]byte, 15<<20)}, {Key: "v", Value: int32(3)}},
		"smaller": {{Key: "_id", Value: int32(1)}, {Key: "v", Value: int32(3)}},
		"gone":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			coll := w.source.Database(orders.DB).Collection(orders.Coll)

			_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: int32(1)}, {Key: "body", Value: make([]byte, 10<<20)}, {Key: "v", Value: int32(1)}})
			require.NoError(t, err)

			stream := w.init(t, gib)

			_, err = coll.UpdateByID(t.Context(), int32(1), bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: int32(2)}}}})
			require.NoError(t, err)
			dieBetweenPartsOf(t, w, stream, changestream.Options{FullDocument: changestream.UpdateLookup})

			if second == nil {
				_, err = coll.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: int32(1)}})
			} else {
				_, err = coll.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: int32(1)}}, second)
			}

			require.NoError(t, err)

			w.listen(t, looksUp)
			awaitTotal(t, stream, 2)

			c := read(t, stream)
			require.Equal(t, []int32{1, 1}, c.ids(t, orders))

			update := c.events[0]
			require.Equal(t, 2, update.Attempt)

			image := bson.Raw(update.Payload).Lookup("fullDocument")
			if second == nil {
				require.Equal(t, bson.TypeNull, image.Type)
				require.Equal(t, 1, update.Parts)

				return
			}

			want, err := bson.Marshal(second)
			require.NoError(t, err)
			require.Equal(t, bson.Raw(want), image.Document())
		})
	}
}

// TestMemoryStaysBounded publishes documents of 16 MiB in a row; a listener that kept them would hold them all. The
// caches of the NATS server in this process are let go within seconds, how soon depends on the machine.
func TestMemoryStaysBounded(t *testing.T) { //nolint:paralleltest // it measures the memory of the whole process
	w := newWorld(t, mongotest.Options{})
	stream := w.initAs(t, topology.PublishChain, gib)
	w.listen(t, nil).await(t, capture.Streaming)

	const (
		documents = 24
		size      = 16<<20 - 64
		bound     = documents * size / 2
	)

	coll := w.source.Database(orders.DB).Collection(orders.Coll)
	body := make([]byte, size)

	for n := range int32(documents) {
		_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: n}, {Key: "body", Value: body}})
		require.NoError(t, err)
		awaitTotal(t, stream, uint64(n)+2) // the collection's creation is an event too
	}

	require.Eventually(t, func() bool { return liveHeap() < bound }, patience, 100*time.Millisecond, "the documents live on")

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)
	require.Greater(t, state.Bytes, uint64(documents*size))
}

// liveHeap is what a collection leaves.
func liveHeap() uint64 {
	debug.FreeOSMemory()

	var stats runtime.MemStats

	runtime.ReadMemStats(&stats)

	return stats.HeapAlloc
}
