package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// completionTimeout is how long the shell waits for the stats service: somebody holds a finger on the key.
const completionTimeout = time.Second

// completions has the shell offer what the stats service knows, wherever a command takes it.
func (p *program) completions(root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("context", p.completeContexts()) // fails for a flag that is not there
	complete(root, "output", []string{outputText, outputJSON})

	var walk func(cmd *cobra.Command)

	walk = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			walk(child)
		}

		for flag, of := range map[string]cobra.CompletionFunc{"flow": p.completeFlows, "owner": p.completeOwners} {
			if cmd.Flags().Lookup(flag) != nil {
				_ = cmd.RegisterFlagCompletionFunc(flag, of) // see above
			}
		}
	}
	walk(root)
}

// asked asks the stats service that the flags and the environment name. Without an answer nothing is offered.
func (p *program) asked(cmd *cobra.Command, ask func(context.Context, relayv1.StatsServiceClient, string) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	var q question

	// Not every command that takes a flow asks the stats service: it is found as by one that does.
	questions := new(cobra.Command)
	p.addQuestionFlags(questions, &q)
	questions.Flags().VisitAll(func(flag *pflag.Flag) {
		if given := cmd.Flags().Lookup(flag.Name); given != nil && given.Changed {
			_ = flag.Value.Set(given.Value.String()) // one of a text takes every text
		}
	})

	conn, err := q.dial()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()

	words, err := ask(ctx, relayv1.NewStatsServiceClient(conn), q.flow)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}

	return words, cobra.ShellCompDirectiveNoFileComp
}

func (p *program) completeFlows(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.asked(cmd, func(ctx context.Context, client relayv1.StatsServiceClient, _ string) (words []string, err error) {
		response, err := client.ListFlows(ctx, new(relayv1.ListFlowsRequest))
		for _, flow := range response.GetFlows() {
			words = append(words, flow.GetName())
		}

		return words, err
	})
}

func (p *program) completeOwners(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.asked(cmd, func(ctx context.Context, client relayv1.StatsServiceClient, flow string) (words []string, err error) {
		response, err := client.ListInstances(ctx, &relayv1.ListInstancesRequest{
			Flow: flow, Roles: []relayv1.InstanceRole{relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR}, PageSize: pageSize,
		})
		for _, i := range response.GetInstances() {
			if i.GetIsGone() {
				continue // it owns nothing
			}

			words = append(words, cobra.CompletionWithDesc(i.GetInstance().GetId(), fmt.Sprintf("%s, partitions %d", i.GetInstance().GetHost(), i.GetPartitions())))
		}

		return words, err
	})
}

func (p *program) completePartitions(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.asked(cmd, func(ctx context.Context, client relayv1.StatsServiceClient, flow string) (words []string, err error) {
		response, err := client.ListPartitions(ctx, &relayv1.ListPartitionsRequest{Flow: flow, PageSize: pageSize})
		for _, partition := range response.GetPartitions() {
			words = append(words, cobra.CompletionWithDesc(strconv.FormatUint(uint64(partition.GetPartition()), 10), show.PartitionState(partition)))
		}

		return words, err
	})
}
