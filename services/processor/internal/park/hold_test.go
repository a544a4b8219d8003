package park

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func newPartition() *Partition {
	return New(Policy{Retries: 1, Delays: []time.Duration{time.Second}, Together: 10, MaxEvents: 10, MaxBytes: 1 << 20, MaxTotal: 1 << 30})
}

// record is of the first event, a delta, of a document.
func record(key string, state parked.State, reason parked.Reason) *parked.Record {
	return &parked.Record{
		ID: key, Number: 1, Position: event.Position{T: 1}, Key: bson.Binary{Data: []byte(key)}, Operation: event.Update, Size: 10,
		State: state, Reason: reason, Counted: state == parked.Dead,
	}
}

func only(name event.Key) func(event.Key) bool {
	return func(key event.Key) bool { return key == name }
}

// TestWhyHeldEventsAreParked: behind a mark a delta needs the source's document, whatever else it waits for.
func TestWhyHeldEventsAreParked(t *testing.T) {
	t.Parallel()

	p := newPartition()
	require.NoError(t, p.Load(record("marked", parked.Dead, parked.Failed), time.Unix(0, 0)))
	p.Hold(func(event.Key) bool { return true }, time.Unix(0, 0))

	lot := p.Sort([]Item{
		{ID: "2", Key: "fresh", Number: 2, Position: event.Position{T: 2}},
		{ID: "3", Key: "fresh", Number: 3, Position: event.Position{T: 3}},
		{ID: "4", Key: "marked", Number: 4, Position: event.Position{T: 4}},
		{ID: "5", Key: "whole", Number: 5, Position: event.Position{T: 5}, Whole: true},
		{ID: "6", Key: "", Number: 6, Position: event.Position{T: 6}},
	})
	fx := lot.Effects()

	var reasons []parked.Reason
	for i := range fx.Inserts {
		reasons = append(reasons, fx.Inserts[i].Entry.Reason)
	}

	require.Equal(t, []parked.Reason{parked.Paused, parked.Follows, parked.Unfitting, parked.Paused}, reasons)
	require.Equal(t, int64(1), fx.Processed, "what concerns no document")
}

// TestAnswerForAHeldDocument comes too late: the source is asked again afterwards.
func TestAnswerForAHeldDocument(t *testing.T) {
	t.Parallel()

	p, now := newPartition(), time.Unix(0, 0)
	require.NoError(t, p.Load(record("a", parked.Waiting, parked.Unfitting), now))

	_, asks := p.Next(now, 10)
	require.Len(t, asks, 1)

	p.Hold(only("a"), now)
	require.Nil(t, p.Answered("a", bson.Timestamp{T: 9}, now))

	_, due := p.Due()
	require.False(t, due)

	p.Hold(nil, now)

	at, due := p.Due()
	require.True(t, due)
	require.Equal(t, now, at)

	_, asks = p.Next(now, 10)
	require.Len(t, asks, 1)
}

// TestHoldLeavesTheTimesOfOthers: only those that are held, or let go, are due at another time.
func TestHoldLeavesTheTimesOfOthers(t *testing.T) {
	t.Parallel()

	p, now := newPartition(), time.Unix(0, 0)

	tried := record("a", parked.Waiting, parked.Failed)
	tried.Attempts = 1
	require.NoError(t, p.Load(tried, now))

	p.Hold(only("b"), now.Add(time.Hour))
	p.Hold(nil, now.Add(time.Hour))

	at, due := p.Due()
	require.True(t, due)
	require.Equal(t, now.Add(time.Second), at)
}

// TestConflictsDoNotCountWhileAnythingIsHeld: what would end them cannot move.
func TestConflictsDoNotCountWhileAnythingIsHeld(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		held func(event.Key) bool
		dead int64
	}{
		"held":     {only("other"), 0},
		"not held": {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p, now := newPartition(), time.Unix(0, 0)
			require.NoError(t, p.Load(record("a", parked.Waiting, parked.Conflict), now))
			p.Hold(test.held, now)

			for range 20 {
				p.Observe(View{Known: true, Beyond: event.Position{T: 100}, Earliest: []event.Position{{T: 1}}})

				now = now.Add(time.Minute)
				p.conflict(t, now)
			}

			require.Equal(t, test.dead, p.Dead())
		})
	}
}

// conflict lets the one document, or the source's, be refused because of a unique value.
func (p *Partition) conflict(t *testing.T, now time.Time) {
	t.Helper()

	lot, asks := p.Next(now, 10)
	for _, a := range asks {
		lot = p.Answered(a.Key, bson.Timestamp{T: 50}, now)
	}

	if lot == nil {
		return
	}

	require.True(t, lot.Refuse(lot.Items[0].Number, Refusal{Reason: parked.Conflict}))

	fx := lot.Effects()
	lot.Done(&fx, now)
}
