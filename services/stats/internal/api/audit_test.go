package api_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func (w *letterWorld) audit(t *testing.T, request *relayv1.ListAuditRecordsRequest) *relayv1.ListAuditRecordsResponse {
	t.Helper()

	response, err := relayv1.NewStatsServiceClient(w.conn).ListAuditRecords(t.Context(), request)
	require.NoError(t, err)

	return response
}

func (w *letterWorld) forget(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		_, _ = w.target.Database(checkpoint.Database).Collection(audit.Collection).
			DeleteMany(context.WithoutCancel(t.Context()), bson.D{{Key: "flow", Value: w.flow}})
	})
}

func TestEveryActionIsInTheAudit(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)
	require.Empty(t, w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords())

	names := w.insertDead(t, 3)
	w.replay(t, named(names[0], "nobody"))
	w.discard(t, matching(&relayv1.DeadLetterFilter{Namespace: &relayv1.Namespace{Database: "shop", Collection: "orders"}, ErrorCode: new(int32(121))}))

	_, err := w.client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{Selection: named(names...), RequestedBy: "ann", ValidateOnly: true})
	require.NoError(t, err)

	records := w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()
	require.Len(t, records, 2, "what changes nothing is not recorded")

	require.Equal(t, "dead-letters discard", records[0].GetAction())
	require.Equal(t, "all with namespace shop.orders, error code 121", records[0].GetSelection())
	require.Equal(t, uint64(2), records[0].GetChanged())

	require.Equal(t, "dead-letters replay", records[1].GetAction())
	require.Equal(t, names[0]+", nobody", records[1].GetSelection())
	require.Equal(t, "the validator was wrong", records[1].GetWhy())
	require.Contains(t, records[1].GetWho(), "ann from 127.0.0.1:")
	require.Equal(t, uint64(1), records[1].GetChanged())
	require.Equal(t, uint64(1), records[1].GetRefused())
	require.Empty(t, records[1].GetFailedBecause())
	require.False(t, records[0].GetTime().AsTime().Before(records[1].GetTime().AsTime()), "the latest first")
}

func TestTheAuditHasPages(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	const actions = 7

	for range actions {
		w.replay(t, named("nobody"))
	}

	var (
		seen    []string
		request = &relayv1.ListAuditRecordsRequest{PageSize: 3}
	)

	for {
		page := w.audit(t, request)
		for _, r := range page.GetRecords() {
			require.NotContains(t, seen, r.GetName())

			seen = append(seen, r.GetName())
		}

		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			break
		}
	}

	require.Len(t, seen, actions)

	_, err := relayv1.NewStatsServiceClient(w.conn).ListAuditRecords(t.Context(), &relayv1.ListAuditRecordsRequest{PageToken: "b3RoZXIvMQ"})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "a token of another flow")
}

// What relayctl does to a flow without this service stands beside the actions on dead letters.
func TestCommandsOnTheFlowAreInTheAudit(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)
	w.replay(t, named("nobody"))

	action := &audit.Action{Flow: w.flow, Action: "flow delete", Who: "ann@example", Why: "moved", Selection: "stream CDC_x"}
	require.NoError(t, audit.Begin(t.Context(), w.target, action))
	require.NoError(t, action.Finish(t.Context(), w.target, audit.End{Changed: 7}))

	records := w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()
	require.Len(t, records, 2)
	require.Equal(t, "flow delete", records[0].GetAction())
	require.Equal(t, "ann@example", records[0].GetWho())
	require.Equal(t, uint64(7), records[0].GetChanged())
	require.Equal(t, "dead-letters replay", records[1].GetAction())
}

// An action whose end was not recorded is not said to have ended.
func TestAnActionWithoutAnEnd(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	require.NoError(t, audit.Begin(t.Context(), w.target, &audit.Action{Flow: w.flow, Action: "dead-letters replay", Who: "ann"}))

	records := w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()
	require.Len(t, records, 1)
	require.Nil(t, records[0].Changed)
}

func TestGroups(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.insertDead(t, 5)

	other := w.record(6)
	other.Coll, other.Code, other.Error = "stock", 11000, "duplicate key"
	waiting := w.record(7)
	waiting.State = "waiting"
	w.insert(t, other, waiting)

	response, err := w.client.ListDeadLetterGroups(t.Context(), new(relayv1.ListDeadLetterGroupsRequest))
	require.NoError(t, err)
	require.False(t, response.GetIncomplete())
	require.Len(t, response.GetGroups(), 2)

	g := response.GetGroups()[0]
	require.Equal(t, uint64(5), g.GetDeadLetters())
	require.Equal(t, "orders", g.GetNamespace().GetCollection())
	require.Equal(t, int32(121), g.GetErrorCode())
	require.Equal(t, "Document failed validation", g.GetError())
	require.Equal(t, died(), g.GetLastChangeTime().AsTime())
	require.Equal(t, int32(11000), response.GetGroups()[1].GetErrorCode())

	response, err = w.client.ListDeadLetterGroups(t.Context(), &relayv1.ListDeadLetterGroupsRequest{Filter: &relayv1.DeadLetterFilter{ErrorCode: new(int32(11000))}})
	require.NoError(t, err)
	require.Len(t, response.GetGroups(), 1)
}

// What is not asked for does not leave the target's neighbourhood.
func TestAViewWithoutContents(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	names := w.insertDead(t, 1)

	masked, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: names[0], View: relayv1.DeadLetterView_DEAD_LETTER_VIEW_BASIC})
	require.NoError(t, err)
	require.Equal(t, names[0], masked.GetDeadLetter().GetName())
	require.Empty(t, masked.GetDocumentKeyJson())
	require.Empty(t, masked.GetEventJson())
	require.Empty(t, masked.GetEventBson())

	whole, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: names[0], View: relayv1.DeadLetterView_DEAD_LETTER_VIEW_FULL})
	require.NoError(t, err)
	require.NotEmpty(t, whole.GetEventJson())
}
