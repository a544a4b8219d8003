package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// FuzzQuery: a request is refused as one that cannot be answered, or selects something.
func FuzzQuery(f *testing.F) {
	for _, request := range []*relayv1.ListDeadLettersRequest{
		{},
		{PageSize: 7, States: []relayv1.ParkedState{relayv1.ParkedState_PARKED_STATE_DEAD}, Filter: &relayv1.DeadLetterFilter{
			Namespace: &relayv1.Namespace{Database: "shop", Collection: "orders"}, ErrorCode: new(int32(121)), Operation: "f/1/a",
		}},
		{PageSize: -1, Filter: &relayv1.DeadLetterFilter{Namespace: &relayv1.Namespace{Collection: "orders"}}},
	} {
		wire, err := proto.Marshal(request)
		require.NoError(f, err)
		f.Add(wire)
	}

	f.Fuzz(func(t *testing.T, wire []byte) {
		var request relayv1.ListDeadLettersRequest
		if proto.Unmarshal(wire, &request) != nil {
			return
		}

		query, size, err := decodeQuery(&request)
		if err != nil {
			require.Equal(t, codes.InvalidArgument, status.Code(toStatus(err)))

			return
		}

		require.Positive(t, size)
		require.NotEmpty(t, query.States)
		require.False(t, query.DB == "" && query.Coll != "")
	})
}

// FuzzTokens are those of the other lists.
func FuzzTokens(f *testing.F) {
	f.Add((&gapToken{Flow: "f", At: time.UnixMilli(7), ID: "a"}).String())
	f.Add("")
	f.Add("e30")
	f.Add("ZmY")

	f.Fuzz(func(t *testing.T, text string) {
		gap, err := parseGapToken(text, "f")
		if err != nil {
			require.ErrorIs(t, err, deadletter.ErrPageToken)
		} else if text != "" {
			require.Equal(t, "f", gap.Flow)
		}

		_ = isAuditToken(text, "f")
	})
}
