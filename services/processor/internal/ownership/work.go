package ownership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// lookEvery is how often operators' changes and the rest of the flow are looked at.
const lookEvery = time.Second

// noRoomError says why a batch cannot be settled for now: what it would park has no room.
type noRoomError struct{ why string }

// Error implements error.
func (e *noRoomError) Error() string { return e.why }

// apply settles the batches that gather hands over, and in between tries what is parked; while the flow is paused it does
// neither. running ends when another part of the lane does.
func (l *lane) apply(running, stop, work context.Context) error {
	timer, tick := time.NewTimer(time.Hour), time.NewTicker(lookEvery)
	defer timer.Stop()
	defer tick.Stop()

	defer func() { release(l.batch) }()

	for {
		if l.hold(running) != nil {
			return nil
		}

		l.arm(timer)

		err := l.step(running, stop, work, timer.C, tick.C)

		switch {
		case errors.Is(err, errHeld):
			continue
		case errors.Is(err, errNoMore):
			return nil
		case err != nil:
			return err
		}

		l.finish()
	}
}

// finish lets the batch at hand go, once it is settled.
func (l *lane) finish() {
	if l.batch == nil || l.noRoom != "" {
		return
	}

	// An ack that does not arrive costs a delivery later; nothing else.
	_ = l.batch[len(l.batch)-1].Ack()

	failpoint.Pass(failpoint.Acked)

	if l.batch[0].IsBarrier() {
		l.crossed <- struct{}{}
	}

	release(l.batch)
	l.batch, l.last = nil, l.now()
	l.settled <- struct{}{}
}

// step waits for the next thing to do and does it.
func (l *lane) step(running, stop, work context.Context, due, tick <-chan time.Time) error {
	looked := false

	if l.batch == nil || l.noRoom != "" { // else it was held, and nothing else is to be waited for
		var err error
		if looked, err = l.turn(running, stop, work, due, tick); err != nil {
			return err
		}
	}

	return l.proceed(running, stop, work, looked)
}

// proceed settles the batch at hand, if it is time to.
func (l *lane) proceed(running, stop, work context.Context, looked bool) error {
	switch {
	case l.batch == nil:
		return nil
	case l.mustHold():
		return errHeld
	case l.batch[0].IsBarrier():
		return l.cross(running, stop, work, l.batch[0])
	case l.noRoom == "" || looked || l.parked.Bytes() < l.fullAt:
		// A batch that has no room is tried again when some may have been made, not after each parked event.
		return l.settleBatch(stop, work, l.batch)
	default:
		return nil
	}
}

// errNoMore says that the lane ends and no further batch comes.
var errNoMore = errors.New("no more batches")

// turn waits for the next thing to do and does it; a batch is only taken. looked tells that the rest of the flow and the
// operators' changes were looked at.
func (l *lane) turn(running, stop, work context.Context, due, tick <-chan time.Time) (looked bool, err error) {
	batches := l.batches
	if l.batch != nil {
		batches = nil
	}

	_, changed := l.pausing.latest()
	if l.mustHold() {
		return false, errHeld
	}

	select {
	case events, open := <-batches:
		if !open {
			return false, errNoMore
		}

		l.batch = events

		return false, nil
	case a := <-l.answers:
		return false, l.answered(stop, work, &a)
	case now := <-due:
		return false, l.tryParked(stop, work, now)
	case m := <-l.idle:
		return false, l.moveTo(stop, work, m)
	case <-tick:
		return true, l.onTick(stop, work)
	case <-changed:
		return false, errHeld
	case <-whileHolding(running, l.batch):
		return false, errNoMore
	}
}

// onTick looks at what nobody tells of.
func (l *lane) onTick(stop, work context.Context) error {
	// The events that a marker counts may be passed after it came, and nothing follows them.
	if l.batch == nil && l.settling(&l.held) {
		m, _ := l.markers.latest()
		if err := l.moveTo(stop, work, m); err != nil {
			return err
		}
	}

	if err := l.adopt(work); err != nil && !mongodb.IsTransient(err) {
		return err
	}

	if err := l.look(work); err != nil {
		return err
	}

	if err := l.dropOld(stop, work); err != nil {
		return err
	}

	return l.tellRoom(stop, work)
}

// tellRoom commits what the partition's records take where its checkpoint says something else: an operator has discarded
// some, or another partition has handed some over. The others go by the checkpoint, and an idle partition may make no
// commit for long.
func (l *lane) tellRoom(stop, work context.Context) error {
	if l.parked.Bytes() == l.held.ParkedBytes || !l.passage.MayTry(l.held.Position) {
		return nil
	}

	return l.settle(stop, work, &unit{lot: l.parked.Reach(l.held.Position)})
}

// whileHolding is the end of running for one who does not listen to gather, because a batch is at hand.
func whileHolding(running context.Context, batch []*consume.Delivery) <-chan struct{} {
	if batch == nil {
		return nil
	}

	return running.Done()
}

func release(events []*consume.Delivery) {
	for _, d := range events {
		d.Release()
	}
}

// arm sets the timer to when something parked is due.
func (l *lane) arm(timer *time.Timer) {
	at, ok := l.due()
	if !ok || !l.passage.MayTry(l.held.Position) {
		timer.Stop()

		return
	}

	timer.Reset(time.Until(at))
}

// settleBatch settles a batch, or sets noRoom.
func (l *lane) settleBatch(stop, work context.Context, events []*consume.Delivery) error {
	for {
		u, err := l.unitOf(events)
		if err != nil {
			return err
		}

		err = l.settle(stop, work, u)

		var full *noRoomError

		switch {
		case errors.As(err, &full):
			l.noRoom, l.fullAt = full.why, l.parked.Bytes()
			l.setState(Paused, full.why)

			return nil
		case errors.Is(err, errReload):
			if err := l.loadParked(work); err != nil {
				return err
			}
		default:
			if l.noRoom != "" && err == nil {
				l.noRoom = ""
				l.setState(Applying, "")
			}

			return err
		}
	}
}

// unitOf makes a unit of a batch.
//
//nolint:gosec // the stream's numbers stay far below 2^63
func (l *lane) unitOf(events []*consume.Delivery) (*unit, error) {
	u := &unit{batch: events, changes: make([]apply.Change, len(events))}
	items := make([]park.Item, len(events))

	for i, d := range events {
		m := &d.Message
		u.changes[i] = apply.Change{Event: d.Event, Number: m.Event, Position: m.Position}
		items[i] = park.Item{
			ID:     parked.ID(l.held.Flow, m.StreamID, int64(m.Generation), l.held.Partition, int64(m.Count)),
			Number: int64(m.Event), Position: m.Position, Size: int64(len(d.Event.Raw)), Whole: park.IsWhole(d.Event.Operation),
		}

		if !d.Event.Operation.IsDocument() {
			continue
		}

		if m.Pin != event.PinNone {
			u.ordered, items[i].Whole = true, false
			items[i].Key = event.CollectionKey(d.Event.Namespace, m.Pin)

			continue
		}

		key, err := event.NewKey(d.Event.Namespace, d.Event.ID())
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", m.Event, err)
		}

		items[i].Key = key
	}

	u.lot = l.parked.Sort(items)

	return u, nil
}
