package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// Limits of waiting for servers.
const (
	requestTimeout = 10 * time.Second
	firstBackoff   = 100 * time.Millisecond
	maxBackoff     = time.Second // "resumes within 2 s of the server's return"
)

// acquiring bounds the partitions that are acquired at the same time.
const acquiring = 8

// Observer is told what was applied, for metrics. Its methods are called by
// several goroutines.
type Observer interface {
	// Batch is a committed batch and how long it took, waiting for the target
	// included.
	Batch(took time.Duration, plan *apply.Plan)
	// Event is an event of a committed batch, by its last message.
	Event(m *event.Message)
}

// Options of an Owner.
type Options struct {
	Flow         string
	Identity     Identity
	LeaseTTL     time.Duration // after which the partitions of a processor that is gone are taken over
	Limits       batch.Limits
	Concurrency  int   // batches of all partitions applied at the same time
	MemoryBudget int64 // bytes of events from delivery to commit, all partitions
	Apply        apply.Options
	Park         park.Policy
	Refetch      fetcher       // nil: nobody can be asked
	Schema       executor      // of schema changes
	Tracer       trace.Tracer  // of the end of the events' traces
	Clock        retry.Clock   // zero: that of this machine
	InitPoll     time.Duration // how often to look for a stream that flow init has not made yet
}

// Owner owns the partitions of a flow that are this processor's share. Make it
// with New, run it once.
type Owner struct {
	options Options
	target  *mongo.Client
	store   Store
	nc      *nats.Conn
	js      jetstream.JetStream
	leases  *lease.Bucket
	observe Observer
	log     *slog.Logger

	limits batch.Limits
	slots  *semaphore.Weighted
	gate   *semaphore.Weighted // partitions being acquired
	images *semaphore.Weighted // documents of the source in memory

	markers  *markers
	crossing *crossing
	pausing  *pausing

	suspects apply.Suspects // of all partitions

	atLeastOnce atomic.Bool

	// Set by Run before any partition exists.
	applyTo *apply.Target
	stream  *topology.Stream
	budget  *consume.Budget
	spare   *consume.Budget // of tries; see divideMemory

	mu         sync.Mutex
	partitions []*partition // all of the flow; written by Run, read by Status
	shown      []bool       // by partition: it is this processor's affair; written by sharing
	reason     string       // why this processor takes no part
	warned     map[kindOfEvent]struct{}
}

type kindOfEvent struct {
	ns event.Namespace
	op event.Operation
}

// New returns an owner that has nothing yet.
func New(target *mongo.Client, nc *nats.Conn, js jetstream.JetStream, observe Observer, log *slog.Logger, options Options) *Owner {
	return &Owner{
		options: options,
		target:  target,
		store:   StoreOf(target),
		nc:      nc,
		js:      js,
		leases:  lease.NewBucket(js, topology.OwnersBucket),
		observe: observe,
		log:     log,
		limits:  options.Limits,
		slots:   semaphore.NewWeighted(int64(options.Concurrency)),
		gate:    semaphore.NewWeighted(acquiring),
		images:  semaphore.NewWeighted(imagesAtOnce),
		markers: newMarkers(),
		reason:  "connecting",
		warned:  map[kindOfEvent]struct{}{},

		crossing: newCrossing(),
		pausing:  newPausing(),
	}
}

// Status returns the partitions that this processor has or should have: none
// where there are more processors than partitions. reason says why it takes no
// part at present. Safe for concurrent use.
func (o *Owner) Status() (partitions []Status, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()

	for i, p := range o.partitions {
		if o.shown[i] {
			partitions = append(partitions, p.board.read())
		}
	}

	return partitions, o.reason
}

// AtLeastOnce tells that the target has no transactions, so that changes may be
// applied more than once. Safe for concurrent use; false before the target is
// known.
func (o *Owner) AtLeastOnce() bool { return o.atLeastOnce.Load() }

// Run owns this processor's share of the partitions until stop ends; work bounds
// what is in flight then. It returns a *RefusedError for a target that refuses
// the credentials, else nil.
func (o *Owner) Run(stop, work context.Context) error {
	hello, err := o.awaitTarget(stop)
	if err != nil {
		return err
	}

	o.options.Apply.ClientBulkWrite = hello.HasClientBulkWrite()
	o.options.Apply.NoTransactions = hello.Topology == mongodb.Standalone
	o.atLeastOnce.Store(o.options.Apply.NoTransactions)
	o.applyTo = apply.New(o.target, o.options.Apply)

	for stop.Err() == nil {
		o.stream = nil
		o.openStream(stop)

		if o.stream == nil {
			return nil
		}

		o.ownStream(stop, work)
	}

	return nil
}

func (o *Owner) now() time.Time { return o.options.Clock.Time() }

// ownStream works on this processor's share of the stream's partitions until stop ends,
// or until another stream was made in its place.
func (o *Owner) ownStream(stop, work context.Context) {
	o.divideMemory(consume.Remainder(o.options.MemoryBudget, o.stream.Partitions, o.pullBytes()))
	o.markers = newMarkers()

	partitions := make([]*partition, o.stream.Partitions)
	for i := range partitions {
		partitions[i] = &partition{Owner: o, number: i, owner: rand.Int64()} //nolint:gosec // it tells owners apart
		partitions[i].board.status = Status{Partition: i, State: Acquiring, Since: o.now()}
	}

	o.mu.Lock()
	o.partitions, o.shown, o.reason = partitions, make([]bool, len(partitions)), "looking who else takes part"
	o.mu.Unlock()

	stop, end := context.WithCancel(stop)
	defer end()

	var following sync.WaitGroup

	following.Go(func() { o.followMarkers(stop) })
	following.Go(func() { o.followBarriers(stop) })
	following.Go(func() { o.followPause(stop) })
	following.Go(func() {
		if o.awaitReplacement(stop) {
			end()
		}
	})
	o.share(stop, work)
	end()
	following.Wait()
}

// pullBytes is asked by every ownership anew: the server that the connection came back to may allow larger messages, which
// the listener sends from then on. The budget stays as it was made.
func (o *Owner) pullBytes() int {
	return consume.PullBytes(o.options.MemoryBudget, o.stream.Partitions, o.nc.MaxPayload())
}

// errNoStreamButCheckpoints says that the flow was replicated before and its
// stream is gone.
var errNoStreamButCheckpoints = errors.New("the target holds checkpoints of the flow, but the flow has no stream")

// openStream waits for the flow's stream until stop ends, and says why it has
// to.
func (o *Owner) openStream(stop context.Context) {
	for stop.Err() == nil {
		err := o.tryOpen(stop)
		if err == nil {
			return
		}

		o.wait(stop, err, o.options.InitPoll)
	}
}

func (o *Owner) tryOpen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	stream, err := topology.Open(ctx, o.js, o.options.Flow)

	if err != nil && !errors.Is(err, topology.ErrNoStream) {
		return err
	}

	held, readErr := o.store.Checkpoints(ctx, o.options.Flow)
	if readErr != nil {
		return readErr
	}

	// Nothing is written before it is known that it may be.
	if readErr := o.lookForPause(ctx); readErr != nil {
		return readErr
	}

	switch {
	case err != nil && len(held) > 0:
		return fmt.Errorf("%w: %w", errNoStreamButCheckpoints, err)
	case err != nil:
		return err
	}

	for number := range held {
		if number >= stream.Partitions {
			return fmt.Errorf("%w: there is one of partition %d, the stream has %d", ErrOtherPartitions, number, stream.Partitions)
		}
	}

	if _, err := stream.At(ctx, 1); errors.Is(err, topology.ErrNoMessage) && len(held) == 0 {
		return fmt.Errorf("%w: flow init has not finished", err)
	}

	o.stream = stream

	return nil
}

// warn logs the first unsupported event of a kind in a namespace.
func (o *Owner) warn(ctx context.Context, ns event.Namespace, op event.Operation) {
	o.mu.Lock()
	kind := kindOfEvent{ns: ns, op: op}
	_, known := o.warned[kind]
	o.warned[kind] = struct{}{}
	o.mu.Unlock()

	if !known {
		o.log.WarnContext(ctx, "event not applied: this version cannot",
			slog.String(telemetry.KeyNamespace, ns.String()), slog.String(telemetry.KeyOperation, string(op)))
	}
}

// explain is an error with its remedy, for a person.
func explain(err error) string {
	remedy := mongodb.Explain(err)

	switch {
	case errors.Is(err, errNoStreamButCheckpoints), errors.Is(err, errStreamGone), errors.Is(err, ErrOtherStream), errors.Is(err, ErrStreamWentBack),
		errors.Is(err, ErrNoFirstMessage):
		remedy = "restore the stream from a backup; or record the gap with relayctl flow accept-gap after the data was copied again; or copy the data again and start over with relayctl flow delete and relayctl flow init"
	case errors.Is(err, errGapUnfinished):
		remedy = "run relayctl flow accept-gap again: it finishes the gap, or takes it back"
	case errors.Is(err, consume.ErrForeign):
		remedy = "somebody else writes to the flow's subjects: find out who and forbid it; then restore the stream from a backup, " +
			"or copy the data again and start over with relayctl flow delete and relayctl flow init"
	case errors.Is(err, consume.ErrHole):
		remedy = "nothing, if it passes: the listener publishes everything behind the lowest checkpoint again; if it says HISTORY_LOST, do what it says"
	case errors.Is(err, ErrPurged):
		remedy = "restore the target from a newer backup, or copy the data again and start over with relayctl flow delete and relayctl flow init"
	case errors.Is(err, topology.ErrNoBucket):
		remedy = "make it again with relayctl flow init"
	case errors.Is(err, topology.ErrConfigDiffers):
		remedy = "undo the change; a bucket is made again by relayctl flow init after it was deleted"
	case errors.Is(err, ErrOtherPartitions), errors.Is(err, ErrMisfiled), errors.Is(err, apply.ErrForeignCheckpoint):
		remedy = "copy the data again and start over with relayctl flow delete and relayctl flow init"
	case errors.Is(err, topology.ErrNoStream), errors.Is(err, topology.ErrNoMessage):
		remedy = "make the stream with relayctl flow init"
	case errors.Is(err, event.ErrMalformed):
		remedy = "somebody else writes to the flow's subjects, or a newer listener does: find out who and forbid it, or update the processor"
	case errors.Is(err, apply.ErrStale):
		remedy = "nothing, if it passes; see that all processors of the flow use the same NATS"
	case errors.Is(err, parked.ErrRecords), errors.Is(err, apply.ErrRecords):
		remedy = "put the records of atlas_relay.parked back as they were, from a backup of the target, then restart the processor; without one copy the data again and start over with relayctl flow delete and relayctl flow init"
	}

	if remedy == "" {
		return err.Error()
	}

	return err.Error() + "; " + remedy
}
