package ownership

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// TestReleaseOfThePartitionsOfThisProcess: those at the change or before it go on, whatever an older view says after that.
func TestReleaseOfThePartitionsOfThisProcess(t *testing.T) {
	t.Parallel()

	c := newCrossing()
	at := func(position uint32) barrier.Barrier {
		return barrier.Barrier{Event: int64(position), Position: event.Position{T: position}}
	}

	before := c.stand(barrier.Lane{Partition: 1, At: at(6)})
	there := c.stand(barrier.Lane{Partition: 2, At: at(7)})
	behind := c.stand(barrier.Lane{Partition: 3, At: at(8)})

	c.tell(there, barrier.Verdict{Step: barrier.Wait}) // not heard yet

	made := &barrier.Execution{Barrier: at(7)}
	c.release(at(7).Position, made)

	for _, s := range []*standing{before, there} {
		c.tell(s, barrier.Verdict{Step: barrier.Wait})
		require.Equal(t, barrier.Verdict{Step: barrier.Pass, Executing: made}, <-s.verdicts)
	}

	require.Empty(t, behind.verdicts)
	require.Equal(t, []*standing{behind}, c.present())

	c.leave(there) // as it does when it has heard
	require.Equal(t, []*standing{behind}, c.present())
}

func TestLooksBecomeRarerForWhoHasComeLast(t *testing.T) {
	t.Parallel()

	now := time.Now()
	waiting := func(waits ...time.Duration) []*standing {
		list := make([]*standing, len(waits))
		for i, wait := range waits {
			list[i] = &standing{since: now.Add(-wait)}
		}

		return list
	}

	require.Equal(t, firstLook, nextLook(waiting(time.Hour, 0), now))
	require.Equal(t, 10*time.Millisecond, nextLook(waiting(200*time.Millisecond, time.Hour), now))
	require.Equal(t, lastLook, nextLook(waiting(time.Hour), now))
}
