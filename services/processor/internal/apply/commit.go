package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// ErrInDoubt marks an error after which only the checkpoint tells what happened;
// errGuard that the transaction's guard matched nothing.
var (
	ErrInDoubt = errors.New("outcome to be read from the checkpoint")
	errGuard   = fmt.Errorf("%w: the checkpoint's guard matched nothing", ErrInDoubt)
)

// Transactions is what Commit asks of a target: *Applier, or a model of one.
type Transactions interface {
	// Transaction runs the plan once, and moves the checkpoint from last to next in
	// the same transaction. Errors: ErrInDoubt, ErrRecords, *EventError, else trouble
	// of the target, after which nothing was done.
	Transaction(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error
	// Checkpoint reads what the target holds (majority); present is false when it
	// has none.
	Checkpoint(ctx context.Context, flow string, partition int) (held checkpoint.Document, present bool, err error)
	// Settled says that a transaction in doubt was committed.
	Settled(ctx context.Context)
}

// Commit makes one transaction of the plan, and finds out what became of it.
// Errors as of Applier.Commit.
func Commit(ctx context.Context, t Transactions, plan *Plan, last, next *checkpoint.Document) error {
	err := t.Transaction(ctx, plan, last, next)
	if !errors.Is(err, ErrInDoubt) {
		return err
	}

	verdict, readErr := judge(ctx, t, last, next)
	if readErr != nil {
		return fmt.Errorf("%w (after %w)", readErr, err)
	}

	switch verdict {
	case Committed:
		t.Settled(ctx)

		return nil
	case NotCommitted:
		return err // it did not happen: to be repeated
	default:
		return verdict.err(last)
	}
}

func judge(ctx context.Context, t Transactions, last, next *checkpoint.Document) (Verdict, error) {
	held, present, err := t.Checkpoint(ctx, last.Flow, last.Partition)
	if err != nil {
		return Unknown, err
	}

	return Judge(held, present, last, next), nil
}
