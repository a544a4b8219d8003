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
			v.Checkpoints[test.partition] = barrier.Checkpoint{Epoch: max(9, test.epoch)}

			require.Equal(t, test.want, v.Decide(&barrier.Lane{Partition: test.partition, Epoch: test.epoch, At: at}).Step)
		})
	}
}

// TestTargetThatWentBackIsSeenAtABarrier: whoever stands there commits nothing, so no guard would tell it. What it and
// others have announced belongs to what the target has lost.
func TestTargetThatWentBackIsSeenAtABarrier(t *testing.T) {
	t.Parallel()

	at := barrier.Barrier{Event: 7, Position: event.Position{T: 7}}
	lane := barrier.Lane{Partition: 1, Epoch: 9, Commits: 5, At: at}

	for name, test := range map[string]struct {
		own  *barrier.Checkpoint // nil: the target has none
		want barrier.Step
	}{
		"as it was":                   {own: &barrier.Checkpoint{Epoch: 9, Commits: 5}, want: barrier.Wait},
		"committed since":             {own: &barrier.Checkpoint{Epoch: 9, Commits: 6}, want: barrier.Wait},
		"another's since":             {own: &barrier.Checkpoint{Epoch: 10, Commits: 2}, want: barrier.Wait},
		"to before the last commit":   {own: &barrier.Checkpoint{Epoch: 9, Commits: 4}, want: barrier.Leave},
		"to before it was acquired":   {own: &barrier.Checkpoint{Epoch: 8, Commits: 7}, want: barrier.Leave},
		"to before the partition was": {want: barrier.Leave},
	} {
		v := barrier.View{
			Partitions:  2,
			Document:    barrier.Document{Arrived: map[string]barrier.Arrival{barrier.Slot(1): {Barrier: at, Epoch: 9, Commits: 5}}},
			Checkpoints: map[int]barrier.Checkpoint{0: {Epoch: 3}},
		}
		first := barrier.Claim

		if test.own != nil {
			v.Checkpoints[1] = *test.own
		}

		if test.want == barrier.Leave || test.own.Epoch != 9 {
			first = barrier.Announce // and wait for an arrival on this target
		}

		require.Equal(t, test.want, v.Decide(&lane).Step, name)
		require.Equal(t, first, v.Decide(&barrier.Lane{Epoch: 3, At: at}).Step, name)
	}

	v := barrier.View{Partitions: 2}
	require.Equal(t, barrier.Announce, v.Decide(&lane).Step, "nobody has arrived anywhere, and no checkpoint was read")
	require.Equal(t, barrier.Leave, (&barrier.View{Partitions: 1, Checkpoints: map[int]barrier.Checkpoint{0: {Epoch: 2}}}).Decide(&barrier.Lane{Epoch: 3, At: at}).Step)
}
