package api

import (
	"context"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// ListAuditRecords implements relayv1.StatsServiceServer.
func (s *service) ListAuditRecords(ctx context.Context, request *relayv1.ListAuditRecordsRequest) (*relayv1.ListAuditRecordsResponse, error) {
	letters, err := findFlow(s.letters, (*deadletter.Letters).Flow, request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	size, err := decodePageSize(request.GetPageSize())
	if err != nil {
		return nil, toStatus(err)
	}

	// The token is the name of the page's last record: names are ordered by time and never change.
	before, err := base64.RawURLEncoding.DecodeString(request.GetPageToken())
	if err != nil || !isAuditToken(string(before), letters.Flow()) {
		return nil, toStatus(deadletter.ErrPageToken)
	}

	actions, err := letters.Audit(ctx, string(before), size+1)
	if err != nil {
		return nil, toStatus(err)
	}

	response := new(relayv1.ListAuditRecordsResponse)

	if len(actions) > size {
		actions = actions[:size]
		response.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(actions[size-1].ID))
	}

	for i := range actions {
		response.Records = append(response.Records, encodeAction(&actions[i]))
	}

	return response, nil
}

// isAuditToken tells whether the token of a page can be one of this flow.
func isAuditToken(before, flow string) bool {
	return before == "" || strings.HasPrefix(before, flow+"/") && utf8.ValidString(before)
}

func encodeAction(a *audit.Action) *relayv1.AuditRecord {
	record := &relayv1.AuditRecord{
		Name: text(a.ID), Action: text(a.Action), Who: text(a.Who), Why: text(a.Why), Time: timestamppb.New(a.Time), Selection: text(a.Selection),
	}

	if a.End != nil {
		record.Changed, record.Refused = new(unsigned(a.End.Changed)), new(unsigned(a.End.Refused))
		record.FailedBecause = text(a.End.Failed)
	}

	return record
}
