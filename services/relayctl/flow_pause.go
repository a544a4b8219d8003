package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// pauseFlags are those of pause and resume.
type pauseFlags struct {
	question

	who, why   string
	namespaces []string
}

func (p *program) flowPause() *cobra.Command {
	var f pauseFlags

	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Stop the writes to the flow's target, or to namespaces of it",
		Long: "Stop the writes to the flow's target, within two seconds. The source is captured all the same: its changes wait\n" +
			"in the stream, which has to have room for them. A pause outlives every restart, until flow resume. What is paused\n" +
			"already stays so, with who asked first and why.\n\n" +
			"With --namespace only changes of these wait, and all others are applied: they are set aside in the target, which\n" +
			"PARK_MAX_BYTES has to have room for. Schema changes are made all the same: a drop ends what waits of its collection,\n" +
			"and a collection that gets a name which is not paused is written to under that one.",
		Example: "  relayctl flow pause --reason \"upgrade of the target\"\n" +
			"  relayctl flow pause --namespace shop.orders --namespace stock --reason INC-12",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.why == "" {
				return &refusedError{what: "--reason is missing: whoever finds the flow paused will ask", next: "add --reason \"why\""}
			}

			return p.control(cmd.Context(), &f, func(ctx context.Context, client relayv1.FlowServiceClient, namespaces []*relayv1.Namespace) (controlled, error) {
				return client.PauseFlow(ctx, &relayv1.PauseFlowRequest{Flow: f.flow, Namespaces: namespaces, RequestedBy: f.who, Reason: f.why})
			})
		},
	}

	p.addPauseFlags(cmd, &f, "why, for those who find it paused; required")

	return cmd
}

func (p *program) flowResume() *cobra.Command {
	var f pauseFlags

	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Go on with the writes to the flow's target, or to namespaces of it",
		Long: "Go on with the writes to the flow's target, where flow pause had them stop. What was paused with --namespace goes on\n" +
			"under the same name. What runs is left alone.",
		Example: "  relayctl flow resume\n  relayctl flow resume --namespace shop.orders --reason \"the report is done\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.control(cmd.Context(), &f, func(ctx context.Context, client relayv1.FlowServiceClient, namespaces []*relayv1.Namespace) (controlled, error) {
				return client.ResumeFlow(ctx, &relayv1.ResumeFlowRequest{Flow: f.flow, Namespaces: namespaces, RequestedBy: f.who, Reason: f.why})
			})
		},
	}

	p.addPauseFlags(cmd, &f, "why, for the record")

	return cmd
}

func (p *program) addPauseFlags(cmd *cobra.Command, f *pauseFlags, reason string) {
	p.addQuestionFlags(cmd, &f.question)
	cmd.Flags().StringArrayVar(&f.namespaces, "namespace", nil, "only this collection, db.coll, or database, db; may be given again")
	p.addRecordFlags(cmd, &f.who, &f.why, reason)
}

// controlled is the answer to either request.
type controlled interface {
	proto.Message

	GetFlow() *relayv1.FlowControl
	GetChanged() bool
}

// control sends a request for the namespaces of the flags, and shows what holds then.
func (p *program) control(ctx context.Context, f *pauseFlags,
	send func(context.Context, relayv1.FlowServiceClient, []*relayv1.Namespace) (controlled, error),
) error {
	namespaces, err := f.decode()
	if err != nil {
		return err
	}

	var answer controlled

	err = f.ask(ctx, func(ctx context.Context, client relayv1.FlowServiceClient) (err error) {
		answer, err = send(ctx, client, namespaces)

		return err
	})

	switch {
	case err != nil:
		return err
	case p.output == outputJSON:
		return show.JSON(p.out, answer)
	default:
		return show.Flow(p.out, answer.GetFlow(), answer.GetChanged())
	}
}

// decode reads the namespaces: db.coll, or db for a whole database.
func (f *pauseFlags) decode() ([]*relayv1.Namespace, error) {
	namespaces := make([]*relayv1.Namespace, len(f.namespaces))

	for i, name := range f.namespaces {
		db, coll, found := strings.Cut(name, ".")
		if db == "" || found && coll == "" {
			return nil, &refusedError{what: fmt.Sprintf("--namespace %q is none", name), next: "give db.coll, or db for all collections of a database"}
		}

		namespaces[i] = &relayv1.Namespace{Database: db, Collection: coll}
	}

	return namespaces, nil
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

		return
	case answer.GetFlow().GetStateUnknownBecause() != "":
		shown.StateUnknownBecause = answer.GetFlow().GetStateUnknownBecause()

		return
	case pause != nil:
		shown.State = flow.StatePaused
		shown.Pause = shownPause(pause)
	default:
		shown.State = flow.StateRunning
	}

	for _, n := range answer.GetFlow().GetPausedNamespaces() {
		shown.PausedNamespaces = append(shown.PausedNamespaces, flow.ShownNamespace{
			Namespace: show.Namespace(n.GetNamespace()), Pause: *shownPause(n.GetPause()),
		})
	}
}

func shownPause(p *relayv1.Pause) *flow.ShownPause {
	return &flow.ShownPause{By: p.GetBy(), Reason: p.GetReason(), Since: p.GetSince().AsTime(), Text: show.Pause(p)}
}
