package refetch_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	drvevent "go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	client "github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// versions are the updates of one document with the times that the source gave them.
type versions struct {
	w *world

	mu    sync.Mutex
	times []bson.Timestamp // of version i
}

// next writes the next version of the document.
func (v *versions) next(t *testing.T) {
	t.Helper()

	v.mu.Lock()
	defer v.mu.Unlock()

	version := len(v.times)
	v.times = append(v.times, v.w.write(t, func(ctx context.Context) error {
		_, err := v.w.db.Collection("orders").UpdateByID(ctx, 1,
			bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: version}}}}, options.UpdateOne().SetUpsert(true))

		return err
	}))
}

// requireNotOlder checks the promise: every update with a time up to T is in the image.
func (v *versions) requireNotOlder(t *testing.T, image client.Image) (version int) {
	t.Helper()

	v.mu.Lock()
	defer v.mu.Unlock()

	version = int(image.Document.Lookup("v").AsInt64())

	for i, at := range v.times {
		if at.Compare(image.Time) <= 0 {
			require.GreaterOrEqual(t, version, i, "the update at %v is not in the image of version %d at T %v", at, version, image.Time)
		}
	}

	return version
}

// TestUpdatesAroundTheRead changes the document after T was taken and before it is read, and after it was read and
// before the reply. An image with a T taken later than the read would hide an update from the processor for ever.
func TestUpdatesAroundTheRead(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	v := &versions{w: w}
	v.next(t)
	v.next(t)

	var (
		finds    atomic.Int32
		commands [2]bson.Raw // written by the monitor, read after the answer
	)

	// The driver calls the monitor before it returns the result to the responder.
	l := w.listen(t, &drvevent.CommandMonitor{
		Started: func(_ context.Context, e *drvevent.CommandStartedEvent) {
			if n := finds.Load(); e.CommandName == "find" && n < 2 {
				commands[n] = append(bson.Raw(nil), e.Command...)
			}
		},
		Succeeded: func(_ context.Context, e *drvevent.CommandSucceededEvent) {
			if e.CommandName == "find" {
				finds.Add(1)
				v.next(t) //nolint:contextcheck // the command's own context holds the responder's session
			}
		},
	})

	image, err := w.fetch(t, w.ns("orders"), 1, v.times[1])
	require.NoError(t, err)
	require.Equal(t, int32(2), finds.Load())
	require.Equal(t, 2, v.requireNotOlder(t, image), "the update before the read is in the image, the one after it is not")
	require.Equal(t, -1, image.Time.Compare(v.times[2]))

	l.stop()

	// What makes it hold where there is more than one node.
	require.Equal(t, v.times[1], afterClusterTime(t, commands[0]), "T is not before the event that asked")
	require.Equal(t, image.Time, afterClusterTime(t, commands[1]), "the document is not read before T")
}

func afterClusterTime(t *testing.T, command bson.Raw) bson.Timestamp {
	t.Helper()

	require.Equal(t, "majority", command.Lookup("readConcern", "level").StringValue())

	var at bson.Timestamp
	at.T, at.I = command.Lookup("readConcern", "afterClusterTime").Timestamp()

	return at
}

// TestUpdatesAllTheTime fetches a document that never stands still.
func TestUpdatesAllTheTime(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.listen(t, nil)

	v := &versions{w: w}
	v.next(t)

	var (
		enough atomic.Bool
		writer sync.WaitGroup
	)

	writer.Go(func() {
		for !enough.Load() {
			v.next(t)
		}
	})

	last := 0

	for range 300 {
		image, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})
		require.NoError(t, err)

		version := v.requireNotOlder(t, image)
		require.GreaterOrEqual(t, version, last)
		last = version
	}

	enough.Store(true)
	writer.Wait()
	require.Positive(t, last)
}
