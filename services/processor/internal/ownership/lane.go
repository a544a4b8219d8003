package ownership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// lane is one ownership at work: one goroutine reads, one gathers, one applies.
//
//	reader ──deliveries──▶ gather ──batches──▶ apply ──settled──▶ gather
//
// The next batch fills while one is applied; never two are.
type lane struct {
	*partition

	reader  *consume.Reader
	batcher *batch.Batcher[*consume.Delivery]

	disconnected <-chan nats.Status // closed or sent to by the client

	deliveries chan *consume.Delivery   // reader → gather; closed by nobody
	needMemory chan struct{}            // reader → gather: settle what you hold
	batches    chan []*consume.Delivery // gather → apply; closed by gather
	settled    chan struct{}            // apply → gather: the batch is committed

	// Of gather alone.
	inFlight int            // events of the batch that is being applied
	flying   event.Position // of its first event
	waiting  event.Position // of the first event of the open batch
}

func newLane(p *partition, reader *consume.Reader, disconnected <-chan nats.Status) *lane {
	l := &lane{
		partition:    p,
		reader:       reader,
		disconnected: disconnected,
		batcher:      batch.New[*consume.Delivery](p.limits),
		deliveries:   make(chan *consume.Delivery),
		needMemory:   make(chan struct{}, 1),
		batches:      make(chan []*consume.Delivery, 1),
		settled:      make(chan struct{}, 1),
	}

	reader.OnWait(func() {
		select {
		case l.needMemory <- struct{}{}:
		default: // gather knows already
		}
	})

	return l
}

// run works until stop ends or something is wrong. When stop ends, a batch in
// flight may finish within work; the open one is dropped, unacked: the next
// owner gets it.
func (l *lane) run(stop, work context.Context) error {
	group, running := errgroup.WithContext(stop)

	group.Go(func() error { return l.read(running) })
	group.Go(func() error { return l.gather(running) })
	group.Go(func() error { return l.apply(stop, work) })

	err := group.Wait()

	l.reader.Stop()
	l.drop()

	return err
}

// read passes on what the stream has.
func (l *lane) read(ctx context.Context) error {
	for {
		d, err := l.reader.Next(ctx)
		if err != nil {
			return err
		}

		select {
		case l.deliveries <- d:
		case <-ctx.Done():
			d.Release()

			return ctx.Err()
		}
	}
}

// gather fills batches and hands them over, one at a time.
func (l *lane) gather(ctx context.Context) error {
	defer close(l.batches)

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()

	l.setState(Applying, "")

	for {
		deliveries := l.deliveries
		if l.batcher.Full() {
			deliveries = nil
		}

		select {
		case d := <-deliveries:
			if l.batcher.Len() == 0 {
				l.waiting = d.Message.Position
			}

			l.batcher.Add(time.Now(), d, len(d.Event.Raw))
		case <-l.needMemory:
			l.batcher.Close()
		case <-l.settled:
			l.inFlight = 0
		case <-timer.C:
		case <-l.disconnected:
			return fmt.Errorf("%w: NATS disconnected", consume.ErrReset)
		case <-ctx.Done():
			return ctx.Err()
		}

		l.dispatch(timer)
		l.show()
	}
}

// dispatch hands the open batch over when it is due and nothing is in flight.
func (l *lane) dispatch(timer *time.Timer) {
	now := time.Now()

	if l.inFlight == 0 && l.batcher.Due(now, false) {
		events := l.batcher.Take()
		l.inFlight, l.flying = len(events), l.waiting
		l.batches <- events
	}

	// While a batch is in flight its settling comes first.
	if deadline, ok := l.batcher.Deadline(); ok && l.inFlight == 0 {
		timer.Reset(deadline.Sub(now))
	}
}

// apply settles the batches that gather hands over.
func (l *lane) apply(stop, work context.Context) error {
	for events := range l.batches {
		err := l.settle(stop, work, events)

		for _, d := range events {
			d.Release()
		}

		if err != nil {
			return err
		}

		l.settled <- struct{}{}
	}

	return nil
}

// settle is the one place where a batch ends.
//
//	committed                  ack of its last message
//	trouble of the target      the same batch again, with backoff; no retry is counted
//	outcome unknown            Commit has read the checkpoint: one of the others
//	one event's own error      the partition stops before it (parking goes here)
//	guard failed               stale or changed by somebody: stops; gone back: is
//	                           acquired again
//	told to stop               a batch that waits for the target is given back
func (l *lane) settle(stop, work context.Context, events []*consume.Delivery) error {
	changes := make([]apply.Change, len(events))
	for i, d := range events {
		changes[i] = apply.Change{Event: d.Event, Number: d.Message.Event, Position: d.Message.Position}
	}

	plan, err := apply.NewPlan(changes)
	if err != nil {
		return err
	}

	work, span := l.trace(work, events)
	defer span.End()

	last := events[len(events)-1]
	next := following(&l.held, plan, last)

	if err := l.commit(stop, work, plan, &next); err != nil {
		span.RecordError(err)

		return err
	}

	l.held = next
	l.committed(work, plan, events)

	// An ack that does not arrive costs a delivery later; nothing else.
	_ = last.Ack()

	return nil
}

// commit applies the plan, as often as the target's troubles make necessary.
func (l *lane) commit(stop, work context.Context, plan *apply.Plan, next *checkpoint.Document) error {
	if err := l.slots.Acquire(work, 1); err != nil {
		return fmt.Errorf("wait for a slot to apply: %w", err)
	}
	defer l.slots.Release(1)

	started := time.Now()

	var trouble error // after which only a new ownership helps

	err := retry.Do(stop, retry.Policy{Initial: firstBackoff, Max: maxBackoff, OnRetry: l.pause}, func(context.Context) error {
		err := classify(l.applier.Commit(work, plan, &l.held, next))
		if err != nil && l.applier.Spent() || errors.Is(err, apply.ErrWentBack) {
			trouble, err = err, nil
		}

		return err
	})
	if err = cmp.Or(err, trouble); err != nil {
		return err
	}

	l.setState(Applying, "")
	l.observe.Batch(time.Since(started), plan)

	return nil
}

// following is the checkpoint after a batch.
func following(held *checkpoint.Document, plan *apply.Plan, last *consume.Delivery) checkpoint.Document {
	next := *held
	next.Commits++

	added := plan.Counters()
	next.Counters.Processed += added.Processed
	next.Counters.Skipped += added.Skipped
	next.Counters.Batches += added.Batches

	next.Place = checkpoint.PlaceOf(&last.Message, last.Sequence)

	return next
}

// committed tells everybody who counts.
func (l *lane) committed(ctx context.Context, plan *apply.Plan, events []*consume.Delivery) {
	held := l.held
	l.board.update(func(s *Status) { s.Checkpoint = held })

	for i := range events {
		l.observe.Event(events[i].Message.Position)
	}

	for _, c := range plan.Unsupported() {
		l.warn(ctx, c.Event.Namespace, c.Event.Operation)
	}
}

// show puts the batch on the board.
func (l *lane) show() {
	n, flying := l.batcher.Len(), l.inFlight

	var oldest event.Position

	switch {
	case flying > 0:
		oldest = l.flying
	case n > 0:
		oldest = l.waiting
	}

	l.board.update(func(s *Status) { s.Batch, s.Processing, s.Oldest = n+flying, flying > 0, oldest })
}

// drop gives back the memory of what was not handed over. The oldest event stays
// on the board: it is still not applied.
func (l *lane) drop() {
	for _, d := range l.batcher.Take() {
		d.Release()
	}

	for events := range l.batches {
		for _, d := range events {
			d.Release()
		}
	}

	l.board.update(func(s *Status) { s.Batch, s.Processing = 0, false })
}

// trace starts the span of a batch, linked to the traces that brought its
// events here.
func (l *lane) trace(ctx context.Context, events []*consume.Delivery) (context.Context, trace.Span) {
	var links []trace.Link

	for _, d := range events {
		if d.Message.TraceParent == "" {
			continue
		}

		carrier := propagation.MapCarrier{event.HeaderTraceParent: d.Message.TraceParent}
		links = append(links, trace.LinkFromContext(propagation.TraceContext{}.Extract(ctx, carrier)))
	}

	//nolint:spancheck // the caller ends it
	return l.options.Tracer.Start(ctx, "apply batch", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int(telemetry.KeyPartition, l.number), attribute.Int(telemetry.KeyEvents, len(events))))
}
