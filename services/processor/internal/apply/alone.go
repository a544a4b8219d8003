package apply

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// commitAlone is Commit on a target without transactions, and into capped collections, which no transaction can write.
//
//	read the checkpoint      not as this owner left it: judge, write nothing
//	intents                  records of the events that are parked, which nobody sees yet
//	writes of the batch      in order; as often as it takes
//	checkpoint, guarded      one document: the batch counts from here, once; it names what is still owed
//	what is owed             intents become records, records that ended are deleted
//
// A crash between any two of them leaves a checkpoint that has not moved, and the batch is applied again from its
// beginning (at least once); or one that has moved, and the next owner pays what it owes (see Recover). So counters and
// records are exact. Documents end as they should because each one's changes are applied again in order up to the last:
// what a change of then does to a document of now is undone by those that follow it. A delta that the document of now
// refuses is answered by the source's document.
//
// Two things are weaker than in a transaction. Readers of the target see a document go back to an earlier version and
// forward again. And a write of an owner that has lost its lease, which the server got before the lease ended and runs
// after the next owner has begun, is not undone: reading the checkpoint first, the lease's deadline on every write and
// killing the session's operations at the next acquisition leave it milliseconds, but not none.
func (a *Applier) commitAlone(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()

	within := mongo.NewSessionContext(ctx, a.session)

	err := plan.allowed(within)
	if err == nil {
		err = a.steps(within, plan, last, next)
	}

	// The server may still be busy with what was sent: only a new ownership, which ends that, may send it again.
	a.spent = mongo.IsNetworkError(err) || mongo.IsTimeout(err)

	return err
}

func (a *Applier) steps(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	ledger, err := newLedger(last.Flow, plan)
	if err != nil {
		return err
	}

	next.Owed = ledger.owed

	committed, err := a.standing(ctx, last, next)
	if err != nil {
		return err
	}

	if !committed {
		if err := ledger.announce(ctx, a.client); err != nil {
			return err
		}

		if err := failpoint.Error(failpoint.IntentsWritten); err != nil {
			return err
		}

		if err := a.writeAlone(ctx, plan); err != nil {
			return err
		}

		if err := failpoint.Error(failpoint.WrittenAlone); err != nil {
			return err
		}

		if err := a.move(ctx, last, next); err != nil {
			return err
		}
	}

	if err := failpoint.Error(failpoint.DebtsOwed); err != nil {
		return err
	}

	return pay(ctx, a.client, next.Owed)
}

// standing tells whether the target has the batch already; it returns an error unless it has, or the checkpoint is as
// this owner left it.
func (a *Applier) standing(ctx context.Context, last, next *checkpoint.Document) (committed bool, err error) {
	verdict, err := judge(ctx, a, last, next)
	if err != nil {
		return false, err
	}

	if verdict == NotCommitted {
		return false, nil
	}

	return verdict == Committed, verdict.err(last)
}

// move makes the batch count. The target has written it to its journal when this returns, and with it all that was
// written before: on a single server "majority" alone promises less.
func (a *Applier) move(ctx context.Context, last, next *checkpoint.Document) error {
	journal := true
	checkpoints := a.client.Database(checkpoint.Database).Collection(checkpoint.Collection,
		options.Collection().SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: &journal}))

	result, err := checkpoints.UpdateOne(ctx, guard(last), advance(last, next))
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}

	if result.MatchedCount == 1 {
		return nil
	}

	if committed, err := a.standing(ctx, last, next); err != nil || committed {
		return err
	}

	return errGuard
}

// writeAlone writes the data. On a refusal the writes before it stay.
func (a *Applier) writeAlone(ctx context.Context, plan *Plan) error {
	var (
		matched int64
		err     error
	)

	if a.options.ClientBulkWrite && len(plan.writes) > 0 {
		models := make([]mongo.ClientBulkWrite, len(plan.writes))
		for i := range plan.writes {
			w := &plan.writes[i]
			models[i] = mongo.ClientBulkWrite{Database: w.ns.DB, Collection: w.ns.Coll, Model: w.clientModel()}
		}

		if matched, err = a.sendBulk(ctx, models); err != nil {
			return bulkWriteError(plan.writes, 0, 0, err)
		}
	} else if matched, err = a.writeGroups(ctx, plan.writes); err != nil {
		return err
	}

	return a.countedAlone(ctx, plan, matched)
}

// countedAlone is counted, where the guard comes later. A document that was missing and is there now was written by
// somebody else: the same again.
func (a *Applier) countedAlone(ctx context.Context, plan *Plan, matched int64) error {
	want := plan.addressed()
	if matched == want {
		return nil
	}

	missing, err := a.missing(ctx, plan)

	switch {
	case err != nil:
		return err
	case missing != nil:
		return newEventError(missing, ErrMissingDocument)
	default:
		return fmt.Errorf("write batch: %d documents matched, %d were addressed", matched, want)
	}
}

// isOnlyDuplicates tells whether nothing but existing keys was refused.
func isOnlyDuplicates(err error) bool {
	failed, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || failed.WriteConcernError != nil || len(failed.WriteErrors) == 0 {
		return false
	}

	for i := range failed.WriteErrors {
		if !mongodb.IsDuplicateKey(failed.WriteErrors[i]) {
			return false
		}
	}

	return true
}

// later is the filter of a count that an event raises once, however often it comes.
func later(filter bson.D, than event.Position) bson.D {
	return append(filter, bson.E{Key: "last", Value: bson.D{{Key: "$lt", Value: than}}})
}
