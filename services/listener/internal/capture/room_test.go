package capture_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// TestMarkersFollowTheStreamsSize: the head can be purged up to the newest marker only, so that one must never be far from
// the end of a stream that is full.
func TestMarkersFollowTheStreamsSize(t *testing.T) {
	t.Parallel()

	const small = 1 << 20

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, small)
	l := w.listen(t, nil)

	insert(t, w.source, orders, 0, 3000)
	l.await(t, capture.Waiting)
	l.stop()

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)

	marker, err := stream.LastMarker(t.Context())
	require.NoError(t, err)
	require.Greater(t, marker.Sequence, state.LastSeq*3/4, "of a stream that ends at %d", state.LastSeq)

	markers := 0

	for sequence := range state.LastSeq {
		m, err := stream.At(t.Context(), sequence+1)
		require.NoError(t, err)

		if m.Kind == event.KindMarker {
			markers++
		}
	}

	require.Greater(t, markers, 4)
}

// TestCaptureGoesOnBehindAPurgedHead: a listener that starts finds no message 1, and none of partitions that idle.
func TestCaptureGoesOnBehindAPurgedHead(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)

	l := w.listen(t, func(o *capture.Options) { o.MarkerIdle = patience }) // none by itself
	insert(t, w.source, orders, 0, 100)
	awaitTotal(t, stream, 101)
	l.Mark()

	var marker uint64

	require.Eventually(t, func() bool {
		m, err := stream.LastMarker(t.Context())
		marker = m.Sequence

		return err == nil && m.Event == 101
	}, patience, 10*time.Millisecond, "no marker was made")

	counts := make(map[int]uint64)

	for partition := range partitions {
		if m, err := stream.LastOf(t.Context(), partition); err == nil {
			counts[partition] = m.Count
		}
	}

	l.stop()
	require.NoError(t, stream.Purge(t.Context(), marker))

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, state.Msgs)
	require.Equal(t, marker, state.FirstSeq)
	require.Zero(t, state.NumDeleted)

	w.listen(t, nil)
	insert(t, w.source, orders, 100, 200)
	awaitTotal(t, stream, 201)

	// The counts of each partition go on where the marker says that they were.
	for sequence := marker + 1; sequence <= marker+100; sequence++ {
		m, err := stream.At(t.Context(), sequence)
		require.NoError(t, err)

		if m.Kind == event.KindEvent {
			counts[m.Partition]++
			require.Equal(t, counts[m.Partition], m.Count, "partition %d", m.Partition)
		}
	}
}
