package park

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// moved is a record that another partition has handed over after a rename.
func moved() *parked.Record {
	r := record("a", parked.Waiting, parked.Unfitting)
	r.Operation, r.Counted = event.Insert, true

	return r
}

// TestEventThatDoesNotFitIsNeverWritten: its image may conflict for a while. The event itself is of before a rename, or
// behind a mark, and stays what only the source's document can take the place of, for a new owner and for a replay too.
func TestEventThatDoesNotFitIsNeverWritten(t *testing.T) {
	t.Parallel()

	for name, r := range map[string]*parked.Record{"moved": moved(), "behind a mark": record("a", parked.Waiting, parked.Unfitting)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p, now := newPartition(), time.Unix(0, 0)
			require.NoError(t, p.Load(r, now))

			// Nobody has read the rest of the flow: no conflict was judged before.
			for range 3 {
				p.conflictOfImage(t, now)

				at, due := p.Due()
				require.True(t, due)
				require.GreaterOrEqual(t, at.Sub(now), firstAsk, "each try asks the source")
				require.True(t, p.Judges(), "a conflict is judged by the rest of the flow")

				now = at
			}

			require.Equal(t, parked.Unfitting, p.documents["a"].entries[0].Reason)

			for ; p.Dead() == 0; now = now.Add(time.Minute) {
				p.Observe(View{Known: true, Beyond: event.Position{T: 100}, Earliest: []event.Position{{T: 1}}})
				p.conflictOfImage(t, now)
			}

			letter := p.documents["a"].entries[0]
			require.Equal(t, parked.Unfitting, letter.Reason, "it is what the record says")

			replayed := *r
			replayed.Rev, replayed.State, replayed.Counted = letter.Rev+1, parked.Waiting, true
			p.Changed(&replayed, now)
			p.conflictOfImage(t, now)
		})
	}
}

// conflictOfImage has the source asked for the one document, which the target refuses because of a unique value.
func (p *Partition) conflictOfImage(t *testing.T, now time.Time) {
	t.Helper()

	lot, asks := p.Next(now, 10)
	require.Nil(t, lot, "the event is written")
	require.Len(t, asks, 1)

	lot = p.Answered("a", bson.Timestamp{T: 50}, now)
	require.True(t, lot.Refuse(lot.Items[0].Number, Refusal{Reason: parked.Conflict, Code: 11000}))

	fx := lot.Effects()
	lot.Done(&fx, now)
}

// TestConflictOfAnImageIsTold: whoever looks at the record sees why the source's document does not end it. It is written
// once, not each time.
func TestConflictOfAnImageIsTold(t *testing.T) {
	t.Parallel()

	p, now := newPartition(), time.Unix(0, 0)
	require.NoError(t, p.Load(moved(), now))

	for updates := 1; updates >= 0; updates-- {
		_, asks := p.Next(now, 10)
		require.Len(t, asks, 1)

		lot := p.Answered("a", bson.Timestamp{T: 50}, now)
		require.True(t, lot.Refuse(lot.Items[0].Number, Refusal{Reason: parked.Conflict, Code: 11000}))

		fx := lot.Effects()
		require.Len(t, fx.Updates, updates)

		if updates > 0 {
			require.Equal(t, 11000, fx.Updates[0].Refusal.Code)
		}

		lot.Done(&fx, now)
		now = now.Add(time.Minute)
	}
}
