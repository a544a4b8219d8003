package api_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

func TestListFilters(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	dead, other, waiting, late := w.record(1), w.record(2), w.record(3), w.record(4)
	other.Coll, other.Code = "carts", 11000
	waiting.State, waiting.Reason = parked.Waiting, parked.Follows
	late.DB, late.Changed = "billing", died().Add(time.Hour)

	stranger := w.record(5)
	stranger.ID, stranger.Flow = "other/"+stranger.ID, "other-"+w.flow
	w.insert(t, dead, other, waiting, late, stranger)
	t.Cleanup(func() { _, _ = parked.Delete(t.Context(), w.target, stranger.Flow) })

	for name, test := range map[string]struct {
		filter *relayv1.DeadLetterFilter
		states []relayv1.ParkedState
		want   []string
	}{
		"dead letters by default": {nil, nil, []string{dead.ID, other.ID, late.ID}},
		"a collection":            {&relayv1.DeadLetterFilter{Namespace: &relayv1.Namespace{Database: "shop", Collection: "orders"}}, nil, []string{dead.ID}},
		"a database":              {&relayv1.DeadLetterFilter{Namespace: &relayv1.Namespace{Database: "shop"}}, nil, []string{dead.ID, other.ID}},
		"a code":                  {&relayv1.DeadLetterFilter{ErrorCode: new(int32(11000))}, nil, []string{other.ID}},
		"no code":                 {&relayv1.DeadLetterFilter{ErrorCode: new(int32(0))}, nil, nil},
		"since":                   {&relayv1.DeadLetterFilter{Since: timestamppb.New(died().Add(time.Millisecond))}, nil, []string{late.ID}},
		"until is excluded":       {&relayv1.DeadLetterFilter{Since: timestamppb.New(died()), Until: timestamppb.New(died().Add(time.Hour))}, nil, []string{dead.ID, other.ID}},
		"a state":                 {nil, []relayv1.ParkedState{relayv1.ParkedState_PARKED_STATE_WAITING}, []string{waiting.ID}},
		"all states":              {nil, allStates(), []string{dead.ID, other.ID, waiting.ID, late.ID}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			response := w.list(t, &relayv1.ListDeadLettersRequest{Flow: w.flow, Filter: test.filter, States: test.states})
			require.Equal(t, test.want, namesOf(response.GetDeadLetters()))
			require.Empty(t, response.GetNextPageToken())
		})
	}
}

func TestListShowsAllButContent(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	r := w.record(1)
	r.CollectionUUID = bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123456789abcdef")}
	r.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w.insert(t, r)

	got := w.list(t, &relayv1.ListDeadLettersRequest{}).GetDeadLetters()[0]
	require.Equal(t, uint64(7), got.GetRev())
	require.Equal(t, relayv1.ParkedState_PARKED_STATE_DEAD, got.GetState())
	require.Equal(t, relayv1.ParkedReason_PARKED_REASON_FAILED, got.GetReason())
	require.Equal(t, "orders", got.GetNamespace().GetCollection())
	require.Equal(t, "30313233-3435-3637-3839-616263646566", got.GetCollectionUuid())
	require.Equal(t, "insert", got.GetOperation())
	require.Equal(t, uint32(1), got.GetPartition())
	require.Equal(t, uint32(1000), got.GetPosition().GetSeconds())
	require.Equal(t, uint32(6), got.GetAttempts())
	require.Equal(t, int32(121), got.GetErrorCode())
	require.True(t, got.GetCountedAsFailed())
	require.Equal(t, died(), got.GetChangeTime().AsTime())
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", got.GetTraceId())
}

// Between two pages records change their states and new ones come in: what was
// there all the time is listed once, in the source's order.
func TestPagesOfThousands(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	names := w.insertDead(t, 5000)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	var (
		random  = rand.New(rand.NewPCG(seed, 0))
		got     []string
		token   string
		request = &relayv1.ListDeadLettersRequest{States: allStates()}
	)

	for len(got) <= len(names) {
		request.PageToken, request.PageSize = token, int32(1+random.IntN(1200))
		page := w.list(t, request)
		require.LessOrEqual(t, len(page.GetDeadLetters()), min(int(request.GetPageSize()), 1000))
		got = append(got, namesOf(page.GetDeadLetters())...)

		if token = page.GetNextPageToken(); token == "" {
			break
		}

		w.discard(t, named(names[random.IntN(len(names))], names[random.IntN(len(names))]))
	}

	require.Equal(t, names, got)
}

func TestPageTokenOfAnotherQuery(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.insertDead(t, 3)
	token := w.list(t, &relayv1.ListDeadLettersRequest{PageSize: 1}).GetNextPageToken()
	require.NotEmpty(t, token)

	for name, request := range map[string]*relayv1.ListDeadLettersRequest{
		"another state":  {PageToken: token, States: allStates()},
		"another filter": {PageToken: token, Filter: &relayv1.DeadLetterFilter{ErrorCode: new(int32(0))}},
		"another time":   {PageToken: token, Filter: &relayv1.DeadLetterFilter{Since: timestamppb.New(died())}},
		"an operation":   {PageToken: token, Filter: &relayv1.DeadLetterFilter{Operation: "x"}},
		"no token":       {PageToken: "x"},
		"cut":            {PageToken: token[:len(token)-4]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := w.client.ListDeadLetters(t.Context(), request)
			requireStatus(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")
		})
	}

	_, err := newLetterWorld(t).client.ListDeadLetters(t.Context(), &relayv1.ListDeadLettersRequest{PageToken: token})
	requireStatus(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")

	page := w.list(t, &relayv1.ListDeadLettersRequest{Flow: w.flow, PageToken: token, PageSize: 2})
	require.Len(t, page.GetDeadLetters(), 2, "the size and the name of the only flow are no part of the query")
}

func TestRefusedArguments(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	list := func(r *relayv1.ListDeadLettersRequest) error {
		_, err := w.client.ListDeadLetters(t.Context(), r)

		return err
	}
	replay := func(r *relayv1.ReplayDeadLettersRequest) error {
		_, err := w.client.ReplayDeadLetters(t.Context(), r)

		return err
	}
	backwards := &relayv1.DeadLetterFilter{Since: timestamppb.New(died()), Until: timestamppb.New(died())}

	for name, err := range map[string]error{
		"negative page size":    list(&relayv1.ListDeadLettersRequest{PageSize: -1}),
		"unknown state":         list(&relayv1.ListDeadLettersRequest{States: []relayv1.ParkedState{99}}),
		"empty range":           list(&relayv1.ListDeadLettersRequest{Filter: backwards}),
		"impossible time":       list(&relayv1.ListDeadLettersRequest{Filter: &relayv1.DeadLetterFilter{Since: &timestamppb.Timestamp{Seconds: math.MaxInt64}}}),
		"collection without db": list(&relayv1.ListDeadLettersRequest{Filter: &relayv1.DeadLetterFilter{Namespace: &relayv1.Namespace{Collection: "c"}}}),
		"nobody asks":           replay(&relayv1.ReplayDeadLettersRequest{Selection: named("x")}),
		"long identity":         replay(&relayv1.ReplayDeadLettersRequest{Selection: named("x"), RequestedBy: strings.Repeat("x", 129)}),
		"long reason":           replay(&relayv1.ReplayDeadLettersRequest{Selection: named("x"), RequestedBy: "a", Reason: strings.Repeat("x", 1025)}),
		"no selection":          replay(&relayv1.ReplayDeadLettersRequest{RequestedBy: "a"}),
		"no names":              replay(&relayv1.ReplayDeadLettersRequest{RequestedBy: "a", Selection: named()}),
		"too many names":        replay(&relayv1.ReplayDeadLettersRequest{RequestedBy: "a", Selection: named(make([]string, 1001)...)}),
		"bad filter":            replay(&relayv1.ReplayDeadLettersRequest{RequestedBy: "a", Selection: matching(backwards)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
		})
	}
}

func TestUnknownFlowAndRecord(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)

	_, err := w.client.ListDeadLetters(t.Context(), &relayv1.ListDeadLettersRequest{Flow: "other"})
	requireStatus(t, err, codes.NotFound, "FLOW_NOT_FOUND")

	_, err = w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: "x"})
	requireStatus(t, err, codes.NotFound, "DEAD_LETTER_NOT_FOUND")

	_, err = w.client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{Flow: "other"})
	requireStatus(t, err, codes.NotFound, "FLOW_NOT_FOUND")

	// A record of another flow of the same target is none of this one's.
	stranger := newLetterWorld(t).insertDead(t, 1)[0]

	_, err = w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: stranger})
	requireStatus(t, err, codes.NotFound, "DEAD_LETTER_NOT_FOUND")
	require.Equal(t, relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_FOUND, w.discard(t, named(stranger)).GetRefusals()[0].GetReason())
	require.Equal(t, parked.Dead, w.load(t, stranger).State)
}

func TestTargetAway(t *testing.T) {
	t.Parallel()

	target, err := mongodb.Connect(settings.NewURI("mongodb://127.0.0.1:1/?directConnection=true"), mongodb.Options{ServerSelectionTimeout: 50 * time.Millisecond})
	require.NoError(t, err)

	defer func() { _ = mongodb.Disconnect(t.Context(), target) }()

	conn, _ := serveLetters(t, nil, []*deadletter.Letters{deadletter.New("a", target)})
	client := relayv1.NewDeadLetterServiceClient(conn)

	_, err = client.ListDeadLetters(t.Context(), &relayv1.ListDeadLettersRequest{})
	requireStatus(t, err, codes.Unavailable, "TARGET_UNREACHABLE")

	_, err = client.ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{RequestedBy: "ann", Selection: named("x")})
	requireStatus(t, err, codes.Unavailable, "TARGET_UNREACHABLE")
}

func TestOrderIsThatOfTheSource(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)

	var (
		records []any
		want    []string
	)

	// Of equal positions, as two streams may have them, the name decides.
	for i, p := range []event.Position{{T: 1, I: 9}, {T: 2}, {T: 2, Ordinal: 1}, {T: 2, I: 1}, {T: 2, I: 1}, {T: 1 << 31}, {T: math.MaxUint32}} {
		r := w.record(int64(i + 1))
		r.Position = p
		r.ID = parked.ID(w.flow, "s", int64(i), 15-i, 1)
		records, want = append(records, r), append(want, r.ID)
	}

	slices.Reverse(records)
	w.insert(t, records...)

	var (
		got   []string
		token string
	)

	for range records {
		page := w.list(t, &relayv1.ListDeadLettersRequest{PageSize: 1, PageToken: token})
		got, token = append(got, namesOf(page.GetDeadLetters())...), page.GetNextPageToken()
	}

	require.Equal(t, want, got)
	require.Empty(t, token)
}
