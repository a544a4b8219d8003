package api_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/pausing"
)

// newFlowWorld is a letterWorld whose flow can be paused.
func newFlowWorld(t *testing.T) (*letterWorld, relayv1.FlowServiceClient) {
	t.Helper()

	w := newLetterWorld(t)
	w.forget(t)
	t.Cleanup(func() { _, _ = pause.Delete(context.WithoutCancel(t.Context()), w.target, w.flow) })

	w.conn, _ = serveWith(t, api.Options{
		Guard: access.New(access.Nobody, access.Operator, nil), Letters: []*deadletter.Letters{deadletter.New(w.flow, w.target)},
		Switches: []*pausing.Switch{pausing.New(w.flow, w.target)},
	})

	return w, relayv1.NewFlowServiceClient(w.conn)
}

func TestPauseAndResumeOfAFlow(t *testing.T) {
	t.Parallel()

	w, client := newFlowWorld(t)

	get := func() *relayv1.FlowControl {
		t.Helper()

		response, err := client.GetFlow(t.Context(), &relayv1.GetFlowRequest{Flow: w.flow})
		require.NoError(t, err)
		require.Equal(t, w.flow, response.GetFlow().GetName())

		return response.GetFlow()
	}
	resume := func() *relayv1.ResumeFlowResponse {
		t.Helper()

		response, err := client.ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{RequestedBy: "bob"})
		require.NoError(t, err)
		require.Equal(t, relayv1.FlowState_FLOW_STATE_RUNNING, response.GetFlow().GetState())
		require.Nil(t, response.GetFlow().GetPause())

		return response
	}

	require.Equal(t, relayv1.FlowState_FLOW_STATE_RUNNING, get().GetState())
	require.Nil(t, get().GetPause())
	require.False(t, resume().GetChanged(), "a flow that runs is left alone")

	began := time.Now().Add(-time.Millisecond)

	paused, err := client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann", Reason: "upgrade"})
	require.NoError(t, err)
	require.True(t, paused.GetChanged())
	require.Equal(t, relayv1.FlowState_FLOW_STATE_PAUSED, paused.GetFlow().GetState())
	require.Equal(t, "upgrade", paused.GetFlow().GetPause().GetReason())
	require.Contains(t, paused.GetFlow().GetPause().GetBy(), "ann from 127.0.0.1:")
	require.False(t, paused.GetFlow().GetPause().GetSince().AsTime().Before(began.Truncate(time.Millisecond)))
	require.Equal(t, paused.GetFlow().String(), get().String())

	again, err := client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "bob", Reason: "another"})
	require.NoError(t, err)
	require.False(t, again.GetChanged())
	require.Equal(t, paused.GetFlow().String(), again.GetFlow().String(), "who came first stays")

	require.True(t, resume().GetChanged())
	require.Equal(t, relayv1.FlowState_FLOW_STATE_RUNNING, get().GetState())

	var lines []string
	for _, r := range w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords() {
		require.Equal(t, "the flow", r.GetSelection())
		require.NotNil(t, r.Changed, "its end is recorded")

		who, _, _ := strings.Cut(r.GetWho(), " ")
		lines = append(lines, strings.Join([]string{r.GetAction(), who, r.GetWhy(), strings.Repeat("changed", int(r.GetChanged()))}, ", "))
	}

	require.Equal(t, []string{
		"flow resume, bob, , changed", "flow pause, bob, another, ", "flow pause, ann, upgrade, changed", "flow resume, bob, , ",
	}, lines, "the latest first")
}

func TestPauseRequestsThatAreRefused(t *testing.T) {
	t.Parallel()

	w, client := newFlowWorld(t)

	for name, test := range map[string]struct {
		request *relayv1.PauseFlowRequest
		code    codes.Code
		says    string
	}{
		"nobody":         {&relayv1.PauseFlowRequest{}, codes.InvalidArgument, "requested_by is empty"},
		"a long name":    {&relayv1.PauseFlowRequest{RequestedBy: strings.Repeat("x", 129)}, codes.InvalidArgument, "requested_by has more than 128 bytes"},
		"a long reason":  {&relayv1.PauseFlowRequest{RequestedBy: "ann", Reason: strings.Repeat("x", 1025)}, codes.InvalidArgument, "reason has more than 1024 bytes"},
		"another's flow": {&relayv1.PauseFlowRequest{Flow: "another", RequestedBy: "ann"}, codes.NotFound, `flow "another" is not watched`},
	} {
		_, err := client.PauseFlow(t.Context(), test.request)
		require.Equal(t, test.code, status.Code(err), name)
		require.ErrorContains(t, err, test.says, name)

		_, err = client.ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{
			Flow: test.request.GetFlow(), RequestedBy: test.request.GetRequestedBy(), Reason: test.request.GetReason(),
		})
		require.Equal(t, test.code, status.Code(err), name)
	}

	_, err := client.GetFlow(t.Context(), &relayv1.GetFlowRequest{Flow: "another"})
	require.Equal(t, codes.NotFound, status.Code(err))

	d, err := pause.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)
	require.Nil(t, d.Pause)
	require.Empty(t, w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords())
}

func TestPauseOfNamespaces(t *testing.T) {
	t.Parallel()

	w, client := newFlowWorld(t)
	orders, stock := &relayv1.Namespace{Database: "shop", Collection: "orders"}, &relayv1.Namespace{Database: "stock"}

	paused, err := client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann", Reason: "report", Namespaces: []*relayv1.Namespace{orders, stock}})
	require.NoError(t, err)
	require.True(t, paused.GetChanged())
	require.Equal(t, relayv1.FlowState_FLOW_STATE_RUNNING, paused.GetFlow().GetState(), "the flow runs")
	require.Len(t, paused.GetFlow().GetPausedNamespaces(), 2)
	require.Equal(t, orders.String(), paused.GetFlow().GetPausedNamespaces()[0].GetNamespace().String())
	require.Equal(t, "report", paused.GetFlow().GetPausedNamespaces()[0].GetPause().GetReason())

	paused, err = client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "bob", Namespaces: []*relayv1.Namespace{orders}})
	require.NoError(t, err)
	require.False(t, paused.GetChanged())
	require.Contains(t, paused.GetFlow().GetPausedNamespaces()[0].GetPause().GetBy(), "ann from")

	resumed, err := client.ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{RequestedBy: "bob"})
	require.NoError(t, err)
	require.False(t, resumed.GetChanged(), "the flow as a whole was not paused")
	require.Len(t, resumed.GetFlow().GetPausedNamespaces(), 2)

	resumed, err = client.ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{RequestedBy: "bob", Namespaces: []*relayv1.Namespace{orders}})
	require.NoError(t, err)
	require.True(t, resumed.GetChanged())
	require.Len(t, resumed.GetFlow().GetPausedNamespaces(), 1)

	records := w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()
	require.Len(t, records, 4)
	require.Equal(t, "shop.orders, stock", records[3].GetSelection())
	require.Equal(t, uint64(2), records[3].GetChanged())
	require.Zero(t, records[2].GetChanged())

	for name, namespaces := range map[string][]*relayv1.Namespace{
		"no database":  {{Collection: "orders"}},
		"both in one":  {{Database: "shop.orders"}},
		"far too many": make([]*relayv1.Namespace, 101),
	} {
		_, err := client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann", Namespaces: namespaces})
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
		require.ErrorContains(t, err, "namespaces has", name)
	}

	var many []*relayv1.Namespace
	for n := range 100 {
		many = append(many, &relayv1.Namespace{Database: "d", Collection: strconv.Itoa(n)})
	}

	_, err = client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann", Namespaces: many})
	require.Equal(t, codes.FailedPrecondition, status.Code(err), "one is paused already")
	require.ErrorContains(t, err, "100 namespaces are paused already")
}

// TestPauseWithoutATarget: what cannot be kept is not said to be.
func TestPauseWithoutATarget(t *testing.T) {
	t.Parallel()

	target, err := mongodb.Connect(settings.NewURI("mongodb://127.0.0.1:1/?directConnection=true"), mongodb.Options{ServerSelectionTimeout: 100 * time.Millisecond})
	require.NoError(t, err)

	defer func() { _ = mongodb.Disconnect(t.Context(), target) }()

	conn, _ := serveWith(t, api.Options{Guard: access.New(access.Nobody, access.Operator, nil), Switches: []*pausing.Switch{pausing.New("f", target)}})
	client := relayv1.NewFlowServiceClient(conn)

	_, err = client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann"})
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)

	_, err = client.GetFlow(t.Context(), &relayv1.GetFlowRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
}

// Where the target does not say what is paused, that is the answer, with what to do; what cannot be changed says so.
func TestDamagedPause(t *testing.T) {
	t.Parallel()

	w, client := newFlowWorld(t)
	flows := w.target.Database("atlas_relay").Collection(pause.Collection)

	_, err := flows.InsertOne(t.Context(), bson.D{{Key: "_id", Value: w.flow}, {Key: "namespaces", Value: "shop"}})
	require.NoError(t, err)

	got, err := client.GetFlow(t.Context(), &relayv1.GetFlowRequest{Flow: w.flow})
	require.NoError(t, err)
	require.Equal(t, w.flow, got.GetFlow().GetName())
	require.Equal(t, relayv1.FlowState_FLOW_STATE_UNSPECIFIED, got.GetFlow().GetState())
	require.Contains(t, got.GetFlow().GetStateUnknownBecause(), "does not say what is paused")
	require.Contains(t, got.GetFlow().GetStateUnknownBecause(), "mend document "+w.flow+" of atlas_relay.flows")

	namespaces := []*relayv1.Namespace{{Database: "shop"}}
	_, err = client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann", Namespaces: namespaces})
	requireStatus(t, err, codes.FailedPrecondition, "PAUSE_DAMAGED")
	_, err = client.ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{RequestedBy: "ann", Namespaces: namespaces})
	requireStatus(t, err, codes.FailedPrecondition, "PAUSE_DAMAGED")

	// What is damaged about the flow as a whole is mended by resuming it.
	_, err = flows.UpdateByID(t.Context(), w.flow, bson.D{{Key: "$set", Value: bson.D{{Key: "pause", Value: "yes"}}}, {Key: "$unset", Value: bson.D{{Key: "namespaces", Value: ""}}}})
	require.NoError(t, err)
	_, err = client.PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann"})
	requireStatus(t, err, codes.FailedPrecondition, "PAUSE_DAMAGED")

	resumed, err := client.ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{RequestedBy: "ann"})
	require.NoError(t, err)
	require.Equal(t, relayv1.FlowState_FLOW_STATE_RUNNING, resumed.GetFlow().GetState())
}
