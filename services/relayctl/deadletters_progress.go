package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

const (
	// askAgain is how often the service is asked how far an operation is.
	askAgain = 500 * time.Millisecond
	// mostAbsent is how long a service may be away that is asked for progress: longer than its restart.
	mostAbsent = 2 * time.Minute
)

func (p *program) letterProgress() *cobra.Command {
	var (
		q    question
		wait bool
	)

	cmd := &cobra.Command{
		Use:   "progress OPERATION",
		Short: "Tell how far a replay, refetch or discard is, and what failed again",
		Long: "Tell how far a replay, refetch or discard is, and what failed again. That is read from the records, so it is right\n" +
			"whatever was restarted meanwhile, and can be asked for ever.\n\n" +
			"Exit code 0: nothing failed again. 1: some did, or were left as they are, or it ended early. 2: there is no such operation.",
		Example: "  relayctl audit                                      the operations of a flow: -o json has their names\n" +
			"  relayctl dead-letters progress \"$OPERATION\" --wait\n" +
			"  relayctl dead-letters list --operation \"$OPERATION\"  all of its records that failed again",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			operations, err := p.operations(cmd.Context(), &q, args, wait)
			if err != nil {
				return err
			}

			return p.printOperations(operations)
		},
	}

	p.addQuestionFlags(cmd, &q)
	cmd.Flags().BoolVar(&wait, "wait", false, "until nothing of it is under way any more")

	return cmd
}

// waitFor follows the operations of an action to their end, and prints what became of them.
func (p *program) waitFor(ctx context.Context, q *question, a *letterAction, did *letterOutcome) error {
	if p.output != outputJSON {
		if err := show.Outcome(p.out, did.DeadLetterOutcome, a.done); err != nil {
			return err
		}
	}

	operations, err := p.operations(ctx, q, did.operations, true)
	if err != nil {
		return err
	}

	err = p.printOperations(operations)

	return cmp.Or(judgeOutcome(did.DeadLetterOutcome), err)
}

// operations asks for operations, with wait until all of them are done, and shows meanwhile how far they are.
func (p *program) operations(ctx context.Context, q *question, names []string, wait bool) ([]*relayv1.DeadLetterOperation, error) {
	progress := show.NewOperationProgress(p.err, p.isDrawable(p.err))
	defer progress.Clear()

	away := time.Time{} // since when the service cannot be reached

	for {
		operations, err := askOperations(ctx, q, names)

		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("interrupted; it goes on: relayctl dead-letters progress %s --wait", names[0])
		case err == nil:
			away = time.Time{}

			if !wait || show.Done(operations) {
				return operations, nil
			}

			progress.Show(operations)
		case !wait || !errors.As(err, new(*unreachableError)) || !away.IsZero() && time.Since(away) > mostAbsent:
			return nil, err
		case away.IsZero():
			away = time.Now()

			progress.Say("the stats service is away; it goes on all the same, asking again")
		}

		timer := time.NewTimer(askAgain)

		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func askOperations(ctx context.Context, q *question, names []string) (operations []*relayv1.DeadLetterOperation, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	err = withLetters(q, func(client relayv1.DeadLetterServiceClient) error {
		for _, name := range names {
			got, err := client.GetDeadLetterOperation(ctx, &relayv1.GetDeadLetterOperationRequest{Flow: q.flow, Name: name})
			if err != nil {
				return err
			}

			operations = append(operations, got.GetOperation())
		}

		return nil
	})

	return operations, err
}

// printOperations prints what became of operations; as JSON one object each.
func (p *program) printOperations(operations []*relayv1.DeadLetterOperation) error {
	bad := false

	for _, o := range operations {
		var err error
		if p.output == outputJSON {
			err = show.JSON(p.out, o)
		} else {
			err = show.Operation(p.out, o)
		}

		if err != nil {
			return err
		}

		bad = bad || o.GetFailedAgain() > 0 || o.GetFailedBecause() != "" || errors.As(judgeOutcome(o.GetOutcome()), new(notFineError))
	}

	if bad {
		return notFineError{}
	}

	return nil
}
