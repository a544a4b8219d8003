package api_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// recorded is a flow with gaps in a target.
type recorded struct {
	fixed

	target *mongo.Client
}

func (r recorded) Gaps(ctx context.Context, at time.Time, id string, size int) ([]gap.Document, error) {
	return gap.Page(ctx, r.target, r.name, at, id, size)
}

func TestListGaps(t *testing.T) {
	t.Parallel()

	target := mongotest.Shared(t).Client(t)
	name := "gaps-" + bson.NewObjectID().Hex()

	t.Cleanup(func() {
		_, _ = gap.Gaps(target).DeleteMany(context.WithoutCancel(t.Context()), bson.D{{Key: "flow", Value: name}})
	})

	at := time.Date(2026, 1, 31, 8, 30, 0, 0, time.UTC)
	edge := gap.Edge{Position: event.Position{T: 100, I: 2}, ResumeToken: bson.Raw{5, 0, 0, 0, 0}}

	for i := range 5 { // the last three at the same time
		d := &gap.Document{
			ID: gap.ID(name, "s", uint64(i)), Flow: name, StreamID: "s", Sequence: int64(i), Event: 7, From: edge, To: edge, State: gap.Closed,
			Requested: gap.Acceptance{By: "me@here", Reason: "why", At: at.Add(time.Duration(min(i, 2)) * time.Minute)},
		}
		if i == 4 {
			d.ReplacedBy, d.Lost, d.Divergence = "t", 3, &gap.Acceptance{By: "you@there", At: at}
		}

		_, err := gap.Record(t.Context(), target, d)
		require.NoError(t, err)
	}

	conn, _ := serve(t, recorded{always(tally.Stats{Flow: name}), target}, always(tally.Stats{Flow: "other"}))
	client := relayv1.NewStatsServiceClient(conn)

	var (
		all   []*relayv1.Gap
		token string
	)

	for pages := 0; pages == 0 || token != ""; pages++ {
		require.Less(t, pages, 3, "so many pages have 5 gaps")

		page, err := client.ListGaps(t.Context(), &relayv1.ListGapsRequest{Flow: name, PageSize: 2, PageToken: token})
		require.NoError(t, err)

		all, token = append(all, page.GetGaps()...), page.GetNextPageToken()
	}

	require.Len(t, all, 5)

	for i, g := range all {
		require.Equal(t, fmt.Sprintf("%s/s/%d", name, i), g.GetName())
		require.Equal(t, relayv1.GapState_GAP_STATE_CLOSED, g.GetState())
		require.Equal(t, int64(100), g.GetFromTime().GetSeconds())
		require.Equal(t, []string{"me@here", "why"}, []string{g.GetRequested().GetBy(), g.GetRequested().GetReason()})
	}

	require.Nil(t, all[0].GetDivergence())
	require.Equal(t, "you@there", all[4].GetDivergence().GetBy())
	require.Equal(t, uint64(3), all[4].GetLostEvents())

	for code, request := range map[codes.Code]*relayv1.ListGapsRequest{
		codes.InvalidArgument: {Flow: name, PageToken: "x"},
		codes.NotFound:        {Flow: "unknown"},
		codes.Unimplemented:   {Flow: "other"},
	} {
		_, err := client.ListGaps(t.Context(), request)
		require.Equal(t, code, status.Code(err))
	}

	another := base64.RawURLEncoding.EncodeToString([]byte(`{"f":"other","a":"2026-11-29T12:00:00Z","i":"other/s/0"}`))
	_, err := client.ListGaps(t.Context(), &relayv1.ListGapsRequest{Flow: name, PageToken: another})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "a token of another flow")

	_, err = client.ListGaps(t.Context(), &relayv1.ListGapsRequest{Flow: name, PageSize: -1})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}
