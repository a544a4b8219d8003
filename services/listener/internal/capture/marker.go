package capture

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func (s *session) sendMarker(ctx context.Context, dry bool) error {
	known := s.known.Load()
	marker := &relayv1.Marker{
		Heads: s.ledger.Heads(), Filter: s.markerFilter(), OpenTransaction: s.openTransaction(),
		NumDeleted: known.Deleted, NumLost: known.Lost,
	}
	s.ledger.Schema(marker)

	payload, err := markerPayload(marker)
	if err != nil {
		return failed(err, "")
	}

	m := s.ledger.Marker(payload)

	if err := s.send(ctx, &m, dry); err != nil {
		return err
	}

	return failpoint.Error(failpoint.MarkerSent)
}

func (c *Capture) markerFilter() *relayv1.Filter {
	return &relayv1.Filter{Include: c.options.Include, Exclude: c.options.Exclude, SkipOrigins: c.seen.SkipOrigins}
}

func markerPayload(marker *relayv1.Marker) ([]byte, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(marker)
	if err != nil {
		return nil, fmt.Errorf("encode marker: %w", err)
	}

	return payload, nil
}
