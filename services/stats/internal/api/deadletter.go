package api

import (
	"context"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// Bounds of requests about dead letters; they are part of the contract.
const (
	defaultPageSize = 50
	maxPageSize     = 1000
	maxNames        = 1000
	maxIdentity     = 128  // bytes of requested_by
	maxReason       = 1024 // bytes of reason
)

// letterService implements relayv1.DeadLetterServiceServer.
type letterService struct {
	relayv1.UnimplementedDeadLetterServiceServer

	letters []*deadletter.Letters
}

func (s *letterService) find(name string) (*deadletter.Letters, error) {
	return findFlow(s.letters, (*deadletter.Letters).Flow, name)
}

// ListDeadLetters implements relayv1.DeadLetterServiceServer.
func (s *letterService) ListDeadLetters(ctx context.Context, request *relayv1.ListDeadLettersRequest) (*relayv1.ListDeadLettersResponse, error) {
	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	query, size, err := decodeQuery(request)
	if err != nil {
		return nil, toStatus(err)
	}

	found, next, err := letters.List(ctx, query, size, request.GetPageToken())
	if err != nil {
		return nil, toStatus(err)
	}

	response := &relayv1.ListDeadLettersResponse{NextPageToken: next}
	for i := range found {
		response.DeadLetters = append(response.DeadLetters, encodeLetter(&found[i]))
	}

	return response, nil
}

func decodeQuery(request *relayv1.ListDeadLettersRequest) (*deadletter.Query, int, error) {
	filter, err := decodeFilter(request.GetFilter())
	if err != nil {
		return nil, 0, err
	}

	query := &deadletter.Query{Filter: *filter}

	for _, state := range request.GetStates() {
		decoded, ok := parkedStates()[state]
		if !ok {
			return nil, 0, &argumentError{"states", fmt.Sprintf("has %s, which is no state", state), "leave it empty for dead letters, or list states"}
		}

		query.States = append(query.States, decoded)
	}

	if query.States == nil {
		query.States = []parked.State{parked.Dead}
	}

	size, err := decodePageSize(request.GetPageSize())

	return query, size, err
}

func decodeFilter(f *relayv1.DeadLetterFilter) (*deadletter.Filter, error) {
	filter := &deadletter.Filter{DB: f.GetNamespace().GetDatabase(), Coll: f.GetNamespace().GetCollection()}

	if filter.DB == "" && filter.Coll != "" {
		return nil, &argumentError{"filter.namespace", "has a collection without its database", "set the database too"}
	}

	// Absent is the zero time here; the zero of protobuf would be 1970.
	if f.GetSince() != nil {
		if !f.GetSince().IsValid() {
			return nil, &argumentError{"filter.since", "is no time", "give a time of the years 1 to 9999"}
		}

		filter.Since = f.GetSince().AsTime()
	}

	if f.GetUntil() != nil {
		if !f.GetUntil().IsValid() {
			return nil, &argumentError{"filter.until", "is no time", "give a time of the years 1 to 9999"}
		}

		filter.Until = f.GetUntil().AsTime()
	}

	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		return nil, &argumentError{"filter.until", "is not behind filter.since", "nothing can match: swap or widen them"}
	}

	if f != nil && f.ErrorCode != nil {
		filter.Code = new(f.GetErrorCode())
	}

	filter.Operation = f.GetOperation()

	return filter, nil
}

// GetDeadLetter implements relayv1.DeadLetterServiceServer.
func (s *letterService) GetDeadLetter(ctx context.Context, request *relayv1.GetDeadLetterRequest) (*relayv1.GetDeadLetterResponse, error) {
	masked := request.GetView() == relayv1.DeadLetterView_DEAD_LETTER_VIEW_BASIC
	if !masked { // contents of documents are no statistics
		if err := access.From(ctx).Require(access.Operator); err != nil {
			return nil, toStatus(err)
		}
	}

	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	content, err := letters.Get(ctx, request.GetName())
	if err != nil {
		return nil, toStatus(err)
	}

	if masked {
		return &relayv1.GetDeadLetterResponse{
			DeadLetter: encodeLetter(&content.Letter), EventMissingBecause: text(content.Missing), FollowersWaiting: content.Followers,
		}, nil
	}

	letters.Compare(ctx, &content)

	return encodeContent(&content), nil
}
