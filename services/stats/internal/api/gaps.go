package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/trouble"
)

// gapLister is a Flow that can be asked for its gaps page by page: those behind
// the one that was requested then under this id.
type gapLister interface {
	Gaps(ctx context.Context, at time.Time, id string, size int) ([]gap.Document, error)
}

// gapToken is the place of the last gap of a page. Neither of them ever changes.
type gapToken struct {
	Flow string    `json:"f"`
	At   time.Time `json:"a"`
	ID   string    `json:"i"`
}

func (t *gapToken) String() string {
	text, _ := json.Marshal(t) //nolint:errchkjson // a time and texts: it cannot fail

	return base64.RawURLEncoding.EncodeToString(text)
}

// parseGapToken returns the zero token for no text, else one of this flow.
func parseGapToken(text, flow string) (*gapToken, error) {
	t := new(gapToken)
	if text == "" {
		return t, nil
	}

	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.NewDecoder(bytes.NewReader(decoded)).Decode(t) != nil || t.Flow != flow || t.At.IsZero() {
		return nil, deadletter.ErrPageToken
	}

	return t, nil
}

// ListGaps implements relayv1.StatsServiceServer.
func (s *service) ListGaps(ctx context.Context, request *relayv1.ListGapsRequest) (*relayv1.ListGapsResponse, error) {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	lister, ok := flow.(gapLister)
	if !ok { // every flow of the service is one
		return s.UnimplementedStatsServiceServer.ListGaps(ctx, request)
	}

	size, err := decodePageSize(request.GetPageSize())
	if err != nil {
		return nil, toStatus(err)
	}

	after, err := parseGapToken(request.GetPageToken(), flow.Name())
	if err != nil {
		return nil, toStatus(err)
	}

	gaps, err := lister.Gaps(ctx, after.At, after.ID, size+1)
	if err != nil {
		return nil, toStatus(&trouble.TargetError{Flow: flow.Name(), Err: err})
	}

	response := new(relayv1.ListGapsResponse)

	if len(gaps) > size {
		gaps = gaps[:size]
		last := &gaps[size-1]
		response.NextPageToken = (&gapToken{Flow: flow.Name(), At: last.Requested.At, ID: last.ID}).String()
	}

	for i := range gaps {
		response.Gaps = append(response.Gaps, encodeGap(&gaps[i]))
	}

	return response, nil
}

func decodePageSize(size int32) (int, error) {
	switch {
	case size < 0:
		return 0, &argumentError{"page_size", "is negative", "leave it empty, or give 1 to 1000"}
	case size == 0:
		return defaultPageSize, nil
	default:
		return min(int(size), maxPageSize), nil
	}
}

func encodeGap(d *gap.Document) *relayv1.Gap {
	states := map[gap.State]relayv1.GapState{
		gap.Open: relayv1.GapState_GAP_STATE_OPEN, gap.Closed: relayv1.GapState_GAP_STATE_CLOSED, gap.Withdrawn: relayv1.GapState_GAP_STATE_WITHDRAWN,
	}

	g := &relayv1.Gap{
		Name: text(d.ID), State: states[d.State],
		FromPosition: topology.EncodePosition(d.From.Position), FromTime: clusterTime(d.From.Position),
		ToPosition: topology.EncodePosition(d.To.Position), ToTime: clusterTime(d.To.Position), ResumeToken: d.To.ResumeToken,
		StreamId: text(d.StreamID), Sequence: unsigned(d.Sequence), Event: unsigned(d.Event),
		ReplacedBy: text(d.ReplacedBy), LostEvents: unsigned(d.Lost),
		Requested: encodeAcceptance(&d.Requested),
	}

	if d.Divergence != nil {
		g.Divergence = encodeAcceptance(d.Divergence)
	}

	return g
}

func clusterTime(p event.Position) *timestamppb.Timestamp { return timestamppb.New(p.Time()) }

func encodeAcceptance(a *gap.Acceptance) *relayv1.Acceptance {
	return &relayv1.Acceptance{By: text(a.By), Reason: text(a.Reason), Time: timestamppb.New(a.At)}
}
