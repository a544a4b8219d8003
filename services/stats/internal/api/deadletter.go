package api

import (
	"context"
	"fmt"
	"time"

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

	return filter, nil
}

// GetDeadLetter implements relayv1.DeadLetterServiceServer.
func (s *letterService) GetDeadLetter(ctx context.Context, request *relayv1.GetDeadLetterRequest) (*relayv1.GetDeadLetterResponse, error) {
	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	content, err := letters.Get(ctx, request.GetName())
	if err != nil {
		return nil, toStatus(err)
	}

	if request.GetView() == relayv1.DeadLetterView_DEAD_LETTER_VIEW_BASIC {
		return &relayv1.GetDeadLetterResponse{
			DeadLetter: encodeLetter(&content.Letter), EventMissingBecause: text(content.Missing), FollowersWaiting: content.Followers,
		}, nil
	}

	return encodeContent(&content), nil
}

// ReplayDeadLetters implements relayv1.DeadLetterServiceServer.
func (s *letterService) ReplayDeadLetters(ctx context.Context, request *relayv1.ReplayDeadLettersRequest) (*relayv1.ReplayDeadLettersResponse, error) {
	outcome, err := s.act(ctx, deadletter.Replay, request)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.ReplayDeadLettersResponse{Outcome: outcome}, nil
}

// DiscardDeadLetters implements relayv1.DeadLetterServiceServer.
func (s *letterService) DiscardDeadLetters(ctx context.Context, request *relayv1.DiscardDeadLettersRequest) (*relayv1.DiscardDeadLettersResponse, error) {
	outcome, err := s.act(ctx, deadletter.Discard, request)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.DiscardDeadLettersResponse{Outcome: outcome}, nil
}

// actionRequest is what the requests of both actions have.
type actionRequest interface {
	GetFlow() string
	GetSelection() *relayv1.DeadLetterSelection
	GetRequestedBy() string
	GetReason() string
	GetValidateOnly() bool
}

func (s *letterService) act(ctx context.Context, verb deadletter.Verb, request actionRequest) (*relayv1.DeadLetterOutcome, error) {
	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, err
	}

	action, err := decodeAction(ctx, verb, request)
	if err != nil {
		return nil, err
	}

	outcome, err := letters.Do(ctx, action)
	if err != nil {
		return nil, err
	}

	return encodeOutcome(&outcome), nil
}

func decodeAction(ctx context.Context, verb deadletter.Verb, request actionRequest) (*deadletter.Request, error) {
	action := &deadletter.Request{Verb: verb, Why: request.GetReason(), ValidateOnly: request.GetValidateOnly()}

	switch who := request.GetRequestedBy(); {
	case who == "":
		return nil, &argumentError{"requested_by", "is empty", "say who asks: it is remembered in the record"}
	case len(who) > maxIdentity:
		return nil, &argumentError{"requested_by", fmt.Sprintf("has more than %d bytes", maxIdentity), "shorten it"}
	case len(action.Why) > maxReason:
		return nil, &argumentError{"reason", fmt.Sprintf("has more than %d bytes", maxReason), "shorten it"}
	default:
		action.Who = describe(who, access.From(ctx))
	}

	switch selection := request.GetSelection().GetSelection().(type) {
	case *relayv1.DeadLetterSelection_Names:
		action.Names = selection.Names.GetNames()
		if n := len(action.Names); n == 0 || n > maxNames {
			return nil, &argumentError{"selection.names", fmt.Sprintf("has %d names", n), fmt.Sprintf("give 1 to %d names, or a filter", maxNames)}
		}
	case *relayv1.DeadLetterSelection_Filter:
		filter, err := decodeFilter(selection.Filter)
		if err != nil {
			return nil, err
		}

		action.Filter = filter
	default:
		return nil, &argumentError{"selection", "is empty", "give names or a filter; an empty filter stands for all"}
	}

	return action, nil
}

// describe is who asks: what he says of himself, what his token or certificate says of him, and where he asks from.
func describe(who string, id access.Identity) string {
	switch {
	case id.Token != "":
		who += " (token " + id.Token + ")"
	case id.Certificate != "":
		who += " (certificate " + id.Certificate + ")"
	}

	return who + " from " + id.Addr
}

// longCalls get more time than other calls: an action on all that match is one update of many documents.
func longCalls() map[string]time.Duration {
	const actionTimeout = time.Minute

	return map[string]time.Duration{
		relayv1.DeadLetterService_ReplayDeadLetters_FullMethodName:  actionTimeout,
		relayv1.DeadLetterService_DiscardDeadLetters_FullMethodName: actionTimeout,
	}
}
