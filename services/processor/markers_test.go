package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// TestIdlePartitionsFollowMarkers: the checkpoint of a partition without changes must not become old, and a marker must
// not carry it past a change.
func TestIdlePartitionsFollowMarkers(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	p := w.start(t, nil)
	p.awaitReady(t)

	for round := range 3 {
		w.insert(t, round)
		w.mark(t)

		tail, err := w.stream.Tail(t.Context())
		require.NoError(t, err)

		require.EventuallyWithT(t, func(c *assert.CollectT) {
			all, err := checkpoint.Load(t.Context(), w.target, w.flow)
			if !assert.NoError(c, err) || !assert.Len(c, all, partitions) {
				return
			}

			for number, held := range all {
				assert.Equal(c, tail.Sequence, held.StreamSequence(), "partition %d", number)
				assert.Equal(c, int64(tail.Event), held.Event)
				assert.Equal(c, tail.Position, held.Position)
				assert.Equal(c, int64(w.counts[number]), held.Count)
			}
		}, 20*time.Second, 20*time.Millisecond)

		require.NoError(t, p.end())

		p = w.start(t, nil) // finds the marker where its checkpoints are
		p.awaitReady(t)
	}

	w.awaitSettled(t, checkpoint.Counters{Processed: 3})
	require.NoError(t, p.end())
}
