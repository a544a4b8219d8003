package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// noOwner is what --state calls partitions that nobody owns.
const noOwner = "no-owner"

func partitionStates() []string {
	return []string{"failed", noOwner, "waiting-rewind", "paused", "acquiring", "draining", "applying"}
}

func orders() []string {
	return []string{show.ByAttention, show.ByNumber, show.ByPending, show.ByLag}
}

func (p *program) partitions() *cobra.Command {
	var (
		q            question
		w            watching
		states       []string
		owner, order string
	)

	cmd := &cobra.Command{
		Use:   "partitions [NUMBER...]",
		Short: "List the partitions of a flow, those that need attention first",
		Long: "List the partitions of a flow: who owns them since when, and how far they are.\n\n" +
			"The first ones need attention: failed, without an owner, waiting; then those with changes set aside. A ? is unknown.",
		Example: "  relayctl partitions\n" +
			"  relayctl partitions --state failed,no-owner,paused\n" +
			"  relayctl partitions 3 7\n" +
			"  relayctl partitions --watch\n" +
			"  relayctl partitions --sort lag -o json | jq '.partitions[0]'",
		ValidArgsFunction: p.completePartitions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(orders(), order) {
				return &refusedError{what: fmt.Sprintf("--sort %q is none of %s", order, strings.Join(orders(), ", ")), next: "relayctl partitions --help"}
			}

			request, err := partitionsRequest(q.flow, states, owner)
			if err != nil {
				return err
			}

			return p.list(cmd.Context(), &w, func(ctx context.Context) (*listing, error) {
				found, err := fetchPartitions(ctx, &q, request)
				if err != nil {
					return nil, err
				}

				if found.Partitions, err = pick(found.GetPartitions(), args); err != nil {
					return nil, err
				}

				show.SortPartitions(found.GetPartitions(), order)

				return &listing{message: found, text: func(to io.Writer) error { return show.Partitions(to, found, p.color()) }}, nil
			})
		},
	}

	p.addQuestionFlags(cmd, &q)
	w.addFlags(cmd, "the list once")
	cmd.Flags().StringSliceVar(&states, "state", nil, "only in these states: comma list of "+strings.Join(partitionStates(), ", "))
	cmd.Flags().StringVar(&owner, "owner", "", "only of the owner with this instance id")
	cmd.Flags().StringVar(&order, "sort", show.ByAttention, "what comes first: "+strings.Join(orders(), ", "))
	complete(cmd, "state", partitionStates())
	complete(cmd, "sort", orders())

	return cmd
}

// complete offers fixed words for a flag.
func complete(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there
}

func partitionsRequest(flow string, states []string, owner string) (*relayv1.ListPartitionsRequest, error) {
	request := &relayv1.ListPartitionsRequest{Flow: flow, OwnerInstance: owner, PageSize: pageSize}

	for _, state := range states {
		state = strings.ToLower(state)

		switch {
		case !slices.Contains(partitionStates(), state):
			return nil, &refusedError{
				what: fmt.Sprintf("--state %q is none of %s", state, strings.Join(partitionStates(), ", ")), next: "relayctl partitions --help",
			}
		case state == noOwner:
			request.States = append(request.States, relayv1.PartitionState_PARTITION_STATE_UNSPECIFIED)
		default:
			name := "PARTITION_STATE_" + strings.ToUpper(strings.ReplaceAll(state, "-", "_"))
			request.States = append(request.States, relayv1.PartitionState(relayv1.PartitionState_value[name]))
		}
	}

	return request, nil
}

// pick leaves the partitions with these numbers; without a number, all.
func pick(partitions []*relayv1.PartitionStats, numbers []string) ([]*relayv1.PartitionStats, error) {
	if len(numbers) == 0 {
		return partitions, nil
	}

	var picked []*relayv1.PartitionStats

	for _, number := range numbers {
		i := slices.IndexFunc(partitions, func(p *relayv1.PartitionStats) bool {
			return strconv.FormatUint(uint64(p.GetPartition()), 10) == number
		})
		if i < 0 {
			return nil, &refusedError{what: fmt.Sprintf("there is no partition %q among those found", number), next: "relayctl partitions lists them"}
		}

		picked = append(picked, partitions[i])
	}

	return picked, nil
}

// fetchPartitions reads all pages; what is said about the sample is that of the last one.
func fetchPartitions(ctx context.Context, q *question, request *relayv1.ListPartitionsRequest) (*relayv1.ListPartitionsResponse, error) {
	var (
		all  []*relayv1.PartitionStats
		last *relayv1.ListPartitionsResponse
	)

	request.PageToken = "" // an earlier try may have ended amid the pages

	err := q.everyPage(ctx, func(ctx context.Context, client relayv1.StatsServiceClient) (bool, error) {
		page, err := client.ListPartitions(ctx, request)
		if err != nil {
			return false, err
		}

		all, last = append(all, page.GetPartitions()...), page
		request.PageToken = page.GetNextPageToken()

		return request.GetPageToken() != "", nil
	})
	if err != nil {
		return nil, err
	}

	last.Partitions = all

	return last, nil
}

func (p *program) instances() *cobra.Command {
	var (
		q    question
		w    watching
		role string
	)

	cmd := &cobra.Command{
		Use:   "instances",
		Short: "List the listeners and processors of a flow, those that need attention first",
		Long: "List the listeners and processors of a flow, those that need attention first.\n\n" +
			"Those are listed that reported within the last 15 s. SILENT is one that has said nothing for four fifths of\n" +
			"LEASE_TTL: it was killed, is frozen or cut off, and the others take over. GONE is one that has said nothing for\n" +
			"longer, until an hour after its last report, with who does its work now; one that was restarted on its host is\n" +
			"left out. A processor is as well as its worst partition.",
		Example: "  relayctl instances\n  relayctl instances --role processor\n  relayctl instances -o json | jq -r '.instances[].instance.host'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request := &relayv1.ListInstancesRequest{Flow: q.flow, PageSize: pageSize}

			if role != "" {
				if !slices.Contains(roles(), role) {
					return &refusedError{what: fmt.Sprintf("--role %q is none of %s", role, strings.Join(roles(), ", ")), next: "relayctl instances --help"}
				}

				request.Roles = []relayv1.InstanceRole{relayv1.InstanceRole(relayv1.InstanceRole_value["INSTANCE_ROLE_"+strings.ToUpper(role)])}
			}

			return p.list(cmd.Context(), &w, func(ctx context.Context) (*listing, error) {
				found, err := fetchInstances(ctx, &q, request)
				if err != nil {
					return nil, err
				}

				show.SortInstances(found.GetInstances())

				return &listing{message: found, text: func(to io.Writer) error { return show.Instances(to, found, p.color()) }}, nil
			})
		},
	}

	p.addQuestionFlags(cmd, &q)
	w.addFlags(cmd, "the list once")
	cmd.Flags().StringVar(&role, "role", "", "only this role: "+strings.Join(roles(), " or "))
	complete(cmd, "role", roles())

	return cmd
}

func roles() []string { return []string{"listener", "processor"} }

// fetchInstances reads all pages, as fetchPartitions does.
func fetchInstances(ctx context.Context, q *question, request *relayv1.ListInstancesRequest) (*relayv1.ListInstancesResponse, error) {
	var (
		all  []*relayv1.InstanceStats
		last *relayv1.ListInstancesResponse
	)

	request.PageToken = "" // as in fetchPartitions

	err := q.everyPage(ctx, func(ctx context.Context, client relayv1.StatsServiceClient) (bool, error) {
		page, err := client.ListInstances(ctx, request)
		if err != nil {
			return false, err
		}

		all, last = append(all, page.GetInstances()...), page
		request.PageToken = page.GetNextPageToken()

		return request.GetPageToken() != "", nil
	})
	if err != nil {
		return nil, err
	}

	last.Instances = all

	return last, nil
}
