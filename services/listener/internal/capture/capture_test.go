package capture_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

const gib = 1 << 30

var (
	orders = event.Namespace{DB: "shop", Coll: "orders"}
	audit  = event.Namespace{DB: "shop", Coll: "audit"}
)

func TestCaptureGoesOnWhereTheStreamEnds(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		w := newWorld(t, mongotest.Options{})
		stream := w.initAs(t, mode, gib)

		for restart := range int32(3) {
			// Half is written while nobody listens.
			insert(t, w.source, orders, restart*100, restart*100+50)

			l := w.listen(t, nil)
			insert(t, w.source, orders, restart*100+50, restart*100+100)
			awaitTotal(t, stream, uint64(restart+1)*100+1) // the collection's create event is one
			require.Equal(t, uint64(restart+1)*100+1, l.Status().Total)
			l.stop()
		}

		require.Equal(t, sequence(0, 300), read(t, stream).ids(t, orders))
	})
}

func TestCaptureCountsWhatTheFilterLeavesOut(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		w := newWorld(t, mongotest.Options{})
		stream := w.initAs(t, mode, gib)

		insert(t, w.source, orders, 0, 10)
		insert(t, w.source, audit, 0, 20)
		insert(t, w.source, event.Namespace{DB: "atlas_relay", Coll: "checkpoints"}, 0, 5) // never counted

		l := w.listen(t, func(o *capture.Options) { o.Exclude, o.MarkerIdle = []string{"shop.audit"}, time.Second })
		awaitTotal(t, stream, 32) // 30 documents, 2 collections
		l.stop()

		// Another filter takes effect from here on, and a marker says so at once.
		l = w.listen(t, func(o *capture.Options) { o.Include = []string{"shop.audit"} })
		l.await(t, capture.Streaming)
		insert(t, w.source, orders, 10, 20)
		insert(t, w.source, audit, 20, 30)
		awaitTotal(t, stream, 52)
		l.stop()

		c := read(t, stream)
		require.Equal(t, sequence(0, 10), c.ids(t, orders))
		require.Equal(t, sequence(20, 30), c.ids(t, audit))

		tail, err := stream.Tail(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(21+10), tail.Skipped)

		var marker relayv1.Marker

		require.NoError(t, proto.Unmarshal(c.markers[len(c.markers)-1].Payload, &marker))
		require.Equal(t, []string{"shop.audit"}, marker.GetFilter().GetInclude())
	})
}

func TestIdleStreamKeepsItsTokenFresh(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	before, err := stream.Tail(t.Context())
	require.NoError(t, err)

	w.listen(t, func(o *capture.Options) { o.MarkerIdle = 200 * time.Millisecond })

	// The source's noop heartbeat moves its token once a second.
	require.Eventually(t, func() bool {
		tail, err := stream.Tail(t.Context())

		return err == nil && tail.Sequence >= before.Sequence+2 && string(tail.ResumeToken) != string(before.ResumeToken)
	}, patience, 50*time.Millisecond)

	for _, m := range read(t, stream).markers {
		require.Zero(t, m.Event)
	}
}
