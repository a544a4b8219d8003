package barrier_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// TestReplacedOwnersWait: an owner that has lost its partition, and does not know it yet, writes nothing over what its
// successor wrote. Else it might make a change a second time, when the successor has gone on behind it.
func TestReplacedOwnersWait(t *testing.T) {
	t.Parallel()

	at := barrier.Barrier{Event: 7, Position: event.Position{T: 7}}
	before := barrier.Barrier{Event: 5, Position: event.Position{T: 5}}

	for name, test := range map[string]struct {
		partition int
		epoch     int64 // of the lane that looks; what it finds was written under epoch 9
		found     barrier.Barrier
		want      barrier.Step
	}{
		"the first one's predecessor":  {epoch: 8, found: at, want: barrier.Wait},
		"the first one's own claim":    {epoch: 9, found: at, want: barrier.Run},
		"the first one's successor":    {epoch: 10, found: at, want: barrier.Claim},
		"another one's predecessor":    {partition: 1, epoch: 8, found: before, want: barrier.Wait},
		"another one's own arrival":    {partition: 1, epoch: 9, found: at, want: barrier.Wait},
		"an own arrival at an earlier": {partition: 1, epoch: 9, found: before, want: barrier.Announce},
		"another one's successor":      {partition: 1, epoch: 10, found: at, want: barrier.Announce},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			v := barrier.View{
				Partitions: 2,
				Document: barrier.Document{
					Executing: &barrier.Execution{Barrier: test.found, Epoch: 9},
					Arrived:   map[string]barrier.Arrival{barrier.Slot(1): {Barrier: test.found, Epoch: 9}},
				},
				Checkpoints: map[int]barrier.Checkpoint{0: {Epoch: 9}, 1: {Epoch: 9}},
			}

			require.Equal(t, test.want, v.Decide(&barrier.Lane{Partition: test.partition, Epoch: test.epoch, At: at}).Step)
		})
	}
}
