package api

import (
	"context"
	"fmt"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// ReplayDeadLetters implements relayv1.DeadLetterServiceServer.
func (s *letterService) ReplayDeadLetters(ctx context.Context, request *relayv1.ReplayDeadLettersRequest) (*relayv1.ReplayDeadLettersResponse, error) {
	outcome, operation, err := s.act(ctx, deadletter.Replay, request)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.ReplayDeadLettersResponse{Outcome: outcome, Operation: operation}, nil
}

// RefetchDeadLetters implements relayv1.DeadLetterServiceServer.
func (s *letterService) RefetchDeadLetters(ctx context.Context, request *relayv1.RefetchDeadLettersRequest) (*relayv1.RefetchDeadLettersResponse, error) {
	outcome, operation, err := s.act(ctx, deadletter.Refetch, request)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.RefetchDeadLettersResponse{Outcome: outcome, Operation: operation}, nil
}

// DiscardDeadLetters implements relayv1.DeadLetterServiceServer.
func (s *letterService) DiscardDeadLetters(ctx context.Context, request *relayv1.DiscardDeadLettersRequest) (*relayv1.DiscardDeadLettersResponse, error) {
	outcome, operation, err := s.act(ctx, deadletter.Discard, request)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.DiscardDeadLettersResponse{Outcome: outcome, Operation: operation}, nil
}

// actionRequest is what the requests of all actions have.
type actionRequest interface {
	asker
	GetSelection() *relayv1.DeadLetterSelection
	GetValidateOnly() bool
}

func (s *letterService) act(ctx context.Context, verb deadletter.Verb, request actionRequest,
) (outcome *relayv1.DeadLetterOutcome, operation string, err error) {
	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, "", err
	}

	action, err := decodeAction(ctx, verb, request)
	if err != nil {
		return nil, "", err
	}

	did, err := letters.Do(ctx, action)
	if err != nil {
		return nil, "", err
	}

	return encodeOutcome(&did), did.Operation, nil
}

func decodeAction(ctx context.Context, verb deadletter.Verb, request actionRequest) (*deadletter.Request, error) {
	who, err := decodeAsker(ctx, request)
	if err != nil {
		return nil, err
	}

	action := &deadletter.Request{Verb: verb, Who: who, Why: request.GetReason(), ValidateOnly: request.GetValidateOnly()}

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

// longCalls get more time than other calls: an action on all that match changes many documents.
func longCalls() map[string]time.Duration {
	const timeout = deadletter.ActionTimeout + 5*time.Second

	return map[string]time.Duration{
		relayv1.DeadLetterService_ReplayDeadLetters_FullMethodName:  timeout,
		relayv1.DeadLetterService_RefetchDeadLetters_FullMethodName: timeout,
		relayv1.DeadLetterService_DiscardDeadLetters_FullMethodName: timeout,
	}
}

// GetDeadLetterOperation implements relayv1.DeadLetterServiceServer.
func (s *letterService) GetDeadLetterOperation(ctx context.Context, request *relayv1.GetDeadLetterOperationRequest) (*relayv1.GetDeadLetterOperationResponse, error) {
	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	operation, err := letters.Operation(ctx, request.GetName())
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.GetDeadLetterOperationResponse{Operation: encodeOperation(operation)}, nil
}
