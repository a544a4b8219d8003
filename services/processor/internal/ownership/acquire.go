package ownership

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
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
	// ErrPurged says that the stream no longer has what follows the checkpoint.
	ErrPurged = errors.New("the stream no longer has the events that follow the checkpoint")
	// ErrMisfiled says that the checkpoint's document is not of the flow and
	// partition that its _id names.
	ErrMisfiled = errors.New("the checkpoint was made for another flow or partition")
)

// ErrLostRace says that another processor acquired the partition in between.
var ErrLostRace = errors.New("another processor acquired the partition in between")

// nextEpoch returns the number of a new ownership. A target restored from a
// backup must not bring an old epoch back to life, so everything that has
// numbered an ownership counts: the checkpoint, the lease (whose revision only
// grows while its bucket lives), the stream's consumers, and what this processor
// itself has had.
func (c *claim) nextEpoch(held int64) int64 {
	epoch := held
	if c.last != nil {
		epoch = max(epoch, c.last.Epoch)
	}

	for _, c := range append([]uint64{c.lease}, c.consumers...) {
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
	lease     uint64               // revision of the lease that it is claimed under
	consumers []uint64             // epochs of the partition's consumers
	last      *checkpoint.Document // as this owner left it; nil before it has owned the partition
	mine      bool                 // last was acquired under the same lease
}

// wentBack tells whether the target has lost what this owner committed: it was
// restored from a backup, or did not keep what it acknowledged.
func (c *claim) wentBack(held *checkpoint.Document, present bool) bool {
	return c.last != nil && (!present || held.Epoch < c.last.Epoch || held.Owner == c.owner && held.Commits < c.last.Commits)
}

// isStale tells whether another owner has taken the partition although this one
// has its lease. It must not take it back while it was not looking: the lease is
// worth nothing any more.
func (c *claim) isStale(held *checkpoint.Document) bool {
	return c.last != nil && c.mine && held.Owner != c.owner
}

// acquire raises the epoch in the partition's checkpoint and returns it as it
// is now. One that has none gets it from message 1, one of a stream that this one
// replaces is moved there. back says that the target
// went back since this owner last committed: the checkpoint is an older one, and
// what follows it is applied again. Errors: apply.ErrStale, those above, else
// trouble of target or NATS.
func acquire(ctx context.Context, target Store, stream *topology.Stream, c claim) (owned checkpoint.Document, back bool, err error) {
	held, present, err := target.Checkpoint(ctx, stream.Flow(), c.partition)
	if err == nil {
		err = failpoint.Error(failpoint.CheckpointRead)
	}

	if err != nil {
		return checkpoint.Document{}, false, err
	}

	back = c.wentBack(&held, present)
	if !back && c.isStale(&held) {
		return checkpoint.Document{}, false, fmt.Errorf("%w: checkpoint %s", apply.ErrStale, c.last.ID)
	}

	if !present {
		held, err = first(ctx, stream, &c)
		if err != nil {
			return checkpoint.Document{}, back, err
		}
	}

	if err := check(stream, &held, c.partition); err != nil {
		return checkpoint.Document{}, back, err
	}

	owned = held

	moved, err := rebase(ctx, stream, &owned)
	if err == nil {
		err = checkStream(stream, &owned)
	}

	if err != nil {
		return checkpoint.Document{}, back, err
	}

	owned.Epoch, owned.Owner, owned.Session = c.nextEpoch(held.Epoch), c.owner, c.session

	if err := target.RememberSession(ctx, stream.Flow(), c.partition, c.session); err != nil {
		return checkpoint.Document{}, back, err
	}

	// Where this is not allowed, the next statement has to wait.
	_ = target.EndTransactions(ctx, held.Session)

	if err := failpoint.Error(failpoint.SessionEnded); err != nil {
		return checkpoint.Document{}, back, err
	}

	if !present {
		err = target.Insert(ctx, &owned)
	} else {
		err = target.Raise(ctx, &held, &owned, moved)
	}

	if err == nil {
		err = failpoint.Error(failpoint.EpochRaised)
	}

	if err != nil {
		return checkpoint.Document{}, back, fmt.Errorf("acquire partition %d: %w", c.partition, err)
	}

	return owned, back, nil
}

// isTerminal tells whether an error of acquire stays until an operator acts.
func isTerminal(err error) bool {
	return errors.Is(err, ErrOtherStream) || errors.Is(err, ErrStreamWentBack) ||
		errors.Is(err, ErrOtherPartitions) || errors.Is(err, ErrNoFirstMessage) ||
		errors.Is(err, ErrPurged) || errors.Is(err, ErrMisfiled) ||
		errors.Is(err, topology.ErrNoStream) || errors.Is(err, jetstream.ErrStreamNotFound)
}
