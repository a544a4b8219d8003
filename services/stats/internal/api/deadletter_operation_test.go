package api_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc/codes"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

func (w *letterWorld) refetch(t *testing.T, selection *relayv1.DeadLetterSelection) *relayv1.RefetchDeadLettersResponse {
	t.Helper()

	response, err := w.client.RefetchDeadLetters(t.Context(), &relayv1.RefetchDeadLettersRequest{Selection: selection, RequestedBy: "ann", Reason: "it is older"})
	require.NoError(t, err)

	return response
}

func (w *letterWorld) operation(t *testing.T, name string) *relayv1.DeadLetterOperation {
	t.Helper()

	response, err := w.client.GetDeadLetterOperation(t.Context(), &relayv1.GetDeadLetterOperationRequest{Name: name})
	require.NoError(t, err)

	return response.GetOperation()
}

// end does to a record what its owner does in the end.
func (w *letterWorld) end(t *testing.T, name string, state parked.State) {
	t.Helper()

	_, err := parked.Records(w.target).UpdateByID(t.Context(), name, bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: state}, {Key: "error", Value: "refused again"}}}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
	})
	require.NoError(t, err)
}

func TestRefetch(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	names := w.insertDead(t, 2)
	aged := w.record(3)
	aged.Event, aged.Dropped = nil, died()
	removal := w.record(4)
	removal.Operation = event.Delete
	w.insert(t, aged, removal)

	response := w.refetch(t, named(names[0], aged.ID, removal.ID))
	require.Equal(t, uint64(3), response.GetOutcome().GetChanged())

	r := w.load(t, names[0])
	require.Equal(t, parked.Waiting, r.State)
	require.True(t, r.Refetch)
	require.Equal(t, int64(8), r.Rev)
	require.Equal(t, 0, r.Attempts)
	require.True(t, r.Counted)
	require.NotEmpty(t, r.Event, "should it fail, it is as it was")
	require.Equal(t, "refetch", r.Trail[0].Action)
	require.Equal(t, response.GetOperation(), r.Act)

	again := w.refetch(t, named(names[0])).GetOutcome()
	require.Equal(t, uint64(0), again.GetChanged())
	require.Contains(t, again.GetRefusals()[0].GetMessage(), "it is waiting; last action: refetch by ann")
	require.Equal(t, r, w.load(t, names[0]))

	records := w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()
	require.Equal(t, "dead-letters refetch", records[1].GetAction())
	require.Equal(t, response.GetOperation(), records[1].GetName())

	// It failed again; a replay afterwards means the event.
	w.end(t, names[0], parked.Dead)
	w.replay(t, named(names[0]))
	require.False(t, w.load(t, names[0]).Refetch)
	require.Len(t, w.load(t, names[0]).Trail, 2)
}

// Where no single document can be asked for there is nothing to refetch, by name as by filter.
func TestWhatCannotBeRefetched(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	former, present, index, capped := w.record(1), w.record(2), w.record(3), w.record(4)
	former.CollectionUUID = bson.Binary{Subtype: bson.TypeBinaryUUID, Data: make([]byte, 16)}
	present.CollectionUUID = bson.Binary{Subtype: bson.TypeBinaryUUID, Data: append(make([]byte, 15), 1)}
	index.Operation = event.CreateIndexes
	capped.Coll = "log"
	capped.Key.Data = []byte(event.CollectionKey(capped.Namespace(), event.PinCapped))
	w.insert(t, former, present, index, capped)

	want := map[string]relayv1.DeadLetterRefusalReason{
		former.ID: relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_OTHER_COLLECTION,
		index.ID:  relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_DOCUMENT,
		capped.ID: relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_DOCUMENT,
	}

	for _, selection := range []*relayv1.DeadLetterSelection{named(former.ID, index.ID, capped.ID), matching(new(relayv1.DeadLetterFilter))} {
		got := make(map[string]relayv1.DeadLetterRefusalReason)

		for _, refusal := range w.refetch(t, selection).GetOutcome().GetRefusals() {
			got[refusal.GetName()] = refusal.GetReason()
		}

		require.Equal(t, want, got)
	}

	require.Equal(t, parked.Waiting, w.load(t, present.ID).State)
	require.Equal(t, parked.Dead, w.load(t, capped.ID).State)
}

// What became of an action is read from its records, whoever changed them and whatever was restarted.
func TestOperationTellsWhatBecameOfItsRecords(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	names := w.insertDead(t, 7)
	response, err := w.client.ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{
		Selection: named(append(names, "nobody")...), RequestedBy: "ann", Reason: "mended",
	})
	require.NoError(t, err)

	name := response.GetOperation()
	o := w.operation(t, name)
	require.Equal(t, "replay", o.GetAction())
	require.Contains(t, o.GetWho(), "ann from")
	require.Equal(t, "mended", o.GetWhy())
	require.Equal(t, uint64(7), o.GetWaiting())
	require.Equal(t, uint64(7), o.GetOutcome().GetChanged())
	require.Equal(t, uint64(8), o.GetOutcome().GetMatched())
	require.Equal(t, relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_FOUND, o.GetOutcome().GetRefusals()[0].GetReason())
	require.False(t, o.GetDone())

	w.end(t, names[0], parked.Replayed)
	w.end(t, names[1], parked.Superseded)
	w.end(t, names[2], parked.Dead)
	w.end(t, names[3], parked.Dead)
	w.end(t, names[4], parked.Replaced)
	w.end(t, names[5], parked.Replayed)

	// Somebody else takes one that failed again, while one still waits.
	later := w.refetch(t, named(names[3])).GetOperation()

	conn, _ := serveLetters(t, nil, []*deadletter.Letters{deadletter.New(w.flow, w.target)}) // the service begins anew
	w.client = relayv1.NewDeadLetterServiceClient(conn)

	o = w.operation(t, name)
	require.Equal(t, []uint64{1, 3, 1, 1, 0, 1},
		[]uint64{o.GetWaiting(), o.GetApplied(), o.GetFailedAgain(), o.GetSuperseded(), o.GetDiscarded(), o.GetActedOnAgain()})
	require.Equal(t, []string{names[2]}, namesOf(o.GetFailures()))
	require.Equal(t, "refused again", o.GetFailures()[0].GetError())
	require.False(t, o.GetDone())

	w.end(t, names[6], parked.Replayed)
	require.True(t, w.operation(t, name).GetDone())

	failed := w.list(t, &relayv1.ListDeadLettersRequest{Filter: &relayv1.DeadLetterFilter{Operation: name}})
	require.Equal(t, []string{names[2]}, namesOf(failed.GetDeadLetters()))
	require.Equal(t, uint64(1), w.operation(t, later).GetWaiting())

	// Those that failed again are given up together; that is done at once.
	discarded, err := w.client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{
		Selection: matching(&relayv1.DeadLetterFilter{Operation: name}), RequestedBy: "ann",
	})
	require.NoError(t, err)

	o = w.operation(t, discarded.GetOperation())
	require.Equal(t, uint64(1), o.GetDiscarded())
	require.True(t, o.GetDone())
	require.Equal(t, "all with last changed by "+name, o.GetSelection())
}

func TestOperationsThatAreNone(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	other := &audit.Action{Flow: w.flow, Action: "flow pause", Who: "ann", Selection: "all"}
	require.NoError(t, audit.Begin(t.Context(), w.target, other))

	done := w.refetch(t, named(w.insertDead(t, 1)...)).GetOperation()
	foreign := &audit.Action{Flow: "other-" + w.flow, Action: "dead-letters replay", Who: "ann"}
	require.NoError(t, audit.Begin(t.Context(), w.target, foreign))

	for _, name := range []string{"", "nobody", other.ID, foreign.ID, done + "/end", done + "/"} {
		_, err := w.client.GetDeadLetterOperation(t.Context(), &relayv1.GetDeadLetterOperationRequest{Name: name})
		requireStatus(t, err, codes.NotFound, "OPERATION_NOT_FOUND")
	}
}

// An action whose end nobody recorded says so when it is too late for one, and its records are counted all the same.
func TestOperationThatNobodyEnded(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	names := w.insertDead(t, 2)
	began := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	young := audit.Action{ID: w.flow + "/2", Flow: w.flow, Action: "dead-letters replay", Who: "ann", Time: time.Now(), Selection: "all"}
	old := audit.Action{ID: w.flow + "/1", Flow: w.flow, Action: "dead-letters replay", Who: "ann", Time: began, Selection: "all"}
	_, err := w.target.Database(checkpoint.Database).Collection(audit.Collection).InsertMany(t.Context(), []any{young, old})
	require.NoError(t, err)

	_, err = parked.Records(w.target).UpdateByID(t.Context(), names[0], bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: parked.Waiting}, {Key: "act", Value: old.ID}}}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
	})
	require.NoError(t, err)

	o := w.operation(t, young.ID)
	require.False(t, o.GetDone())
	require.Nil(t, o.GetOutcome())
	require.Empty(t, o.GetFailedBecause())

	o = w.operation(t, old.ID)
	require.Contains(t, o.GetFailedBecause(), "before its end was recorded")
	require.Equal(t, uint64(1), o.GetWaiting())
	require.False(t, o.GetDone())

	w.end(t, names[0], parked.Replayed)
	require.True(t, w.operation(t, old.ID).GetDone())
	require.Equal(t, uint64(1), w.replay(t, matching(new(relayv1.DeadLetterFilter))).GetChanged(), "the same action again does the rest")
}

// A person's Ctrl-C ends the waiting, not the action: of ten thousand none is left undone.
func TestActionGoesOnWithoutItsCaller(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)
	w.insertDead(t, 3000)

	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)

	go func() {
		_, err := w.client.ReplayDeadLetters(ctx, &relayv1.ReplayDeadLettersRequest{Selection: matching(new(relayv1.DeadLetterFilter)), RequestedBy: "ann"})
		left <- err
	}()

	require.Eventually(t, func() bool {
		return len(w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()) == 1
	}, time.Minute, time.Millisecond)
	cancel()
	<-left // it may have been quicker

	name := w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()[0].GetName()

	require.Eventually(t, func() bool { return w.operation(t, name).GetOutcome() != nil }, time.Minute, 10*time.Millisecond)
	require.Equal(t, uint64(3000), w.operation(t, name).GetOutcome().GetChanged())
	require.Equal(t, uint64(3000), w.operation(t, name).GetWaiting())
}
