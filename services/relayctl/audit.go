package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

func (p *program) audit() *cobra.Command {
	var (
		q     question
		w     watching
		limit int
	)

	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "List who did what to a flow, the latest first",
		Example: "  relayctl audit\n  relayctl audit --limit 1000 -o json | jq -r '.records[] | [.time, .who, .action] | @tsv'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.list(cmd.Context(), &w, func(ctx context.Context) (*listing, error) {
				found, err := fetchAudit(ctx, &q, limit)

				return &listing{message: found, text: func(to io.Writer) error { return show.Audit(to, found.GetRecords()) }}, err
			})
		},
	}

	p.addQuestionFlags(cmd, &q)
	w.addFlags(cmd, "the list once")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "most records; 0: all")

	return cmd
}

// fetchAudit reads pages until there are limit records.
func fetchAudit(ctx context.Context, q *question, limit int) (*relayv1.ListAuditRecordsResponse, error) {
	if limit < 0 {
		return nil, &refusedError{what: "--limit is negative", next: "give 1 or more, or 0 for all"}
	}

	all := new(relayv1.ListAuditRecordsResponse)
	request := &relayv1.ListAuditRecordsRequest{Flow: q.flow, PageSize: pageSize}

	err := q.everyPage(ctx, func(ctx context.Context, client relayv1.StatsServiceClient) (bool, error) {
		if left := limit - len(all.GetRecords()); limit > 0 && left < pageSize {
			request.PageSize = int32(left) //nolint:gosec // below pageSize
		}

		page, err := client.ListAuditRecords(ctx, request)
		if err != nil {
			return false, err
		}

		all.Records = append(all.Records, page.GetRecords()...)
		request.PageToken, all.NextPageToken = page.GetNextPageToken(), page.GetNextPageToken()

		return request.GetPageToken() != "" && (limit == 0 || len(all.GetRecords()) < limit), nil
	})
	if err != nil {
		return nil, err
	}

	return all, nil
}
