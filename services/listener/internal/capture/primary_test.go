package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// forgetful has the server behind the wire say that its oplog does not reach back, at this command of a change stream.
func forgetful(wire *mongotest.Wire, command string) {
	wire.Answer(func(c mongotest.Command) bson.D {
		if c.Name != command {
			return nil
		}

		return mongotest.CommandError(286, "ChangeStreamHistoryLost", "Resume of change stream was not possible, as the resume point may no longer be in the oplog.")
	})
}

// TestPrimaryIsAskedBeforeHistoryIsLost: a secondary that was just synced, or is smaller, has less history than the primary.
func TestPrimaryIsAskedBeforeHistoryIsLost(t *testing.T) {
	t.Parallel()

	for _, command := range []string{"aggregate", "getMore"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			stream := w.init(t, gib)
			wire, secondary := w.throughWire(t)
			forgetful(wire, command)

			l := secondary.listen(t, func(o *capture.Options) {
				o.Primary = func() (*mongo.Client, error) { return mongodb.Connect(w.mongo.URI(), mongodb.Options{}) }
			})
			insert(t, w.source, orders, 0, 5)
			awaitTotal(t, stream, 6)
			l.await(t, capture.Streaming)
			require.Equal(t, sequence(0, 5), read(t, stream).ids(t, orders))
		})
	}
}

// TestPrimaryWithoutHistory: only what the primary has lost is lost.
func TestPrimaryWithoutHistory(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	w.init(t, gib)
	wire, secondary := w.throughWire(t)
	forgetful(wire, "aggregate")

	primary := w.mongo.NewWire(t)
	forgetful(primary, "aggregate")

	l := secondary.listen(t, func(o *capture.Options) {
		o.Primary = func() (*mongo.Client, error) {
			return mongodb.Connect(primary.Through(w.mongo.URI()), mongodb.Options{})
		}
	})
	require.Contains(t, l.await(t, capture.HistoryLost).Reason, "oplog")
}
