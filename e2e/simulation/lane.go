package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/natsmodel"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/stepwise"
)

// lane is a partition as a processor works on it: under one lease after another.
type lane struct {
	*processor

	number     int
	steps      *stepwise.Steps
	lease      holding
	held       bool
	drain      bool
	failed     bool // for good
	connection int  // that the consumer was made over
	consumer   *natsmodel.Consumer
	lastLook   time.Time
	inspect    time.Time
}

// work is what a processor does with a partition from the moment that it wants it.
func (l *lane) work() {
	sent := l.clock()

	revision, err := l.client.Put(forever{}, topology.OwnersBucket, topology.PartitionKey(flow, l.number), []byte(l.id), 0, leaseTTL)
	if err != nil {
		l.member.Refused(l.number, errors.Is(err, jetstream.ErrKeyExists))

		return
	}

	l.tell(l.name, "has lease %d of partition %d", revision, l.number)
	l.lease, l.held = newHolding(revision, sent), true
	l.member.Took(l.number)
	l.steps.Leased(revision)

	err = l.under()
	l.held = false

	if l.lease.holds(l.clock()) {
		_ = l.client.Delete(forever{}, topology.OwnersBucket, topology.PartitionKey(flow, l.number), l.lease.revision) // it expires otherwise
	}

	l.lease = holding{}
	l.tell(l.name, "gives partition %d back: %v", l.number, err)
	l.member.Ended(l.number, err != nil)
}

// stopping is the context of what a drain or the end of the lease breaks off; working
// that of what only the latter does.
func (l *lane) stopping() context.Context {
	return bound{ended: func() error {
		if l.drain {
			return context.Canceled
		}

		return l.over()
	}}
}

func (l *lane) working() context.Context { return bound{ended: l.over} }

func (l *lane) over() error {
	if !l.lease.holds(l.clock()) {
		return context.Canceled
	}

	return nil
}

// under works until the lease ends or the partition is drained.
func (l *lane) under() error {
	stop, work := l.stopping(), l.working()

	for backoff := 100 * time.Millisecond; stop.Err() == nil; {
		err := l.steps.Over(l.own(stop, work), stop.Err() != nil)

		switch {
		case errors.Is(err, stepwise.ErrStale):
			return err
		case stop.Err() != nil:
		case retry.IsPermanent(err):
			l.fail(stop, err)
		case err != nil:
			l.pause(l.between(backoff/2, backoff))
			backoff = min(2*backoff, time.Second)
		default:
			backoff = 100 * time.Millisecond

			l.pause(time.Millisecond)
		}
	}

	if l.drain {
		return nil
	}

	return l.over()
}

// fail is the end of an ownership until an operator acts.
func (l *lane) fail(stop context.Context, err error) {
	l.failed = true
	l.tell(l.name, "partition %d failed: %v", l.number, err)

	for stop.Err() == nil {
		l.pause(500 * time.Millisecond)
	}

	l.failed = false
}

// own is one ownership, to the next trouble.
func (l *lane) own(stop, work context.Context) error {
	if !l.wire.connected() {
		l.pause(200 * time.Millisecond)

		return errDisconnected
	}

	l.serial++
	l.connection = l.wire.number
	applier := l.target.NewApplier(fmt.Sprintf("session%d", l.serial))

	consumer, err := l.steps.Own(stop, applier, applier.Session())
	if err != nil {
		l.tell(l.name, "cannot own partition %d: %v", l.number, err)

		return err
	}

	held := l.steps.Held()
	l.tell(l.name, "owns partition %d, epoch %d, commits %d, event %d", l.number, held.Epoch, held.Commits, held.Event)

	var ok bool
	if l.consumer, ok = consumer.(*natsmodel.Consumer); !ok {
		panic("simulation: a consumer of somebody else")
	}

	l.lastLook, l.inspect = l.clock(), l.clock().Add(5*time.Second)

	for stop.Err() == nil {
		if err := l.round(stop, work); err != nil {
			l.tell(l.name, "partition %d: %v", l.number, err)

			return err
		}
	}

	return stop.Err()
}

// errDisconnected is what the client tells a lane; see stepwise.ErrReset.
var errDisconnected = fmt.Errorf("%w: NATS disconnected", stepwise.ErrReset)

// round does what there is to do, once.
func (l *lane) round(stop, work context.Context) error {
	if l.connection != l.wire.number || !l.wire.connected() {
		return errDisconnected
	}

	if err := l.read(stop); err != nil {
		return err
	}

	if err := l.steps.Gather(); err != nil {
		return err
	}

	if err := l.steps.Apply(stop, work); err != nil {
		return err
	}

	if err := l.parked(stop, work); err != nil {
		return err
	}

	now := l.clock()
	if !now.Before(l.lastLook.Add(time.Second)) {
		l.lastLook = now

		if err := l.steps.Look(stop, work); err != nil {
			return err
		}
	}

	if !now.Before(l.inspect) {
		l.inspect = now.Add(5 * time.Second)

		if err := l.steps.Inspect(stop); err != nil {
			return err
		}
	}

	l.pause(l.between(time.Millisecond, 80*time.Millisecond))

	return nil
}

// read takes in what the consumer delivers. In bad weather a delivery goes into a
// connection that is dead, which both ends learn a little later.
func (l *lane) read(stop context.Context) error {
	for n := 1 + l.random.IntN(6); n > 0 && l.steps.Wants(); n-- {
		msg, gone := l.consumer.Deliver()

		switch {
		case gone:
			return errConsumerGone
		case msg == nil:
			return nil
		case l.now.Before(l.weather.lossy) && l.chance(0.05):
			l.judge.struck["delivery lost"]++
			l.after(l.between(0, time.Second), l.wire.drop)

			continue
		}

		if err := l.steps.Take(stop, msg); err != nil {
			return err
		}
	}

	return nil
}

var errConsumerGone = fmt.Errorf("pull messages: %w", jetstream.ErrConsumerDeleted)

// parked tries what is set aside, and asks the source.
func (l *lane) parked(stop, work context.Context) error {
	if at, ok := l.steps.Due(); ok && !l.clock().Before(at) {
		if err := l.steps.Try(stop, work); err != nil {
			return err
		}
	}

	if answered, err := l.steps.Answered(stop, work); answered || err != nil {
		return err
	}

	l.steps.Ask(stop)

	return nil
}
