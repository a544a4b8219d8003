package capture_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// TestMarkerThatTheServerDoesNotTake: a marker travels in one piece. One that is too large, with its filter or its table, is
// as large at the next attempt.
func TestMarkerThatTheServerDoesNotTake(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server := mongotest.New(t, mongotest.Options{})
		nats := natstest.Start(t, natstest.Options{MaxPayload: 16 << 10})
		w := &world{mongo: server, source: connect(t, server), nats: nats, js: nats.JetStream(t)}
		w.initAs(t, mode, gib)

		l := w.listen(t, func(o *capture.Options) {
			for n := range 1000 {
				o.Exclude = append(o.Exclude, fmt.Sprintf("shop.left_out_%04d", n))
			}
		})
		insert(t, w.source, orders, 0, 5)

		reason := l.await(t, capture.Failed).Reason
		require.Contains(t, reason, "marker")
		require.Contains(t, reason, "raise max_payload")
	})
}

// TestMarkerProvesWhatNothingElseDoes: a change that the filter leaves out may follow one that asked for no reply, and then
// a marker asks. With one that has asked, as each does that comes alone, a marker each time would only fill the stream.
func TestMarkerProvesWhatNothingElseDoes(t *testing.T) {
	t.Parallel()

	began := time.Now()

	for name, test := range map[string]struct {
		clock   func() time.Time
		markers int
	}{
		"asked":   {clock: time.Now, markers: 0},
		"unasked": {clock: func() time.Time { return began }, markers: 1}, // no message is so much later that it asks
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			insertTogether(t, w.source, 0)

			stream := w.init(t, gib)
			l := w.listen(t, func(o *capture.Options) {
				o.Exclude, o.MarkerIdle, o.Clock.Now = []string{"shop.audit"}, time.Hour, test.clock
			})
			proven := func(total uint64) {
				require.Eventually(t, func() bool {
					status := l.Status()

					return status.Total == total && status.WindowMessages == 0
				}, patience, 10*time.Millisecond)
			}

			l.await(t, capture.Streaming)
			insert(t, w.source, orders, 1, 2)
			proven(1)

			before := len(read(t, stream).markers) // one of them names the filter

			insertTogether(t, w.source, 2)
			proven(3)
			time.Sleep(time.Second) // a needless marker would come within 200 ms
			require.Len(t, read(t, stream).markers, before+test.markers)
		})
	}
}

// insertTogether writes a document that is taken and one that is not, in one transaction: they are read together.
func insertTogether(t *testing.T, c *mongo.Client, id int32) {
	t.Helper()

	session, err := c.StartSession()
	require.NoError(t, err)

	defer session.EndSession(t.Context())

	_, err = session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
		if _, err := c.Database(orders.DB).Collection(orders.Coll).InsertOne(ctx, bson.D{{Key: "_id", Value: id}}); err != nil {
			return nil, err
		}

		return c.Database(audit.DB).Collection(audit.Coll).InsertOne(ctx, bson.D{{Key: "_id", Value: id}})
	})
	require.NoError(t, err)
}
