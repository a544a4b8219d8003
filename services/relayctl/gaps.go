package main

import (
	"context"

	"github.com/spf13/cobra"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

func (p *program) flowGaps() *cobra.Command {
	var q question

	cmd := &cobra.Command{
		Use:     "gaps",
		Short:   "List the gaps that were ever accepted",
		Example: "  relayctl flow gaps\n  relayctl flow gaps -o json | jq '.gaps[].name'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := fetchGaps(cmd.Context(), &q)
			if err != nil {
				return err
			}

			if p.output == outputJSON {
				return show.JSON(p.out, found)
			}

			return show.Gaps(p.out, found.GetGaps())
		},
	}

	p.addQuestionFlags(cmd, &q)

	return cmd
}

// fetchGaps reads all pages.
func fetchGaps(ctx context.Context, q *question) (*relayv1.ListGapsResponse, error) {
	conn, err := q.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	all := new(relayv1.ListGapsResponse)
	request := &relayv1.ListGapsRequest{Flow: q.flow, PageSize: pageSize}

	for {
		page, err := oneGapPage(ctx, relayv1.NewStatsServiceClient(conn), request)
		if err != nil {
			return nil, explain(err, q.server)
		}

		all.Gaps = append(all.Gaps, page.GetGaps()...)
		request.PageToken = page.GetNextPageToken()

		if request.GetPageToken() == "" {
			return all, nil
		}
	}
}

func oneGapPage(ctx context.Context, client relayv1.StatsServiceClient, request *relayv1.ListGapsRequest) (*relayv1.ListGapsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	return client.ListGaps(ctx, request)
}
