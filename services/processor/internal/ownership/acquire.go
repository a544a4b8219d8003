package ownership

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// What stops an acquisition for good.
var (
	// ErrOtherStream says that the checkpoint belongs to another stream than
	// the one that the flow has now.
	ErrOtherStream = errors.New("the checkpoint belongs to another stream")
	// ErrStreamWentBack says that the stream does not hold the message that the
	// checkpoint names, or another one in its place.
	ErrStreamWentBack = errors.New("the stream is not the one that the checkpoint was made from")
	// ErrOtherPartitions says that the checkpoints were made for another
	// number of partitions.
	ErrOtherPartitions = errors.New("the checkpoints were made for another number of partitions")
	// ErrNoFirstMessage says that a checkpoint cannot be made because the
	// stream no longer has message 1.
	ErrNoFirstMessage = errors.New("the partition has no checkpoint and the stream no longer has message 1")
)

// errLostRace says that another processor acquired the partition in between.
var errLostRace = errors.New("another processor acquired the partition in between")

// nextEpoch returns the number of a new ownership. A target restored from a
// backup must not bring an old epoch back to life, so the epochs of the
// stream's consumers count too.
func nextEpoch(held int64, consumers []uint64) int64 {
	epoch := held

	for _, c := range consumers {
		if c <= math.MaxInt64 {
			epoch = max(epoch, int64(c))
		}
	}

	return epoch + 1
}

// claim is what an owner wants and what it knows.
type claim struct {
	partition int
	owner     int64                // the number that this owner signs with
	session   bson.Binary          // the one that its transactions will run in
	consumers []uint64             // epochs of the partition's consumers
	last      *checkpoint.Document // as this owner left it; nil before it has owned the partition
}

// check compares the checkpoint with what this owner left there. An owner that
// lost its partition while it was not looking must not take it back.
func (c *claim) check(held *checkpoint.Document, present bool) error {
	switch {
	case c.last == nil:
		return nil
	case !present || held.Epoch < c.last.Epoch || held.Owner == c.owner && held.Commits < c.last.Commits:
		return fmt.Errorf("%w: checkpoint %s", apply.ErrWentBack, c.last.ID)
	case held.Owner != c.owner:
		return fmt.Errorf("%w: checkpoint %s", apply.ErrStale, c.last.ID)
	default:
		return nil
	}
}

// acquire raises the epoch in the partition's checkpoint and returns it as it
// is now. One that has none gets it from message 1. Errors: apply.ErrStale,
// apply.ErrWentBack, those above, else trouble of target or NATS.
func acquire(ctx context.Context, target *mongo.Client, stream *topology.Stream, c claim) (checkpoint.Document, error) {
	held, present, err := checkpoint.LoadOne(ctx, target, stream.Flow(), c.partition)
	if err != nil {
		return checkpoint.Document{}, err
	}

	if err := c.check(&held, present); err != nil {
		return checkpoint.Document{}, err
	}

	if !present {
		held, err = first(ctx, stream, c.partition)
		if err != nil {
			return checkpoint.Document{}, err
		}
	}

	if held.StreamID != stream.StreamID {
		return checkpoint.Document{}, fmt.Errorf("%w: checkpoint %s names %s, stream %s is %s",
			ErrOtherStream, held.ID, held.StreamID, stream.Name(), stream.StreamID)
	}

	if err := compare(ctx, stream, &held.Place); err != nil {
		return checkpoint.Document{}, err
	}

	owned := held
	owned.Epoch, owned.Owner, owned.Session = nextEpoch(held.Epoch, c.consumers), c.owner, c.session

	// Where this is not allowed, the next statement has to wait.
	_ = apply.EndTransactions(ctx, target, held.Session)

	if !present {
		_, err = checkpoint.Checkpoints(target).InsertOne(ctx, owned)
		if mongodb.IsDuplicateKey(err) {
			err = errLostRace
		}
	} else {
		err = raise(ctx, target, &held, &owned)
	}

	if err != nil {
		return checkpoint.Document{}, fmt.Errorf("acquire partition %d: %w", c.partition, err)
	}

	return owned, nil
}

func raise(ctx context.Context, target *mongo.Client, held, owned *checkpoint.Document) error {
	result, err := checkpoint.Checkpoints(target).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: held.ID}, {Key: "epoch", Value: held.Epoch}, {Key: "owner", Value: held.Owner}, {Key: "commits", Value: held.Commits}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: owned.Epoch}, {Key: "owner", Value: owned.Owner}, {Key: "session", Value: owned.Session}}}})
	if err != nil {
		return err
	}

	if result.MatchedCount == 0 {
		return errLostRace
	}

	return nil
}

// first is the checkpoint before any event: message 1.
func first(ctx context.Context, stream *topology.Stream, partition int) (checkpoint.Document, error) {
	m, err := stream.At(ctx, 1)
	if errors.Is(err, topology.ErrNoMessage) {
		return checkpoint.Document{}, fmt.Errorf("%w: partition %d", ErrNoFirstMessage, partition)
	}

	if err != nil {
		return checkpoint.Document{}, err
	}

	return checkpoint.Document{
		ID:        checkpoint.ID(stream.Flow(), partition),
		Flow:      stream.Flow(),
		Partition: partition,
		Place:     checkpoint.PlaceOf(&m.Message, m.Sequence),
	}, nil
}

// compare makes sure that the stream still holds the message of the checkpoint
// at its sequence, or has purged it from its head.
func compare(ctx context.Context, stream *topology.Stream, place *checkpoint.Place) error {
	m, err := stream.At(ctx, place.StreamSequence())

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		state, _, stateErr := stream.State(ctx)
		if stateErr != nil {
			return stateErr
		}

		if place.StreamSequence() < state.FirstSeq {
			return nil // purged: normal
		}

		return fmt.Errorf("%w: it has no message %d, its messages are %d to %d", ErrStreamWentBack, place.Sequence, state.FirstSeq, state.LastSeq)
	case err != nil:
		return err
	case !place.Names(&m.Message):
		return fmt.Errorf("%w: message %d is event %d at %s, the checkpoint says event %d at %s",
			ErrStreamWentBack, place.Sequence, m.Event, m.Position, place.Event, place.Position)
	default:
		return nil
	}
}

// isTerminal tells whether an error of acquire stays until an operator acts.
func isTerminal(err error) bool {
	return errors.Is(err, ErrOtherStream) || errors.Is(err, ErrStreamWentBack) ||
		errors.Is(err, ErrOtherPartitions) || errors.Is(err, ErrNoFirstMessage) ||
		errors.Is(err, topology.ErrNoStream) || errors.Is(err, jetstream.ErrStreamNotFound)
}
