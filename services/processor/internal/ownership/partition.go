package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// partition is one partition of this processor, from acquisition to release.
type partition struct {
	*Owner

	number int
	owner  int64 // random; signs every checkpoint of this process
	board  board

	// The transactions of an ownership run in one session, which the checkpoint
	// names.
	session *mongo.Session
	applier *apply.Applier

	// held is the checkpoint as this owner last committed it. Written by the
	// goroutine that applies; read by others only while none runs.
	held checkpoint.Document

	// parked is what of the partition is set aside; of the goroutine that applies, too.
	parked *park.Partition
}

// run owns the partition until stop ends; work bounds what is in flight then.
// It returns an error only when another processor has taken the partition.
func (p *partition) run(stop, work context.Context) error {
	for stop.Err() == nil {
		err := retry.Do(stop, retry.Policy{Initial: firstBackoff, Max: maxBackoff, OnRetry: p.pause}, func(ctx context.Context) error {
			return p.own(ctx, work)
		})

		switch {
		case stop.Err() != nil:
		case errors.Is(err, apply.ErrStale):
			return err
		case err != nil:
			p.fail(stop, err)
			<-stop.Done()
		}
	}

	p.setState(Draining, "")

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

// own acquires the partition, each time with a new epoch and a consumer of its
// own, and works on it until something is wrong. It returns nil after it has
// committed something, so that the next try comes without the backoff of earlier
// ones, unless no try would help.
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

	p.session, p.applier = session, p.applyTo.In(session)

	if err := p.acquire(stop); err != nil {
		return classify(err)
	}

	if err := p.loadParked(stop); err != nil {
		return classify(err)
	}

	consumer, err := p.openConsumer(stop)
	if err != nil {
		return classify(err)
	}

	reader, err := consume.NewReader(consumer, &p.held.Place, p.budget, p.pullBytes)
	if err != nil {
		return classify(err)
	}

	before := p.held.Commits
	err = classify(newLane(p, reader, disconnected).run(stop, work))

	if !retry.IsPermanent(err) && (p.held.Commits > before || stop.Err() != nil) {
		return nil
	}

	return err
}

// classify marks what no waiting heals.
func classify(err error) error {
	var event *apply.EventError

	switch {
	case errors.Is(err, apply.ErrStale), errors.Is(err, apply.ErrWentBack), errors.Is(err, apply.ErrForeignCheckpoint),
		errors.Is(err, apply.ErrRecords), errors.Is(err, parked.ErrRecords), errors.As(err, &event), consume.IsStreamTrouble(err), isTerminal(err):
		return retry.Permanent(err)
	default:
		return err
	}
}

func (p *partition) acquire(ctx context.Context) error {
	if err := p.gate.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait to acquire: %w", err)
	}
	defer p.gate.Release(1)

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	if p.board.read().State != Paused {
		p.setState(Acquiring, "")
	}

	epochs, err := p.stream.ConsumerEpochs(ctx)
	if err != nil {
		return err
	}

	c := claim{partition: p.number, owner: p.owner, session: apply.SessionID(p.session), consumers: epochs[p.number]}
	if p.held.Epoch > 0 {
		c.last = &p.held
	}

	owned, err := acquire(ctx, p.target, p.stream, c)
	if err != nil {
		return err
	}

	p.held = owned
	p.board.update(func(s *Status) { s.Checkpoint = owned })

	return nil
}

// openConsumer makes the consumer of this ownership and deletes those of
// earlier epochs, which fences their owners' pulls and acks.
func (p *partition) openConsumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	current := uint64(p.held.Epoch) //nolint:gosec // never negative

	consumer, err := p.stream.CreateConsumer(ctx, p.number, current, p.held.StreamSequence())
	if err != nil {
		return nil, err
	}

	epochs, err := p.stream.ConsumerEpochs(ctx)
	if err != nil {
		return nil, err
	}

	for _, epoch := range epochs[p.number] {
		if epoch < current {
			if err := p.stream.DeleteConsumer(ctx, topology.ConsumerName(p.number, epoch)); err != nil {
				return nil, err
			}
		}
	}

	return consumer, nil
}

// setState changes the state and says so in the log.
func (p *partition) setState(state State, reason string) {
	before := p.board.read()
	if before.State == state && before.Reason == reason {
		return
	}

	p.board.update(func(s *Status) { s.State, s.Reason, s.Since = state, reason, time.Now() })

	if before.State != state && (state == Paused || before.State == Paused) {
		p.log.Info("partition changed state", slog.Int(telemetry.KeyPartition, p.number),
			slog.String(telemetry.KeyState, string(state)), slog.String(telemetry.KeyReason, reason))
	}
}
