package api

import (
	"context"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// ListDeadLetterGroups implements relayv1.DeadLetterServiceServer.
func (s *letterService) ListDeadLetterGroups(ctx context.Context, request *relayv1.ListDeadLetterGroupsRequest) (*relayv1.ListDeadLetterGroupsResponse, error) {
	letters, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	filter, err := decodeFilter(request.GetFilter())
	if err != nil {
		return nil, toStatus(err)
	}

	groups, incomplete, err := letters.Groups(ctx, filter)
	if err != nil {
		return nil, toStatus(err)
	}

	response := &relayv1.ListDeadLetterGroupsResponse{Incomplete: incomplete}

	for i := range groups {
		g := &groups[i]
		response.Groups = append(response.Groups, &relayv1.DeadLetterGroup{
			Namespace:       &relayv1.Namespace{Database: text(g.DB), Collection: text(g.Coll)},
			ErrorCode:       int32(g.Code), //nolint:gosec // codes of servers are small
			Error:           text(g.Error),
			DeadLetters:     g.Count,
			FirstChangeTime: encodeAnyTime(g.First),
			LastChangeTime:  encodeAnyTime(g.Last),
		})
	}

	return response, nil
}
