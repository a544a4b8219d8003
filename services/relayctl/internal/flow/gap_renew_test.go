package flow_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// newAppliedWorld is a flow of 4 partitions of which something was applied.
func newAppliedWorld(t *testing.T) (w *world, old *topology.Stream) {
	t.Helper()

	w = newWorld(t)
	_, err := w.init(t, "PARTITIONS", "4")
	require.NoError(t, err)

	delete(w.env, "PARTITIONS") // accept-gap finds it out

	old = w.open(t)
	first, err := old.Tail(t.Context())
	require.NoError(t, err)

	// 30 events: 5 left out by the listener, 20 settled or parked, 5 applied nowhere.
	for number, counters := range []checkpoint.Counters{{Processed: 7, Batches: 3}, {Processed: 5, Failed: 1}, {Processed: 4, Skipped: 2}, {}} {
		place := checkpoint.PlaceOf(&first.Message, first.Sequence)
		place.Sequence, place.Event, place.Skipped, place.Position = int64(10+number), int64(27+number), new(int64(5)), event.Position{T: uint32(100 + number)}
		d := checkpoint.Document{
			ID: checkpoint.ID(w.flow(), number), Flow: w.flow(), Partition: number, Epoch: 3, Owner: 4, Commits: 9, Place: place, Counters: counters,
		}

		if number == 1 {
			d.Parked = 1
		}

		_, err := checkpoint.Checkpoints(w.target).InsertOne(t.Context(), d)
		require.NoError(t, err)
	}

	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = checkpoint.Checkpoints(w.target).DeleteMany(ctx, bson.D{{Key: "flow", Value: w.flow()}})
		_, _ = gap.Gaps(w.target).DeleteMany(ctx, bson.D{{Key: "flow", Value: w.flow()}})
	})

	return w, old
}

func (w *world) removeStream(t *testing.T) {
	t.Helper()
	require.NoError(t, w.nats.JetStream(t).DeleteStream(t.Context(), topology.StreamName(w.flow())))
}

func (w *world) empty(t *testing.T) {
	t.Helper()

	stream, err := w.nats.JetStream(t).Stream(t.Context(), topology.StreamName(w.flow()))
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))
}

// requireRenewed makes sure that the stream was made in the place of the old one,
// with numbers that agree with the checkpoints.
func requireRenewed(t *testing.T, w *world, old *topology.Stream) {
	t.Helper()

	gaps := w.gaps(t)
	require.Len(t, gaps, 1)

	g := gaps[0]
	require.Equal(t, []string{"closed", old.StreamID}, []string{g.State, g.StreamID})
	require.Equal(t, int64(5), g.Lost)
	require.Equal(t, event.Position{T: 100}.String(), g.From, "what is behind the lowest checkpoint may be missing")

	stream := w.open(t)
	require.Equal(t, []any{g.ReplacedBy, 4}, []any{stream.StreamID, stream.Partitions})

	first, marker, err := stream.First(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{25, 5, 0}, []uint64{first.Event, first.Skipped, first.Generation})
	require.Equal(t, g.To, first.Position.String())
	require.Equal(t, []any{old.StreamID, g.ID}, []any{marker.GetReplacesStreamId(), marker.GetAcceptedGap()})
	require.Equal(t, make([]uint64, 4), marker.GetHeads())

	replaces, err := stream.Replaces(t.Context(), old.StreamID)
	require.NoError(t, err)
	require.True(t, replaces)

	insert(t, w, "behind the gap")
	require.Contains(t, w.idsAfter(t, first.ResumeToken), "behind the gap")
}

func TestStreamThatIsGoneIsMadeAnew(t *testing.T) {
	t.Parallel()

	for name, loss := range map[string]func(*world, *testing.T){"absent": (*world).removeStream, "empty": (*world).empty} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, old := newAppliedWorld(t)
			loss(w, t)

			if name == "absent" {
				_, err := w.init(t)
				requireRefused(t, err, "checkpoints of flow", "relayctl flow accept-gap")
			}

			shown, err := w.acceptGapAs(t, flow.GapRequest{At: "now", DryRun: true})
			require.NoError(t, err)
			require.Equal(t, []int64{25, 5}, []int64{shown.Gap.Event, shown.Gap.Lost})
			require.Empty(t, w.gaps(t))

			accepted, err := w.acceptGap(t, "now")
			require.NoError(t, err)
			require.False(t, accepted.Resumed)
			requireRenewed(t, w, old)

			// Whoever still has a partition of before commits nothing.
			held, err := checkpoint.Load(t.Context(), w.target, w.flow())
			require.NoError(t, err)

			for _, d := range held {
				require.Equal(t, int64(4), d.Epoch)
				require.NotEqual(t, int64(4), d.Owner)
			}

			_, err = w.acceptGap(t, "now")
			requireRefused(t, err, "there is no gap")

			made, err := w.init(t)
			require.NoError(t, err, "init finds it made")
			require.False(t, made.Created)
		})
	}
}

// TestRenewalIsFinished: whatever an earlier run has done, the next one does the rest.
func TestRenewalIsFinished(t *testing.T) {
	t.Parallel()

	reopen := func(t *testing.T, w *world) {
		t.Helper()

		_, err := gap.Gaps(w.target).UpdateMany(t.Context(), bson.D{{Key: "flow", Value: w.flow()}}, bson.D{{Key: "$set", Value: bson.D{{Key: "state", Value: gap.Open}}}})
		require.NoError(t, err)
	}

	for name, undo := range map[string]func(*testing.T, *world){
		"after the record": func(t *testing.T, w *world) {
			t.Helper()
			w.removeStream(t)
		},
		"after the stream": func(t *testing.T, w *world) {
			t.Helper()

			stream := w.open(t)
			w.removeStream(t)

			_, err := topology.Create(t.Context(), w.nats.JetStream(t), w.flow(), stream.Settings, 64<<20)
			require.NoError(t, err)
		},
		"after message 1": func(*testing.T, *world) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, old := newAppliedWorld(t)
			w.removeStream(t)

			_, err := w.acceptGap(t, "now")
			require.NoError(t, err)

			before := w.gaps(t)[0]

			undo(t, w)
			reopen(t, w)

			again, err := w.acceptGap(t, "now")
			require.NoError(t, err)
			require.True(t, again.Resumed)
			require.Equal(t, []string{before.ID, before.ReplacedBy, before.ResumeToken}, []string{again.Gap.ID, again.Gap.ReplacedBy, again.Gap.ResumeToken})
			requireRenewed(t, w, old)
		})
	}

	// The lost stream came back, more was applied, and it was lost again: the numbers of the record are wrong.
	t.Run("after more was applied", func(t *testing.T) {
		t.Parallel()

		w, _ := newAppliedWorld(t)
		w.removeStream(t)

		_, err := w.acceptGap(t, "now")
		require.NoError(t, err)
		w.removeStream(t)
		reopen(t, w)

		_, err = checkpoint.Checkpoints(w.target).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: checkpoint.ID(w.flow(), 3)}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "counters.processed", Value: 2}}}})
		require.NoError(t, err)

		again, err := w.acceptGap(t, "now")
		require.NoError(t, err)
		require.False(t, again.Resumed)
		require.Equal(t, int64(27), again.Gap.Event)

		states := map[string]int{}
		for _, g := range w.gaps(t) {
			states[g.State]++
		}

		require.Equal(t, map[string]int{"withdrawn": 1, "closed": 1}, states)
	})
}

func TestRenewalIsRefused(t *testing.T) {
	t.Parallel()

	w, _ := newAppliedWorld(t)
	w.removeStream(t)

	_, err := w.acceptGapAs(t, flow.GapRequest{At: "now", Set: map[string]bool{"PARTITIONS": true}}) // 16 by default
	requireRefused(t, err, "PARTITIONS=16", "have 4")

	_, err = w.acceptGap(t, "1970-01-01T00:00:30Z")
	requireRefused(t, err, "before the highest checkpoint")

	_, err = checkpoint.Checkpoints(w.target).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: checkpoint.ID(w.flow(), 1)}})
	require.NoError(t, err)
	_, err = w.acceptGap(t, "now")
	requireRefused(t, err, "none of partition 1")
	require.Empty(t, w.gaps(t))
}

// TestRestoredStreamNeedsNoGap: the record of a gap that was begun is withdrawn.
func TestRestoredStreamNeedsNoGap(t *testing.T) {
	t.Parallel()

	w, old := newAppliedWorld(t)
	edge := gap.Edge{ResumeToken: bson.Raw{5, 0, 0, 0, 0}}
	_, err := gap.Record(t.Context(), w.target, &gap.Document{
		ID: gap.EndID(w.flow(), old.StreamID, 0), Flow: w.flow(), StreamID: old.StreamID, ReplacedBy: topology.NewStreamID(), Partitions: 4,
		From: edge, To: edge, State: gap.Open,
	})
	require.NoError(t, err)

	_, err = w.acceptGap(t, "now")
	requireRefused(t, err, "there is no gap")
	require.Equal(t, "withdrawn", w.gaps(t)[0].State)
}

func TestAcceptGapAtATimeThatTheSourceHas(t *testing.T) {
	t.Parallel()

	for name, newWorld := range map[string]func(*testing.T) *world{
		"history lost": newLostWorld,
		"stream gone": func(t *testing.T) *world {
			t.Helper()

			w, _ := newAppliedWorld(t)
			w.removeStream(t)

			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)

			// The second in which the history was lost is one that the source no longer has whole.
			at := time.Now().UTC().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(at))
			insert(t, w, "since then")

			accepted, err := w.acceptGap(t, at.Format(time.RFC3339))
			require.NoError(t, err)
			require.Equal(t, at, accepted.Gap.ToTime)

			tail, err := w.open(t).Tail(t.Context())
			require.NoError(t, err)
			require.Equal(t, event.Position{T: uint32(at.Unix())}, tail.Position)
			require.Contains(t, w.idsAfter(t, tail.ResumeToken), "since then")
		})
	}
}

func TestAcceptGapOfAnotherSourceIsRefused(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.makeWithSource(t, "another replica set")

	_, err := w.acceptGap(t, "now")
	requireRefused(t, err, "the flow was made from", "a fresh copy")
}

// makeWithSource makes a stream that says to be of this source.
func (w *world) makeWithSource(t *testing.T, identity string) {
	t.Helper()

	_, err := w.init(t)
	require.NoError(t, err)

	s := w.open(t).Settings
	w.removeStream(t)

	s.Source = identity
	stream, err := topology.Create(t.Context(), w.nats.JetStream(t), w.flow(), s, 64<<20)
	require.NoError(t, err)
	require.NoError(t, stream.PublishFirst(t.Context(), w.nats.JetStream(t), &event.Message{
		Kind: event.KindMarker, StreamID: s.StreamID, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Part: 1, Parts: 1, Attempt: 1,
	}))
}
