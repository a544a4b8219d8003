package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

func (p *program) flowGaps() *cobra.Command {
	var (
		q question
		w watching
	)

	cmd := &cobra.Command{
		Use:     "gaps",
		Short:   "List the gaps that were ever accepted",
		Example: "  relayctl flow gaps\n  relayctl flow gaps -o json | jq '.gaps[].name'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.list(cmd.Context(), &w, func(ctx context.Context) (*listing, error) {
				found, err := fetchGaps(ctx, &q)

				return &listing{message: found, text: func(to io.Writer) error { return show.Gaps(to, found.GetGaps()) }}, err
			})
		},
	}

	p.addQuestionFlags(cmd, &q)
	w.addFlags(cmd, "the list once")

	return cmd
}

// fetchGaps reads all pages.
func fetchGaps(ctx context.Context, q *question) (*relayv1.ListGapsResponse, error) {
	all := new(relayv1.ListGapsResponse)
	request := &relayv1.ListGapsRequest{Flow: q.flow, PageSize: pageSize}

	err := q.everyPage(ctx, func(ctx context.Context, client relayv1.StatsServiceClient) (bool, error) {
		page, err := client.ListGaps(ctx, request)
		if err != nil {
			return false, err
		}

		all.Gaps = append(all.Gaps, page.GetGaps()...)
		request.PageToken = page.GetNextPageToken()

		return request.GetPageToken() != "", nil
	})
	if err != nil {
		return nil, err
	}

	return all, nil
}
