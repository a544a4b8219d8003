package ownership

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// lane is one ownership at work: one goroutine reads, one gathers, one applies.
//
//	reader ──deliveries──▶ gather ──batches──▶ apply ──settled──▶ gather
//	                                           apply ──asks─────▶ ask ──answers──▶ apply
//
// The next batch fills while one is applied; never two are. Parked events are tried by the same goroutine, so nothing of
// a partition is ever written by two.
type lane struct {
	*partition

	reader  *consume.Reader
	start   start
	began   checkpoint.Place // of the checkpoint when the lane began
	batcher *batch.Batcher[*consume.Delivery]

	disconnected <-chan nats.Status // closed or sent to by the client

	deliveries chan *consume.Delivery   // reader → gather; closed by nobody
	crossed    chan struct{}            // apply → reader: the partition has passed the schema change
	needMemory chan struct{}            // reader → gather: settle what you hold
	batches    chan []*consume.Delivery // gather → apply; closed by gather
	settled    chan struct{}            // apply → gather: the batch is committed
	idle       chan *marker             // gather → apply: nothing is in flight, and this marker came
	asks       chan park.Ask            // apply → ask: documents that the source is to be asked for
	answers    chan answer              // ask → apply

	// Of gather alone.
	inFlight int               // events of the batch that is being applied
	flying   event.Position    // of its first event
	waiting  event.Position    // of the first event of the open batch
	capped   bool              // what the open batch holds goes into capped collections
	aside    *consume.Delivery // begins the next batch: it does not go with the open one

	// Of apply alone.
	batch   []*consume.Delivery // at hand, not settled yet
	noRoom  string              // why the batch at hand cannot be settled now; empty when it can
	fullAt  int64               // bytes parked when that was found
	last    time.Time           // when the last batch was settled
	rest    time.Time           // until when nothing parked is tried
	reloads int                 // of the parked records since the last commit
	behind  event.Position      // the last schema change that was passed and made
	claimed *barrier.Barrier    // the one that this lane of partition 0 makes
	letters []string            // ids of dead letters still to be looked at for what operators did
	old     []parked.Record     // dead letters whose events are to be dropped, by this host's clock
}

func newLane(p *partition, reader *consume.Reader, began *start, disconnected <-chan nats.Status) *lane {
	l := &lane{
		partition:    p,
		reader:       reader,
		start:        *began,
		began:        p.held.Place,
		disconnected: disconnected,
		batcher:      batch.New[*consume.Delivery](p.limits),
		deliveries:   make(chan *consume.Delivery),
		crossed:      make(chan struct{}, 1),
		needMemory:   make(chan struct{}, 1),
		batches:      make(chan []*consume.Delivery, 1),
		settled:      make(chan struct{}, 1),
		idle:         make(chan *marker, 1),
		asks:         make(chan park.Ask, asking),
		answers:      make(chan answer),
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
	group.Go(func() error { return l.ask(running) })
	group.Go(func() error { return l.inspect(running) })
	group.Go(func() error { return l.clean(running) })
	group.Go(func() error { return l.apply(running, stop, work) })

	err := group.Wait()

	l.reader.Stop()
	l.drop()

	return err
}

// read passes on what the stream has. Behind a schema change it reads nothing before that is passed: what a partition
// holds that waits, others may need the memory for that it waits for.
func (l *lane) read(ctx context.Context) error {
	for {
		d, err := l.reader.Next(ctx)
		if err != nil {
			return err
		}

		isBarrier := d.IsBarrier()

		select {
		case l.deliveries <- d:
		case <-ctx.Done():
			d.Release()

			return ctx.Err()
		}

		if !isBarrier {
			continue
		}

		select {
		case <-l.crossed:
		case <-ctx.Done():
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

	last, next := l.markers.latest()

	for {
		deliveries := l.deliveries
		if !l.wants() {
			deliveries = nil
		}

		_, wanted := l.pausing.latest()

		select {
		case d := <-deliveries:
			l.put(d)
		case <-l.needMemory:
			l.batcher.Close()
		case <-l.settled:
			l.inFlight = 0
			last, next = l.markers.latest() // it may have come before the events that it counts
		case <-timer.C:
		case <-next:
			last, next = l.markers.latest()
		case <-wanted:
		case <-l.disconnected:
			return fmt.Errorf("%w: NATS disconnected", consume.ErrReset)
		case <-ctx.Done():
			return ctx.Err()
		}

		var err error
		if last, err = l.gathered(last, timer); err != nil {
			return err
		}
	}
}

// gathered does what may be due after anything has happened. last is the last marker, unless apply has it; so is what it
// returns.
func (l *lane) gathered(last *marker, timer *time.Timer) (*marker, error) {
	if last != nil && last.place.StreamGeneration() > l.start.from.StreamGeneration() {
		return nil, &consume.GenerationError{Generation: last.place.StreamGeneration()}
	}

	l.dispatch(timer)
	last = l.offer(last)
	l.show()

	return last, nil
}

// wants tells whether there is room for another delivery: what comes later waits in the stream, not in memory.
func (l *lane) wants() bool { return !l.batcher.Full() && l.aside == nil }

// put adds a delivery to the open batch, or keeps it for the next one. A schema change is a batch of its own, and what
// goes into capped collections, which no transaction can write.
func (l *lane) put(d *consume.Delivery) {
	if l.batcher.Len() > 0 && (d.IsBarrier() || isCapped(d) != l.capped) {
		l.aside = d
		l.batcher.Close()

		return
	}

	if l.batcher.Len() == 0 {
		l.waiting, l.capped = d.Message.Position, isCapped(d)
	}

	l.batcher.Add(l.now(), d, len(d.Event.Raw))

	if d.IsBarrier() {
		l.batcher.Close()
	}
}

func isCapped(d *consume.Delivery) bool { return d.Message.Pin == event.PinCapped }

// offer passes a marker on while nothing is in flight, and returns it while it cannot.
func (l *lane) offer(m *marker) *marker {
	if m == nil || l.inFlight > 0 || l.batcher.Len() > 0 {
		return m
	}

	select {
	case l.idle <- m:
		return nil
	default: // apply has one at hand
		return m
	}
}

// dispatch hands the open batch over when it is due and nothing is in flight.
func (l *lane) dispatch(timer *time.Timer) {
	if l.pausing.isHeld() {
		return
	}

	now := l.now()

	if l.inFlight == 0 && l.batcher.Due(now, false) {
		events := l.batcher.Take()
		l.inFlight, l.flying = len(events), l.waiting

		failpoint.Pass(failpoint.BatchClosed)

		l.batches <- events

		if d := l.aside; d != nil {
			l.aside = nil
			l.put(d)
		}
	}

	// While a batch is in flight its settling comes first.
	if deadline, ok := l.batcher.Deadline(); ok && l.inFlight == 0 {
		timer.Reset(deadline.Sub(now))
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

	if l.aside != nil {
		l.aside.Release()
	}

	for events := range l.batches {
		for _, d := range events {
			d.Release()
		}
	}

	l.board.update(func(s *Status) { s.Batch, s.Processing = 0, false })
}
