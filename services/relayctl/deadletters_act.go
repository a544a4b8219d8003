package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// actionTimeout bounds one action; the service gives itself a minute for it.
const actionTimeout = 70 * time.Second

// letterAction is replay, refetch or discard.
type letterAction struct {
	verb, done string // "replay", "replayed"
	short      string
	note       string
	asks       bool // also before it is done to named records
	do         func(context.Context, relayv1.DeadLetterServiceClient, *letterRequest) (letterResponse, error)
}

// letterResponse is what the responses of all actions have.
type letterResponse interface {
	GetOutcome() *relayv1.DeadLetterOutcome
	GetOperation() string
}

// letterRequest is what the requests of all actions have.
type letterRequest struct {
	flow, who, why string
	selection      *relayv1.DeadLetterSelection
	dryRun         bool
}

func replay() letterAction {
	return letterAction{
		verb: "replay", done: "replayed",
		short: "Have dead letters tried again, from the first attempt on",
		note: "Have dead letters tried again, from the first attempt on and by the same rules of order. The owners of the\n" +
			"partitions take that up within a second; what fails again becomes a dead letter again.",
		do: func(ctx context.Context, c relayv1.DeadLetterServiceClient, r *letterRequest) (letterResponse, error) {
			return c.ReplayDeadLetters(ctx, &relayv1.ReplayDeadLettersRequest{
				Flow: r.flow, Selection: r.selection, RequestedBy: r.who, Reason: r.why, ValidateOnly: r.dryRun,
			})
		},
	}
}

func refetch() letterAction {
	return letterAction{
		verb: "refetch", done: "set to refetch",
		short: "Have the source's documents taken in place of dead letters",
		note: "Have the source asked for the documents as they are now, which take the place of the events: what the source has\n" +
			"not any more is deleted. By the same rules of order as a replay, but it needs no event, so it works after that\n" +
			"was dropped by age, and for deltas that do not fit. It waits for a listener; what the target refuses is a dead\n" +
			"letter again.",
		do: func(ctx context.Context, c relayv1.DeadLetterServiceClient, r *letterRequest) (letterResponse, error) {
			return c.RefetchDeadLetters(ctx, &relayv1.RefetchDeadLettersRequest{
				Flow: r.flow, Selection: r.selection, RequestedBy: r.who, Reason: r.why, ValidateOnly: r.dryRun,
			})
		},
	}
}

func discard() letterAction {
	return letterAction{
		verb: "discard", done: "discarded", asks: true,
		short: "Give dead letters up for good",
		note: "Give dead letters up for good. Their documents keep what the target has, and take later changes again: bring\n" +
			"them up to the source by hand first, or accept the difference.",
		do: func(ctx context.Context, c relayv1.DeadLetterServiceClient, r *letterRequest) (letterResponse, error) {
			return c.DiscardDeadLetters(ctx, &relayv1.DiscardDeadLettersRequest{
				Flow: r.flow, Selection: r.selection, RequestedBy: r.who, Reason: r.why, ValidateOnly: r.dryRun,
			})
		},
	}
}

// actionFlags are what the flags of an action say.
type actionFlags struct {
	question

	filter           letterFilter
	all, dryRun, yes bool
	wait             bool
	who, why         string
}

func (p *program) actOnLetters(a letterAction) *cobra.Command {
	var f actionFlags

	cmd := &cobra.Command{
		Use:   a.verb + " {NAME... | --all}",
		Short: a.short,
		Long: a.note + "\n\nExit code 0: done, or there was nothing to do any more. 1: some were left as they are, or with --wait some\n" +
			"failed again. 2: a name is unknown, or nobody confirmed.",
		Example: "  relayctl dead-letters " + a.verb + " \"$NAME\" --reason \"validator relaxed\"\n" +
			"  relayctl dead-letters " + a.verb + " --all --namespace shop.orders --error-code 121 --dry-run\n" +
			"  relayctl dead-letters " + a.verb + " --all --since 2h --yes --wait   for scripts",
		ValidArgsFunction: p.completeLetters(&f.question),
		RunE: func(cmd *cobra.Command, names []string) error {
			requests, err := f.requests(cmd, &a, names)
			if err != nil {
				return err
			}

			did, err := p.act(cmd.Context(), &a, &f, requests)
			if err != nil {
				return err
			}

			if f.wait && !f.dryRun && len(did.operations) > 0 {
				return p.waitFor(cmd.Context(), &f.question, &a, did)
			}

			return p.printOutcome(&a, did, f.dryRun)
		},
	}

	p.addQuestionFlags(cmd, &f.question)
	f.filter.addFlags(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "all dead letters of the flow that match the filter")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "change nothing, and say what would be done")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "show how far it is until nothing of it is under way any more")
	p.addRecordFlags(cmd, &f.who, &f.why, "why, for the record")

	return cmd
}

func (f *actionFlags) mustConfirm(a *letterAction) bool {
	return (a.asks || f.all) && !f.yes && !f.dryRun
}

// requests are those that the arguments stand for: one for a filter, one per thousand names.
func (f *actionFlags) requests(cmd *cobra.Command, a *letterAction, names []string) ([]*letterRequest, error) {
	switch {
	case f.all && len(names) > 0:
		return nil, &refusedError{what: "both names and --all are given", next: "give one of the two"}
	case !f.all && len(names) == 0:
		return nil, &refusedError{what: "neither a name nor --all is given", next: "relayctl dead-letters list shows the names"}
	case !f.all && f.filter.given(cmd):
		return nil, &refusedError{what: "a filter is given beside names", next: "give a filter with --all only"}
	}

	request := func(selection *relayv1.DeadLetterSelection) *letterRequest {
		return &letterRequest{flow: f.flow, who: f.who, why: f.why, selection: selection, dryRun: f.dryRun}
	}

	if f.all {
		now := time.Now()

		filter, err := f.filter.decode(cmd, now)
		if err != nil {
			return nil, err
		}

		// What a person confirms is what there is now, not what dies while they read.
		if f.mustConfirm(a) && filter.GetUntil() == nil {
			filter.Until = timestamppb.New(now)
		}

		return []*letterRequest{request(&relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Filter{Filter: filter}})}, nil
	}

	var requests []*letterRequest
	for some := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(names))), pageSize) {
		requests = append(requests, request(&relayv1.DeadLetterSelection{
			Selection: &relayv1.DeadLetterSelection_Names{Names: &relayv1.DeadLetterNames{Names: some}},
		}))
	}

	return requests, nil
}

// letterOutcome is what an action did: of several requests the sum.
type letterOutcome struct {
	*relayv1.DeadLetterOutcome

	operations []string // names
}

// act asks for confirmation, with the number of records, and then does it.
func (p *program) act(ctx context.Context, a *letterAction, f *actionFlags, requests []*letterRequest) (*letterOutcome, error) {
	mustConfirm := f.mustConfirm(a)
	if mustConfirm && !isTerminal(p.in) {
		return nil, &refusedError{what: "dead-letters " + a.verb + ": nobody is there to confirm", next: "add --yes, or --dry-run to see what it would do"}
	}

	var outcome *letterOutcome

	err := withLetters(&f.question, func(client relayv1.DeadLetterServiceClient) (err error) {
		if mustConfirm {
			if outcome, err = p.send(ctx, a, client, requests, true); err != nil || outcome.GetChanged() == 0 {
				return err
			}

			question := fmt.Sprintf("This will %s %d of %d records.", a.verb, outcome.GetChanged(), outcome.GetMatched())
			if err := p.confirm(question, fmt.Sprintf("%s %d", a.verb, outcome.GetChanged())); err != nil {
				return err
			}
		}

		if !f.dryRun && isTerminal(p.err) {
			fmt.Fprintf(p.err, "%s …\n", a.verb)
		}

		outcome, err = p.send(ctx, a, client, requests, f.dryRun)

		return err
	})

	return outcome, err
}

// send sends all requests and adds their outcomes up.
func (p *program) send(ctx context.Context, a *letterAction, client relayv1.DeadLetterServiceClient, requests []*letterRequest, dryRun bool,
) (*letterOutcome, error) {
	sum := &letterOutcome{DeadLetterOutcome: new(relayv1.DeadLetterOutcome)}

	for i, request := range requests {
		request.dryRun = dryRun

		response, err := sendOne(ctx, a, client, request)
		if err != nil {
			if !dryRun {
				p.saySent(a, i, sum, err)
			}

			return nil, err
		}

		outcome := response.GetOutcome()
		if name := response.GetOperation(); name != "" {
			sum.operations = append(sum.operations, name)
		}

		sum.Matched += outcome.GetMatched()
		sum.Changed += outcome.GetChanged()
		sum.Refused += outcome.GetRefused()
		sum.Refusals = append(sum.Refusals, outcome.GetRefusals()...)
	}

	return sum, nil
}

// saySent tells, before an error, what was done or may have been all the same: the service does not end what it has begun.
func (p *program) saySent(a *letterAction, requests int, sum *letterOutcome, err error) {
	if requests > 0 {
		fmt.Fprintf(p.err, "%s: %d before the error\n", a.done, sum.GetChanged())
	}

	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown:
	default: // it was answered
		return
	}

	fmt.Fprintln(p.err, "what the service has begun goes on: relayctl audit shows it; the same command does the rest, and nothing twice")
}

func sendOne(ctx context.Context, a *letterAction, client relayv1.DeadLetterServiceClient, request *letterRequest) (letterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()

	return a.do(ctx, client, request)
}

func (p *program) printOutcome(a *letterAction, o *letterOutcome, dryRun bool) error {
	done := a.done
	if dryRun {
		done = "would be " + a.done
	}

	var err error
	if p.output == outputJSON {
		err = show.JSON(p.out, o.DeadLetterOutcome)
	} else {
		err = show.Outcome(p.out, o.DeadLetterOutcome, done)
	}

	if err != nil {
		return err
	}

	if len(o.operations) > 0 && o.GetChanged() > 0 && p.output != outputJSON && a.verb != "discard" {
		fmt.Fprintf(p.err, "next: relayctl dead-letters progress %s --wait\n", o.operations[0])
	}

	return judgeOutcome(o.DeadLetterOutcome)
}

// judgeOutcome turns what was left alone into an exit code. What is not dead any more needed nothing: an action may be
// repeated.
func judgeOutcome(o *relayv1.DeadLetterOutcome) error {
	var missing, left int

	for _, r := range o.GetRefusals() {
		switch r.GetReason() {
		case relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_DEAD:
		case relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_FOUND:
			missing++
		default:
			left++
		}
	}

	switch {
	case missing > 0:
		return &refusedError{what: fmt.Sprintf("names that no record has: %d", missing), next: "relayctl dead-letters list --state all shows the names"}
	case left > 0:
		return notFineError{}
	default:
		return nil
	}
}
