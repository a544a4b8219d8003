package capture

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func (s *session) sendMarker(ctx context.Context, dry bool) error {
	marker := &relayv1.Marker{
		Heads: s.ledger.Heads(), Filter: s.markerFilter(), OpenTransaction: s.openTransaction(),
		NumDeleted: s.known.Deleted, NumLost: s.known.Lost,
	}
	s.ledger.Schema(marker)

	payload, err := markerPayload(marker)
	if err != nil {
		return failed(err, "")
	}

	m := s.ledger.Marker(payload)

	return s.send(ctx, &m, dry)
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
