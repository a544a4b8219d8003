package topology

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// JoinStreamIDs is Marker.replaces_stream_id: usually one id, several where some
// checkpoints were still of a stream that the lost one had replaced.
func JoinStreamIDs(ids []string) string { return strings.Join(ids, " ") }

// First returns message 1 and its marker. Errors: ErrNoMessage when it is not
// there yet or was purged, event.ErrMalformed, or those of the connection.
func (s *Stream) First(ctx context.Context) (Stored, *relayv1.Marker, error) {
	first, err := s.At(ctx, 1)
	if err != nil {
		return Stored{}, nil, err
	}

	marker, err := first.Marker()
	if err != nil || first.StreamID != s.StreamID {
		return Stored{}, nil, fmt.Errorf("%w: message 1 of stream %s is no marker of it", event.ErrMalformed, s.Name())
	}

	return first, marker, nil
}

// Replaces tells whether the stream was made in the place of the one with this
// id, because an operator has accepted the gap that it left. Errors as of First.
func (s *Stream) Replaces(ctx context.Context, id string) (bool, error) {
	_, marker, err := s.First(ctx)
	if err != nil {
		return false, err
	}

	return slices.Contains(strings.Fields(marker.GetReplacesStreamId()), id), nil
}
