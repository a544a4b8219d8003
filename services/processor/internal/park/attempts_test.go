package park

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// TestAnEventIsTriedOnceAndForEachRetry, no sooner than its delays say, and failed once.
func TestAnEventIsTriedOnceAndForEachRetry(t *testing.T) {
	t.Parallel()

	p := newPartition()
	p.policy.Retries, p.policy.Delays = 3, []time.Duration{time.Second, 5 * time.Second}

	var (
		now    = time.Unix(0, 0)
		waits  []time.Duration
		failed int64
	)

	lot := p.Sort([]Item{{ID: "1", Key: "a", Number: 1, Position: event.Position{T: 1}, Whole: true}})

	for {
		require.True(t, lot.Refuse(1, Refusal{Reason: parked.Failed, Text: "a validator"}))

		fx := lot.Effects()
		failed += fx.Failed
		lot.Done(&fx, now)

		if p.Dead() > 0 {
			break
		}

		at, due := p.Due()
		require.True(t, due)

		early, _ := p.Next(at.Add(-1), 10)
		require.Nil(t, early)

		lot, _ = p.Next(at, 10)
		waits, now = append(waits, at.Sub(now)), at
	}

	require.Equal(t, []time.Duration{time.Second, 5 * time.Second, 5 * time.Second}, waits)
	require.Equal(t, int64(1), failed)
	require.Zero(t, p.Waiting())
}

// TestADeltaThatDoesNotFitIsNoFailure: the source is asked for the document, and its retries are all there afterwards.
func TestADeltaThatDoesNotFitIsNoFailure(t *testing.T) {
	t.Parallel()

	p, now := newPartition(), time.Unix(0, 0)

	lot := p.Sort([]Item{{ID: "1", Key: "a", Number: 1, Position: event.Position{T: 1}}})
	require.True(t, lot.Refuse(1, Refusal{Reason: parked.Unfitting, Text: "no such document"}))

	fx := lot.Effects()
	lot.Done(&fx, now)
	require.Len(t, fx.Inserts, 1)
	require.Zero(t, fx.Inserts[0].Entry.Attempts)

	_, asks := p.Next(now.Add(time.Minute), 10)
	require.Len(t, asks, 1)
}
