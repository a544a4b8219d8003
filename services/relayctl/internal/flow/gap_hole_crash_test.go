package flow_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// fenceAll fences the partitions for a gap, as a run does that breaks off behind it.
func (w *world) fenceAll(t *testing.T, ahead checkpoint.GapAhead) {
	t.Helper()

	_, err := checkpoint.Checkpoints(w.target).UpdateMany(t.Context(), bson.D{{Key: "flow", Value: w.flow()}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "gap", Value: ahead}}}})
	require.NoError(t, err)
}

func (w *world) setState(t *testing.T, state gap.State) {
	t.Helper()

	_, err := gap.Gaps(w.target).UpdateOne(t.Context(), bson.D{{Key: "flow", Value: w.flow()}}, bson.D{{Key: "$set", Value: bson.D{{Key: "state", Value: state}}}})
	require.NoError(t, err)
}

// requireFenced makes sure that all partitions are fenced for this gap; for none, if it is empty.
func (w *world) requireFenced(t *testing.T, id string) {
	t.Helper()

	for number, d := range w.checkpoints(t) {
		if id == "" {
			require.Nil(t, d.Gap, number)

			continue
		}

		require.NotNil(t, d.Gap, number)
		require.Equal(t, id, d.Gap.ID, number)
	}
}

// TestPassingAHoleAfterACrash: a crash may come between any two steps. The next run finishes the same gap, with the numbers
// that were recorded, or takes back what nobody needs.
func TestPassingAHoleAfterACrash(t *testing.T) {
	t.Parallel()

	tailOf := func(t *testing.T, w *world) topology.Stored {
		t.Helper()

		tail, err := w.open(t).Tail(t.Context())
		require.NoError(t, err)

		return tail
	}

	t.Run("between fence and record", func(t *testing.T) {
		t.Parallel()

		w := newHoleWorld(t)
		tail := tailOf(t, w)
		id := gap.HoleID(w.flow(), w.open(t).StreamID, tail.Sequence, 0, 0)
		w.fenceAll(t, checkpoint.GapAhead{ID: id, After: int64(tail.Sequence)})

		accepted, err := w.acceptGap(t, "")
		require.NoError(t, err)
		require.Equal(t, id, accepted.Gap.ID)
		require.Equal(t, uint64(25), tailOf(t, w).Event)
	})

	t.Run("behind another tail", func(t *testing.T) {
		t.Parallel()

		w := newHoleWorld(t)
		w.fenceAll(t, checkpoint.GapAhead{ID: "of before", After: 1})

		accepted, err := w.acceptGap(t, "")
		require.NoError(t, err)
		w.requireFenced(t, accepted.Gap.ID)
	})

	t.Run("between record and marker", func(t *testing.T) {
		t.Parallel()

		w := newHoleWorld(t)
		makeRoom := w.fill(t) // the marker is refused, as if the process had died before it
		_, err := w.acceptGap(t, "")
		require.Error(t, err)
		require.Equal(t, gap.Open, w.recorded(t)[0].State)

		makeRoom()

		accepted, err := w.acceptGap(t, "now") // not used
		require.NoError(t, err)
		require.True(t, accepted.Resumed)
		require.Equal(t, []uint64{25, 5, 1}, []uint64{tailOf(t, w).Event, tailOf(t, w).Skipped, tailOf(t, w).Generation})
		w.requireFenced(t, accepted.Gap.ID)
	})

	t.Run("between marker and its note", func(t *testing.T) {
		t.Parallel()

		w := newHoleWorld(t)
		_, err := w.acceptGap(t, "")
		require.NoError(t, err)

		before := tailOf(t, w)
		passed := w.pass(t, 0, &before)
		w.setState(t, gap.Open)

		accepted, err := w.acceptGap(t, "")
		require.NoError(t, err)
		require.True(t, accepted.Resumed)
		require.Equal(t, before.Sequence, tailOf(t, w).Sequence, "one marker only")
		require.Equal(t, gap.Closed, w.recorded(t)[0].State)
		require.Equal(t, passed, w.checkpoints(t)[0], "what is behind the gap stays there")
	})

	t.Run("NATS lost the marker", func(t *testing.T) {
		t.Parallel()

		w := newHoleWorld(t)
		tail := tailOf(t, w)
		first, err := w.open(t).At(t.Context(), 1)
		require.NoError(t, err)

		g := gap.Document{
			ID: "lost", Flow: w.flow(), StreamID: tail.StreamID, Sequence: int64(tail.Sequence), Event: 25, Skipped: 5, Generation: 1,
			From: gap.Edge{ResumeToken: first.ResumeToken}, To: gap.Edge{Position: tail.Position, ResumeToken: tail.ResumeToken}, State: gap.Closed,
		}
		_, err = gap.Record(t.Context(), w.target, &g)
		require.NoError(t, err)
		w.fenceAll(t, checkpoint.GapAhead{ID: g.ID, After: g.Sequence})

		accepted, err := w.acceptGap(t, "")
		require.NoError(t, err)
		require.True(t, accepted.Resumed)

		marker, err := w.marker(t)
		require.NoError(t, err)
		require.Equal(t, "lost", marker.GetAcceptedGap())
	})

	t.Run("the flow went on without it", func(t *testing.T) {
		t.Parallel()

		w := newHoleWorld(t)
		tail := tailOf(t, w)
		edge := gap.Edge{ResumeToken: tail.ResumeToken}
		g := gap.Document{
			ID: "needless", Flow: w.flow(), StreamID: tail.StreamID, Sequence: int64(tail.Sequence), Generation: 1, From: edge, To: edge, State: gap.Open,
		}
		_, err := gap.Record(t.Context(), w.target, &g)
		require.NoError(t, err)
		w.fenceAll(t, checkpoint.GapAhead{ID: g.ID, After: g.Sequence})
		w.mark(t, 31, 5)

		accepted, err := w.acceptGap(t, "") // another one: the hole is still there
		require.NoError(t, err)
		require.False(t, accepted.Resumed)
		require.Equal(t, int64(6), accepted.Gap.Lost)
		w.requireFenced(t, accepted.Gap.ID)

		documents := w.recorded(t)
		require.Len(t, documents, 2)
		require.Contains(t, []gap.State{documents[0].State, documents[1].State}, gap.Withdrawn)
	})
}

// pass moves a checkpoint behind the gap, as its owner does.
func (w *world) pass(t *testing.T, number int, m *topology.Stored) checkpoint.Document {
	t.Helper()

	_, err := checkpoint.Checkpoints(w.target).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: checkpoint.ID(w.flow(), number)}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "place", Value: checkpoint.PlaceOf(&m.Message, m.Sequence)}}}, {Key: "$unset", Value: bson.D{{Key: "gap", Value: ""}}},
	})
	require.NoError(t, err)

	return w.checkpoints(t)[number]
}

// TestFencesThatNobodyNeedsAreLifted: a run broke off behind its fences, and the hole was healed in another way.
func TestFencesThatNobodyNeedsAreLifted(t *testing.T) {
	t.Parallel()

	w := newForgetfulWorld(t)
	first, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	_, err = checkpoint.Checkpoints(w.target).InsertOne(t.Context(), checkpoint.Document{
		ID: checkpoint.ID(w.flow(), 0), Flow: w.flow(), Place: checkpoint.PlaceOf(&first.Message, first.Sequence),
	})
	require.NoError(t, err)
	w.fenceAll(t, checkpoint.GapAhead{ID: "of before", After: 1})

	_, err = w.acceptGapAs(t, flow.GapRequest{By: operator, DryRun: true})
	requireRefused(t, err, "there is no gap")
	w.requireFenced(t, "of before")

	_, err = w.acceptGap(t, "")
	requireRefused(t, err, "there is no gap")
	w.requireFenced(t, "")

	// The run of before is told, if it was only slow.
	edge := gap.Edge{ResumeToken: first.ResumeToken}
	recorded, err := gap.Record(t.Context(), w.target, &gap.Document{ID: "of before", Flow: w.flow(), From: edge, To: edge, State: gap.Open})
	require.NoError(t, err)
	require.Equal(t, gap.Withdrawn, recorded.State)
}

// TestFencesWithoutAMarkerAreLifted: somebody has purged it before every partition was behind it. Those that were not find the
// hole again.
func TestFencesWithoutAMarkerAreLifted(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t)
	accepted, err := w.acceptGap(t, "")
	require.NoError(t, err)

	_, err = w.acceptGap(t, "")
	requireRefused(t, err, "there is no gap")
	w.requireFenced(t, accepted.Gap.ID)

	last := w.mark(t, 26, 5)
	require.NoError(t, w.open(t).Purge(t.Context(), last.Sequence))

	_, err = w.acceptGap(t, "")
	requireRefused(t, err, "there is no gap")
	w.requireFenced(t, "")
}

// TestTwoOperatorsPassAHoleOnce: whoever comes second finds what the first one has done, and fences nobody who has passed.
func TestTwoOperatorsPassAHoleOnce(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t)
	before, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	var (
		both sync.WaitGroup
		errs [2]error
	)

	for i := range errs {
		both.Go(func() { _, errs[i] = w.acceptGap(t, "") })
	}

	both.Wait()

	for _, err := range errs {
		if err != nil {
			requireRefused(t, err)
		}
	}

	m, err := w.open(t).At(t.Context(), before.Sequence+1)
	require.NoError(t, err)

	tail, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, m.Sequence, tail.Sequence, "one marker")
	require.Equal(t, []uint64{25, 1}, []uint64{m.Event, m.Generation})

	documents := w.recorded(t)
	require.Len(t, documents, 1)
	require.Equal(t, gap.Closed, documents[0].State)
	w.requireFenced(t, documents[0].ID)
}

// TestEventThatWasUnfinishedBehindAHoleComesAgain: the source has it, so it is not part of the gap.
func TestEventThatWasUnfinishedBehindAHoleComesAgain(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t)
	stream := w.open(t)
	last, err := stream.Tail(t.Context())
	require.NoError(t, err)

	m := last.Message
	m.Kind, m.Event, m.Count, m.Parts, m.Size, m.Payload = event.KindEvent, last.Event+1, 6, 2, 8, []byte("half")
	m.Namespace, m.Partition, m.Position = event.Namespace{DB: "shop", Coll: "orders"}, 3, event.Position{T: 5000, I: 7, Ordinal: 2}
	_, err = stream.PublishAfter(t.Context(), w.nats.JetStream(t), last, &m)
	require.NoError(t, err)

	accepted, err := w.acceptGap(t, "")
	require.NoError(t, err)
	require.Equal(t, int64(5), accepted.Gap.Lost)

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, event.Position{T: 5000, I: 7, Ordinal: 1}, tail.Position)
	require.Equal(t, last.ResumeToken, tail.ResumeToken)
	require.Equal(t, uint64(25), tail.Event)
}
