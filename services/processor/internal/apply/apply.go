package apply

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// Deadlines of the calls to the target. A call that outlives its deadline is
// trouble of the target, whose outcome the checkpoint then decides.
const (
	transactionTimeout = 60 * time.Second
	commitTimeout      = 20 * time.Second // within the transaction's
	abortTimeout       = 2 * time.Second
	requestTimeout     = 10 * time.Second
)

// Errors of Commit that end an ownership or wait for the target; every other
// one is an *EventError or names trouble of the target.
var (
	// ErrStale says that another owner has taken the partition.
	ErrStale = errors.New("another processor owns the partition")
	// ErrWentBack says that the target has lost commits: it was restored from
	// a backup, or acknowledged what it did not keep.
	ErrWentBack = errors.New("the target went back behind its checkpoint")
	// ErrForeignCheckpoint says that the checkpoint is neither as this owner
	// left it nor explained by another owner: somebody edited it.
	ErrForeignCheckpoint = errors.New("the checkpoint was changed by somebody else")
	// ErrMissingDocument says that an update found no document on the target.
	ErrMissingDocument = errors.New("the document is missing on the target")
	// ErrRecords says that a record of the relay's own is not as the owner knows
	// it: an operator asked for something, or somebody edited it. Read them again.
	ErrRecords = errors.New("a parked record is not as this owner left it")
)

// Options of an Applier.
type Options struct {
	BypassValidation bool // documents that the source accepted need not pass the target's validators
	ClientBulkWrite  bool // the target has the command bulkWrite (MongoDB 8.0)
	NoTransactions   bool // the target has none: batches are applied at least once, see commitAlone
}

// Target is a deployment that batches are applied to. Safe for concurrent use.
type Target struct {
	client   *mongo.Client
	options  Options
	ensured  ensured
	noBypass atomic.Bool // its commands know no bypassEmptyTsReplacement
}

// New returns a target. It starts nothing.
func New(client *mongo.Client, options Options) *Target {
	return &Target{client: client, options: options}
}

// Applier commits the batches of one partition. Not for concurrent use.
type Applier struct {
	*Target

	session *mongo.Session
	spent   bool // the server may hold an open transaction of the session
}

// Spent tells that a transaction may have been left open on the server: the
// connection was lost in its middle. Acquiring the partition again ends it, and
// learns what became of it; until then its locks stand.
func (a *Applier) Spent() bool { return a.spent }

// In returns the applier of a partition, whose transactions all run in this
// session (see NewSession): whoever acquires the partition next can end one that
// was left open.
func (t *Target) In(session *mongo.Session) *Applier {
	return &Applier{Target: t, session: session}
}

// Commit applies the plan and moves the checkpoint from last to next, which has
// one commit more. It returns nil once both are in the target, also when it
// learns that only from the checkpoint. Errors: ErrStale, ErrWentBack,
// ErrForeignCheckpoint, ErrRecords, *EventError, else trouble of the target,
// after which the same call may be made again.
func (a *Applier) Commit(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	if err := a.ensured.collections(ctx, a.client, plan.Namespaces()); err != nil {
		return err
	}

	bypasses := !a.noBypass.Load()

	err := a.attempt(ctx, plan, last, next)
	if bypasses && mongodb.IsUnknownField(err) {
		// Waiting does not teach it the field. The target sets empty timestamps to its clock from here on, which doctor tells.
		a.noBypass.Store(true)

		return a.attempt(ctx, plan, last, next)
	}

	return err
}

func (a *Applier) attempt(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	if a.options.NoTransactions || plan.alone {
		return a.commitAlone(ctx, plan, last, next)
	}

	next.Owed = nil

	return Commit(ctx, a, plan, last, next)
}

// Checkpoint implements Transactions.
func (a *Applier) Checkpoint(ctx context.Context, flow string, partition int) (held checkpoint.Document, present bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	held, present, err = checkpoint.LoadOne(ctx, a.client, flow, partition)
	if err == nil {
		err = failpoint.Error(failpoint.InDoubt)
	}

	return held, present, err
}

// Settled implements Transactions. A commit that timed out leaves the driver's
// session within its transaction, where no next one can start. The server refuses
// to abort what has committed; only the session takes note.
func (a *Applier) Settled(ctx context.Context) {
	a.abort(ctx)
	a.spent = false
}

// Transaction implements Transactions. The driver's WithTransaction is not used: it
// does not see the labels of a failed client bulkWrite (driver 2.10), and the
// outcome has to be known, not assumed.
func (a *Applier) Transaction(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()

	// Without a read concern: the transaction reads nothing that it does not
	// guard, its commit is by majority (which makes what it has read
	// majority-committed too), and not every server takes a readConcern in a
	// bulkWrite that is the first statement.
	session := a.session

	err := session.StartTransaction(options.Transaction().
		SetReadConcern(&readconcern.ReadConcern{}).
		SetReadPreference(readpref.Primary()).
		SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		return fmt.Errorf("start transaction: %w", err)
	}

	within := mongo.NewSessionContext(ctx, session)

	if err = plan.allowed(within); err == nil {
		err = a.write(within, plan, last, next)
	}

	if err == nil {
		err = failpoint.Error(failpoint.WritesDone)
	}

	if err != nil {
		// The driver keeps the error of an abort to itself, so one that follows
		// an error of the network is taken for one that did not arrive.
		a.spent = mongo.IsNetworkError(err) || mongo.IsTimeout(err)
		a.abort(ctx)

		return err
	}

	return a.commit(ctx)
}

// abort ends a transaction that failed.
func (a *Applier) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()

	_ = a.session.AbortTransaction(ctx)
}

// commit commits. A commit of unknown result is safe to repeat, which the driver
// does until the deadline.
func (a *Applier) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()

	err := a.session.CommitTransaction(ctx)
	if err == nil {
		err = failpoint.Error(failpoint.CommitSent)
	}

	if err != nil {
		a.spent = true

		return fmt.Errorf("%w: commit: %w", ErrInDoubt, err)
	}

	return nil
}

// guard is the filter that only the checkpoint as this owner last committed it
// passes.
func guard(last *checkpoint.Document) bson.D {
	return bson.D{
		{Key: "_id", Value: last.ID},
		{Key: "epoch", Value: last.Epoch},
		{Key: "owner", Value: last.Owner},
		{Key: "place.sequence", Value: last.Sequence},
		{Key: "commits", Value: last.Commits},
	}
}

func advance(last, next *checkpoint.Document) bson.D {
	set := bson.D{
		{Key: "commits", Value: next.Commits},
		{Key: "place", Value: next.Place},
		{Key: "counters", Value: next.Counters},
		{Key: "parked", Value: next.Parked},
		{Key: "parked_bytes", Value: next.ParkedBytes},
	}

	// The debts of the commit before were paid; a target that had no transactions once may have them now.
	if len(last.Owed) > 0 || len(next.Owed) > 0 {
		set = append(set, bson.E{Key: "owed", Value: next.Owed})
	}

	return bson.D{{Key: "$set", Value: set}}
}
