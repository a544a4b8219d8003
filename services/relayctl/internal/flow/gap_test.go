package flow_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// newLostWorld is a flow whose source has forgotten what follows message 1.
func newLostWorld(t *testing.T) *world {
	t.Helper()

	w := newForgetfulWorld(t)
	w.forget(t)

	return w
}

func newForgetfulWorld(t *testing.T, more ...string) *world {
	t.Helper()

	w := newWorld(t)
	source := mongotest.New(t, mongotest.Options{OplogMaxEntries: 100})
	w.db = source.Client(t).Database("shop")
	w.env["SOURCE_URI"], w.env["INCLUDE_NAMESPACES"] = source.URI().Reveal(), "shop.*"

	t.Cleanup(func() {
		_, _ = gap.Gaps(w.target).DeleteMany(context.WithoutCancel(t.Context()), bson.D{{Key: "flow", Value: w.flow()}})
	})

	_, err := w.init(t, append(more, "PARTITIONS", "4")...)
	require.NoError(t, err)

	return w
}

// forget writes so much that the oplog begins behind what was there before.
func (w *world) forget(t *testing.T) {
	t.Helper()

	for range 30 {
		documents := make([]any, 1000)
		for i := range documents {
			documents[i] = bson.D{{Key: "_id", Value: bson.NewObjectID()}}
		}

		_, err := w.db.Collection("noise").InsertMany(t.Context(), documents)
		require.NoError(t, err)
	}
}

func (w *world) acceptGap(t *testing.T, at string) (*flow.AcceptedGap, error) {
	t.Helper()

	return w.acceptGapAs(t, flow.GapRequest{At: at, By: operator})
}

func (w *world) acceptGapAs(t *testing.T, request flow.GapRequest) (*flow.AcceptedGap, error) {
	t.Helper()

	var s flow.GapSettings
	require.NoError(t, settings.Load(&s, w.env))

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	return flow.AcceptGap(ctx, &s, request, slog.New(slog.DiscardHandler))
}

func (w *world) targetSettings(t *testing.T) *flow.TargetSettings {
	t.Helper()

	s := new(flow.TargetSettings)
	require.NoError(t, settings.Load(s, w.env))

	return s
}

func (w *world) gaps(t *testing.T) []flow.Gap {
	t.Helper()

	gaps, err := flow.Gaps(t.Context(), w.targetSettings(t))
	require.NoError(t, err)

	return gaps
}

func TestAcceptedGapIsRecordedAndMarked(t *testing.T) {
	t.Parallel()

	w := newLostWorld(t)

	shown, err := w.acceptGapAs(t, flow.GapRequest{At: "now", By: operator, DryRun: true})
	require.NoError(t, err)
	require.True(t, shown.DryRun)
	require.Empty(t, w.gaps(t), "a dry run records nothing")

	before, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	accepted, err := w.acceptGap(t, "now")
	require.NoError(t, err)
	require.Equal(t, "closed", accepted.Gap.State)

	tail, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Sequence+1, tail.Sequence)
	require.Positive(t, tail.Position.Compare(before.Position))
	require.Equal(t, []uint64{before.Event, before.Skipped, before.Generation}, []uint64{tail.Event, tail.Skipped, tail.Generation})

	marker := new(relayv1.Marker)
	require.NoError(t, proto.Unmarshal(tail.Payload, marker))
	require.Equal(t, accepted.Gap.ID, marker.GetAcceptedGap())
	require.Equal(t, []string{"shop.*"}, marker.GetFilter().GetInclude())
	require.Len(t, marker.GetHeads(), 4)

	insert(t, w, "behind the gap")
	require.Contains(t, w.idsAfter(t, tail.ResumeToken), "behind the gap")

	// Twice is once: the source has everything behind the marker.
	_, err = w.acceptGap(t, "now")
	requireRefused(t, err, "there is no gap")

	gaps := w.gaps(t)
	require.Len(t, gaps, 1)
	require.Equal(t, "a test", gaps[0].Reason)
	require.Contains(t, gaps[0].By, "@")

	// Nothing removes it.
	var s flow.DeleteSettings
	require.NoError(t, settings.Load(&s, w.env))
	_, err = flow.Delete(t.Context(), &s, operator, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Len(t, w.gaps(t), 1)
}

// idsAfter returns the _ids inserted behind a token, up to the first empty reply.
func (w *world) idsAfter(t *testing.T, token bson.Raw) []string {
	t.Helper()

	cursor, err := w.db.Client().Watch(t.Context(), mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}},
		options.ChangeStream().SetShowExpandedEvents(true).SetResumeAfter(token))
	require.NoError(t, err)

	defer cursor.Close(t.Context())

	var ids []string

	for cursor.TryNext(t.Context()) {
		e, err := event.Parse(cursor.Current)
		require.NoError(t, err)

		if id, ok := e.ID().StringValueOK(); ok {
			ids = append(ids, id)
		}
	}

	require.NoError(t, cursor.Err())

	return ids
}

// A crash may come between any two steps; the next run finishes the same gap.
func TestAcceptGapAfterACrash(t *testing.T) {
	t.Parallel()

	open := func(t *testing.T, w *world) gap.Document {
		t.Helper()

		documents, err := gap.Load(t.Context(), w.target, w.flow())
		require.NoError(t, err)
		require.Len(t, documents, 1)

		return documents[0]
	}
	reopen := func(t *testing.T, w *world) {
		t.Helper()

		_, err := gap.Gaps(w.target).UpdateOne(t.Context(), bson.D{{Key: "flow", Value: w.flow()}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "state", Value: gap.Open}}}})
		require.NoError(t, err)
	}

	t.Run("between record and marker", func(t *testing.T) {
		t.Parallel()

		w := newLostWorld(t)
		stream, makeRoom := w.open(t), w.fill(t) // the marker is refused, as if the process had died before it
		_, err := w.acceptGap(t, "now")
		require.Error(t, err)
		require.Equal(t, gap.Open, open(t, w).State)

		makeRoom()

		token := open(t, w).To.ResumeToken
		accepted, err := w.acceptGap(t, "now")
		require.NoError(t, err)
		require.True(t, accepted.Resumed)

		tail, err := stream.Tail(t.Context())
		require.NoError(t, err)
		require.Equal(t, token, tail.ResumeToken, "the token that was recorded, not a new one")
		require.Equal(t, gap.Closed, open(t, w).State)
	})

	t.Run("between marker and its note", func(t *testing.T) {
		t.Parallel()

		w := newLostWorld(t)
		_, err := w.acceptGap(t, "now")
		require.NoError(t, err)
		reopen(t, w)

		before, err := w.open(t).Tail(t.Context())
		require.NoError(t, err)
		accepted, err := w.acceptGap(t, "now")
		require.NoError(t, err)
		require.True(t, accepted.Resumed)

		tail, err := w.open(t).Tail(t.Context())
		require.NoError(t, err)
		require.Equal(t, before.Sequence, tail.Sequence, "one marker only")
		require.Equal(t, gap.Closed, open(t, w).State)
	})

	t.Run("the flow went on without it", func(t *testing.T) {
		t.Parallel()

		w := newForgetfulWorld(t)
		stream := w.open(t)
		first, err := stream.Tail(t.Context())
		require.NoError(t, err)

		id := gap.ID(w.flow(), stream.StreamID, first.Sequence)
		edge := gap.Edge{ResumeToken: first.ResumeToken}
		_, err = gap.Record(t.Context(), w.target, &gap.Document{
			ID: id, Flow: w.flow(), StreamID: stream.StreamID, Sequence: int64(first.Sequence), From: edge, To: edge, State: gap.Open,
		})
		require.NoError(t, err)

		m := first.Message
		m.Attempt = 2 // another id
		_, err = w.nats.JetStream(t).PublishMsg(t.Context(), event.Encode(w.flow(), &m, first.ID))
		require.NoError(t, err)

		_, err = w.acceptGap(t, "now")
		requireRefused(t, err, "there is no gap")
		require.Equal(t, gap.Withdrawn, open(t, w).State)
	})
}

// TestGapMarkerFollowsOnlyTheTailOfItsGap: a listener may have gone on since it was looked. Behind its message the marker
// would hide a gap that is none.
func TestGapMarkerFollowsOnlyTheTailOfItsGap(t *testing.T) {
	t.Parallel()

	w := newForgetfulWorld(t)
	stream := w.open(t)
	first, err := stream.Tail(t.Context())
	require.NoError(t, err)

	m := first.Message
	m.Attempt = 2 // another id
	_, err = w.nats.JetStream(t).PublishMsg(t.Context(), event.Encode(w.flow(), &m, first.ID))
	require.NoError(t, err)

	behind, err := bson.Marshal(bson.D{{Key: "_data", Value: "behind the gap"}})
	require.NoError(t, err)

	err = flow.PublishGapMarker(t.Context(), w.nats.JetStream(t), stream, w.target, &gap.Document{
		ID: "a gap", Flow: w.flow(), StreamID: stream.StreamID, Sequence: int64(first.Sequence), State: gap.Open,
		From: gap.Edge{ResumeToken: first.ResumeToken}, To: gap.Edge{ResumeToken: behind},
	})
	require.ErrorIs(t, err, topology.ErrNotLast)

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.Sequence+1, tail.Sequence)
}

func TestAcceptGapAtATimeOrToken(t *testing.T) {
	t.Parallel()

	w := newLostWorld(t)

	// A time before the oplog is refused by mongod (286); the stand-in of the tests begins at its oldest entry instead.
	for at, text := range map[string]string{
		"yesterday":            "neither now",
		"2999-01-01T00:00:00Z": "future",
	} {
		_, err := w.acceptGap(t, at)
		requireRefused(t, err, text)
	}

	first, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)
	_, err = w.acceptGap(t, fmt.Sprintf("%x", "no token of this source"))
	require.Error(t, err)
	require.Empty(t, w.gaps(t), "nothing is recorded before the source was read there")

	insert(t, w, "before")
	token := w.tokenOf(t)
	insert(t, w, "behind")

	_, err = w.acceptGap(t, token)
	require.NoError(t, err)

	tail, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, tail.Position.Compare(first.Position), 0)
	require.Equal(t, []string{"behind"}, w.idsAfter(t, tail.ResumeToken))
}

// tokenOf returns the source's present token in hexadecimal, as mongosh shows it.
func (w *world) tokenOf(t *testing.T) string {
	t.Helper()

	cursor, err := w.db.Client().Watch(t.Context(), mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}},
		options.ChangeStream().SetShowExpandedEvents(true))
	require.NoError(t, err)

	defer cursor.Close(t.Context())

	cursor.TryNext(t.Context())

	return cursor.ResumeToken().Lookup("_data").StringValue()
}

func TestAcceptGapRefusesWithoutStream(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.acceptGap(t, "now")
	requireRefused(t, err, "no stream")
}

func TestAcceptDivergence(t *testing.T) {
	t.Parallel()

	w := newLostWorld(t)
	_, err := w.acceptGap(t, "now")
	require.NoError(t, err)

	unsupported := w.target.Database(checkpoint.Database).Collection(checkpoint.Unsupported)
	_, err = unsupported.InsertOne(t.Context(), checkpoint.UnsupportedDocument{
		ID: w.flow() + "/drop", Flow: w.flow(), DB: "shop", Coll: "orders", Operation: "drop", Events: 2, Diverges: true,
	})
	require.NoError(t, err)

	accept := func(dryRun bool) []string {
		accepted, err := flow.AcceptDivergence(t.Context(), w.targetSettings(t), flow.Operator{Name: "ann@example", Reason: "compared"}, dryRun)
		require.NoError(t, err)

		return accepted
	}

	require.Len(t, accept(true), 2)
	require.Len(t, accept(false), 2, "a dry run accepts nothing")
	require.Empty(t, accept(false))
	require.Equal(t, "compared", w.gaps(t)[0].Divergence.Reason)

	_, err = unsupported.UpdateOne(t.Context(), bson.D{{Key: "flow", Value: w.flow()}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "events", Value: 1}}}})
	require.NoError(t, err)
	require.Equal(t, []string{"drop on shop.orders, events: 1"}, accept(true), "one that came later counts again")
}
