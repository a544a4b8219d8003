package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// partition is one partition as this processor works on it, again and again:
// one lease after another, and within a lease one epoch after another.
type partition struct {
	*Owner

	number   int
	owner    int64 // random; signs every checkpoint of this process
	board    board
	draining atomic.Bool // told to give the partition back

	lease *lease.Lease // that the present work is done under
	term  uint64       // its revision

	// The transactions of an ownership run in one session, which the checkpoint
	// names by its id.
	session bson.Binary
	applier Applier

	// held is the checkpoint as this owner last committed it. Written by the
	// goroutine that applies; read by others only while none runs.
	held checkpoint.Document
	mine bool // held was acquired under the present lease
	// consumers are the epochs that had one before held was acquired.
	consumers []uint64

	// Of what the stream is known to lack; see rewind.go. Of the goroutine that runs.
	hole *consume.HoleError // met, and not healed by a higher generation yet
	seen uint64             // highest generation that a message was seen of

	// parked is what of the partition is set aside, passage what is known of schema changes; of the goroutine that
	// applies, too.
	parked  *park.Partition
	passage barrier.Passage
	wanted  *pause.Document // what a person wanted when it was looked last; parked goes by it
	// adopting is the position of a rename up to which other partitions may still hand over what they had parked; zero
	// when none can.
	adopting event.Position
}

// acquireLease makes this processor the one that may work on the partition. A
// drain does not break it off: a request under way may be stored all the same,
// and nobody would release the key.
func (p *partition) acquireLease(drain context.Context) (*lease.Lease, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(drain), bucketTimeout)
	defer cancel()

	ctx, forget := p.whileConnected(ctx)
	defer forget()

	return p.leases.Acquire(ctx, topology.PartitionKey(p.options.Flow, p.number), p.options.Identity.text(p.options.LeaseTTL), p.options.LeaseTTL)
}

// refused shows why the partition is not acquired yet.
func (p *partition) refused(err error) {
	if held, ok := errors.AsType[*lease.HeldError](err); ok {
		p.setState(Acquiring, fmt.Sprintf("its lease, key %s of bucket %s, is held by %s", held.Key, topology.OwnersBucket, held.Value))

		return
	}

	p.setState(Acquiring, explain(err))
}

// under works on the partition until drain ends or the lease does. No write goes
// to the target after the lease, nor after work. It returns nil after a drain,
// else why the partition was lost.
func (p *partition) under(drain, work context.Context, l *lease.Lease) error {
	stop, cancelStop := l.Context(drain)
	defer cancelStop()

	bounded, cancelWork := l.Context(work)
	defer cancelWork()

	keeping, cancelKeep := context.WithCancel(context.WithoutCancel(drain))
	kept := make(chan struct{})

	go func() {
		defer close(kept)

		_ = l.Keep(keeping, func(err error) { // its end is told by the contexts
			p.log.DebugContext(keeping, "lease not renewed", slog.Int(telemetry.KeyPartition, p.number), slog.Any(telemetry.KeyError, err))
		})
	}()

	failpoint.Pass(failpoint.LeaseHeld)

	p.lease, p.term, p.mine = l, l.Revision(), false
	err := p.run(stop, bounded)

	failpoint.Pass(failpoint.Drained)

	cancelKeep()
	<-kept

	if err == nil && drain.Err() == nil {
		err = l.Err()
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(drain), releaseTimeout)
	defer cancel()

	_ = l.Release(ctx) // it expires otherwise

	return err
}

// run owns the partition until stop ends; work bounds what is in flight then.
// It returns an error only when another processor has taken the partition.
func (p *partition) run(stop, work context.Context) error {
	for stop.Err() == nil {
		err := retry.Do(stop, retry.Policy{Initial: firstBackoff, Max: maxBackoff, OnRetry: p.pause, Clock: p.options.Clock}, func(ctx context.Context) error {
			return p.own(ctx, work)
		})

		switch {
		case errors.Is(err, apply.ErrStale):
			return err
		case stop.Err() != nil:
		case err != nil:
			p.fail(stop, err)
			<-stop.Done()
		}
	}

	return nil
}

func (p *partition) pause(f retry.Failure) {
	if !errors.Is(f.Err, consume.ErrReset) {
		p.setState(Paused, explain(f.Err))
	}
}

// fail is the end of this ownership until an operator acts.
func (p *partition) fail(ctx context.Context, err error) {
	reason := explain(err)
	p.setState(Failed, reason)
	p.log.ErrorContext(ctx, "partition stopped for good",
		slog.Int(telemetry.KeyPartition, p.number), slog.String(telemetry.KeyReason, reason))
}

// own acquires the partition's checkpoint, each time with a new epoch and a
// consumer of its own, and works on it until something is wrong. It returns nil
// after it has committed something, so that the next try comes without the
// backoff of earlier ones, unless no try would help.
func (p *partition) own(stop, work context.Context) error {
	// Listened to from before the consumer exists, so that no disconnect is
	// missed: deliveries may go into the dead connection.
	disconnected := p.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer p.nc.RemoveStatusListener(disconnected)

	session, err := apply.NewSession(p.target)
	if err != nil {
		return err
	}
	defer session.EndSession(work)

	p.session, p.applier = apply.SessionID(session), p.applyTo.In(session)

	consumer, began, err := p.begin(stop)
	if err != nil {
		return classify(err)
	}

	reader, err := consume.NewReader(consumer, &began.from, p.budget, p.pullBytes())
	if err != nil {
		return classify(err)
	}

	var tidy sync.WaitGroup

	older := p.consumers // all are: an epoch is higher than any that has one

	tidy.Go(func() { p.deleteConsumers(stop, older) })
	defer tidy.Wait()

	before := p.held.Commits
	err = newLane(p, reader, &began, disconnected).run(stop, work)

	return p.over(err, before, stop.Err() != nil)
}

// over judges why an ownership ended, which had so many commits when it began: an error says that no try would help, or
// that the next one has to wait.
func (p *partition) over(err error, before int64, stopping bool) error {
	err = classify(err)

	if p.learn(err) || !retry.IsPermanent(err) && (p.held.Commits > before || stopping) {
		return nil
	}

	return err
}

// classify marks what no waiting heals.
func classify(err error) error {
	var event *apply.EventError

	switch {
	case errors.Is(err, apply.ErrStale), errors.Is(err, apply.ErrForeignCheckpoint),
		errors.Is(err, apply.ErrRecords), errors.Is(err, parked.ErrRecords), errors.As(err, &event), consume.IsStreamTrouble(err), isTerminal(err):
		return retry.Permanent(err)
	default:
		return err
	}
}

// begin makes an ownership: its epoch in the checkpoint, then its consumer.
func (p *partition) begin(stop context.Context) (jetstream.Consumer, start, error) {
	ctx, cancel := p.whileConnected(stop)
	defer cancel()

	return p.beginWithin(ctx)
}

func (p *partition) beginWithin(ctx context.Context) (jetstream.Consumer, start, error) {
	if err := p.acquire(ctx); err != nil {
		return nil, start{}, err
	}

	if err := p.loadPassage(ctx); err != nil {
		return nil, start{}, err
	}

	if err := p.loadParked(ctx); err != nil {
		return nil, start{}, err
	}

	began, err := p.find(ctx)
	if err != nil {
		return nil, start{}, err
	}

	consumer, err := p.openConsumer(ctx, began.after)
	if err == nil {
		err = failpoint.Error(failpoint.ConsumerCreated)
	}

	return consumer, began, err
}

func (p *partition) acquire(ctx context.Context) error {
	if err := p.gate.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait to acquire: %w", err)
	}
	defer p.gate.Release(1)

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	if state := p.board.read().State; state != Paused && state != WaitingRewind {
		p.setState(Acquiring, "")
	}

	if err := p.sameStream(ctx); err != nil {
		return err
	}

	epochs, err := p.stream.ConsumerEpochs(ctx)
	if err != nil {
		return err
	}

	c := claim{
		partition: p.number, owner: p.owner, session: p.session, lease: p.term, consumers: epochs[p.number], mine: p.mine,
	}
	if p.held.Epoch > 0 {
		c.last = &p.held
	}

	owned, back, err := acquire(ctx, p.store, p.stream, c)
	if err != nil {
		return err
	}

	if back {
		p.log.WarnContext(ctx, "the target went back behind its checkpoint; what it lost is applied again",
			slog.Int(telemetry.KeyPartition, p.number), slog.Int64("from_commits", p.held.Commits), slog.Int64("to_commits", owned.Commits),
			slog.Int64(telemetry.KeyStreamSeq, owned.Sequence))
	}

	if p.hole != nil && owned.StreamGeneration() > p.held.StreamGeneration() {
		p.hole = nil // it was met before what another owner, or an accepted gap, has passed; a real one is met again
	}

	p.held, p.mine, p.consumers = owned, true, c.consumers
	p.board.update(func(s *Status) { s.Checkpoint = owned })

	return nil
}

// openConsumer makes the consumer of this ownership.
func (p *partition) openConsumer(ctx context.Context, after uint64) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	return p.stream.CreateConsumer(ctx, p.number, uint64(p.held.Epoch), after) //nolint:gosec // never negative
}

// deleteConsumers deletes those that acquire has found, of earlier epochs, which
// fences their owners' pulls and acks. The partition does not wait for it: the
// checkpoint has fenced them already. One that stays is left to the next owner.
func (p *partition) deleteConsumers(ctx context.Context, older []uint64) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	for _, epoch := range older {
		if err := p.stream.DeleteConsumer(ctx, topology.ConsumerName(p.number, epoch)); err != nil {
			p.log.DebugContext(ctx, "old consumer not deleted", slog.Int(telemetry.KeyPartition, p.number), slog.Any(telemetry.KeyError, err))
		}

		failpoint.Pass(failpoint.ConsumerDeleted)
	}
}

// reset forgets what the board showed of an ownership that is over.
func (p *partition) reset() {
	p.draining.Store(false)
	p.board.update(func(s *Status) { *s = Status{Partition: p.number, State: Acquiring, Since: p.now()} })
}

// setState changes the state and says so in the log. One that drains stays
// DRAINING, whatever its last batch does, until it has ended; one that would be
// applying is PAUSED while a person wants it so.
func (p *partition) setState(state State, reason string) {
	held := false

	if p.draining.Load() && state != Failed {
		state, reason = Draining, ""
	} else if now, _ := p.pausing.latest(); now.Pause != nil && state == Applying {
		state, reason, held = Paused, now.Pause.String(), true
	}

	before := p.board.read()
	if before.State == state && before.Reason == reason && before.Held == held {
		return
	}

	p.board.update(func(s *Status) {
		// A reason may tell how often something was tried; that begins no new state.
		if s.State != state || s.Held != held {
			s.Since = p.now()
		}

		s.State, s.Reason, s.Held = state, reason, held
	})

	if held || before.Held {
		return // the owner has said it, once for all partitions
	}

	if loud := func(s State) bool { return s == Paused || s == WaitingRewind }; before.State != state && (loud(state) || loud(before.State)) {
		p.log.Info("partition changed state", slog.Int(telemetry.KeyPartition, p.number),
			slog.String(telemetry.KeyState, string(state)), slog.String(telemetry.KeyReason, reason))
	}
}
