package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// pauseFlags are those of pause and resume.
type pauseFlags struct {
	question

	who, why string
}

func (p *program) flowPause() *cobra.Command {
	var f pauseFlags

	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Stop the writes to the flow's target",
		Long: "Stop the writes to the flow's target, within two seconds. The source is captured all the same: its changes wait\n" +
			"in the stream, which has to have room for them. A pause outlives every restart, until flow resume. A flow that\n" +
			"is paused already stays so, with who asked first and why.",
		Example: "  relayctl flow pause --reason \"upgrade of the target\"\n" +
			"  relayctl flow pause --reason INC-12 --as ann -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.why == "" {
				return &refusedError{what: "--reason is missing: whoever finds the flow paused will ask", next: "add --reason \"why\""}
			}

			var answer *relayv1.PauseFlowResponse

			err := f.ask(cmd.Context(), func(ctx context.Context, client relayv1.FlowServiceClient) (err error) {
				answer, err = client.PauseFlow(ctx, &relayv1.PauseFlowRequest{Flow: f.flow, RequestedBy: f.who, Reason: f.why})

				return err
			})
			if err != nil {
				return err
			}

			if p.output == outputJSON {
				return show.JSON(p.out, answer)
			}

			text := "flow %s is %s\n"
			if !answer.GetChanged() {
				text = "flow %s stays %s\n"
			}

			_, err = fmt.Fprintf(p.out, text, answer.GetFlow().GetName(), show.Pause(answer.GetFlow().GetPause()))

			return err
		},
	}

	p.addPauseFlags(cmd, &f, "why, for those who find it paused; required")

	return cmd
}

func (p *program) flowResume() *cobra.Command {
	var f pauseFlags

	cmd := &cobra.Command{
		Use:     "resume",
		Short:   "Go on with the writes to the flow's target",
		Long:    "Go on with the writes to the flow's target, where flow pause had them stop. A flow that runs is left alone.",
		Example: "  relayctl flow resume\n  relayctl flow resume --reason \"the target is upgraded\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer *relayv1.ResumeFlowResponse

			err := f.ask(cmd.Context(), func(ctx context.Context, client relayv1.FlowServiceClient) (err error) {
				answer, err = client.ResumeFlow(ctx, &relayv1.ResumeFlowRequest{Flow: f.flow, RequestedBy: f.who, Reason: f.why})

				return err
			})
			if err != nil {
				return err
			}

			if p.output == outputJSON {
				return show.JSON(p.out, answer)
			}

			text := "flow %s goes on\n"
			if !answer.GetChanged() {
				text = "flow %s was not paused\n"
			}

			_, err = fmt.Fprintf(p.out, text, answer.GetFlow().GetName())

			return err
		},
	}

	p.addPauseFlags(cmd, &f, "why, for the record")

	return cmd
}

func (p *program) addPauseFlags(cmd *cobra.Command, f *pauseFlags, reason string) {
	p.addQuestionFlags(cmd, &f.question)
	cmd.Flags().StringVar(&f.why, "reason", "", reason)
	cmd.Flags().StringVar(&f.who, "as", cmp.Or(p.environ[operatorVariable], thisUser()), "who you are, for the record ("+operatorVariable+")")
}

// ask asks the service about flows; errors come back explained.
func (q *question) ask(ctx context.Context, ask func(context.Context, relayv1.FlowServiceClient) error) error {
	conn, err := q.dial()
	if err != nil {
		return err
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	if err := ask(ctx, relayv1.NewFlowServiceClient(conn)); err != nil {
		return explain(err, q.server)
	}

	return nil
}

// addState says whether the flow is paused, or why that is not known.
func (q *question) addState(ctx context.Context, shown *flow.Shown) {
	var answer *relayv1.GetFlowResponse

	err := q.ask(ctx, func(ctx context.Context, client relayv1.FlowServiceClient) (err error) {
		answer, err = client.GetFlow(ctx, &relayv1.GetFlowRequest{Flow: shown.Flow})

		return err
	})

	switch pause := answer.GetFlow().GetPause(); {
	case err != nil:
		shown.StateUnknownBecause = err.Error()
	case pause != nil:
		shown.State = flow.StatePaused
		shown.Pause = &flow.ShownPause{By: pause.GetBy(), Reason: pause.GetReason(), Since: pause.GetSince().AsTime(), Text: show.Pause(pause)}
	default:
		shown.State = flow.StateRunning
	}
}
