package capture_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// damaged is a connection to a server that says how many messages its streams miss.
type damaged struct {
	*nats.Conn

	deleted int
}

func (d *damaged) RequestWithContext(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	reply, err := d.Conn.RequestWithContext(ctx, subject, data)
	if err != nil || subject != "$JS.API.STREAM.INFO."+topology.StreamName(flow) {
		return reply, err //nolint:wrapcheck // the client's own answer
	}

	var info map[string]any
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return nil, err //nolint:wrapcheck // of a test
	}

	info["state"].(map[string]any)["num_deleted"] = d.deleted //nolint:forcetypeassert // the server's answer has one
	reply.Data, err = json.Marshal(info)

	return reply, err //nolint:wrapcheck // of a test
}

// TestHoleSmallerThanOneThatIsGone: a hole that was healed leaves the stream with what is purged before it. Another one is
// found although it is smaller, also by the listener that goes on from the markers.
func TestHoleSmallerThanOneThatIsGone(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	insert(t, w.source, orders, 0, 1) // so that the token is another one
	publishMarker(t, w, stream, w.presentToken(t), &relayv1.Marker{NumDeleted: 5})

	nc := &damaged{Conn: w.nats.Connect(t), deleted: 5}

	begin := func(writer uint64) *capture.Steps {
		steps, err := capture.NewSteps(nc, w.js, writer, capture.Options{Flow: flow, Clock: retry.Clock{Now: time.Now}})
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), patience) // it waits where it finds a hole
		defer cancel()

		_, err = steps.Read(ctx)
		require.NoError(t, err)
		require.NoError(t, steps.Begin(t.Context()))
		require.NoError(t, steps.Scrub(t.Context()))
		require.Empty(t, steps.Status().Reason)

		return steps
	}

	steps := begin(1)
	nc.deleted = 0
	require.NoError(t, steps.Scrub(t.Context()))

	insert(t, w.source, orders, 1, 2)
	require.NoError(t, steps.Take(t.Context(), &changestream.Change{Token: w.presentToken(t), Dry: true}))
	require.NoError(t, steps.Tick(t.Context()))
	require.Eventually(t, func() bool {
		last, err := stream.LastMarker(t.Context())

		return err == nil && last.Sequence == 3
	}, patience, 10*time.Millisecond, "no marker tells that less is known")
	_ = steps.End(context.Canceled)

	last, err := stream.LastMarker(t.Context())
	require.NoError(t, err)

	marker, err := last.Marker()
	require.NoError(t, err)
	require.Zero(t, marker.GetNumDeleted())

	steps = begin(2)
	nc.deleted = 3
	require.NoError(t, steps.Scrub(t.Context()))
	require.Contains(t, steps.Status().Reason, "the server misses 3")
	_ = steps.End(context.Canceled)
}
