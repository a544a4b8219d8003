package ownership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// unit is what one transaction is to do: a batch of the stream, or parked events.
type unit struct {
	lot     *park.Lot
	changes []apply.Change         // of each item; zero where nothing is written
	batch   []*consume.Delivery    // of the stream, one an item; nil for parked events
	image   bson.Raw               // of the source, when the lot is one; nil when it has no such document
	ordered bool                   // each event by itself, in order; see reorder
	covered map[event.Key]bson.Raw // document keys of what the lot owes; see park.Owed
	left    bool                   // the last plan left out superseded events, or changed the order of documents
	made    bool                   // what it records was made before, and cannot be in its transaction
}

// errReload says that the target's records are not those in memory.
var errReload = errors.New("the parked records have to be read again")

// settle is the one place where events end.
//
//	committed                  ack of the batch's last message
//	trouble of the target      the same again, with backoff; no retry is counted
//	outcome unknown            Commit has read the checkpoint: one of the others
//	a unique value is taken    the same again, each event in order
//	one event's own error      the same without it: it is parked, or stays so, in that transaction
//	one is certain to have one it is parked without being asked for, and tried from there
//	a record was changed       the records are read again, then the same
//	no room to park            the partition waits until there is
//	paused, or resumed         what was not begun waits, what waits for the target is given back
//	guard failed               stale, gone back, or changed by somebody: stops
//	told to stop               what waits for the target is given back
//
// It returns a *noRoomError, errReload, errHeld, or what ends the ownership.
func (l *lane) settle(stop, work context.Context, u *unit) error {
	// One slot for all tries: those that are refused are short, and would each wait behind other partitions' batches.
	if err := l.slots.Acquire(work, 1); err != nil {
		return fmt.Errorf("wait for a slot to apply: %w", err)
	}
	defer l.slots.Release(1)

	for {
		if !u.made && l.mustHold() {
			u.lot.Postpone(l.now())

			return errHeld
		}

		err := l.try(stop, work, u)
		if err == nil {
			l.reloads = 0

			return nil
		}

		switch failed, own := errors.AsType[*apply.EventError](err); {
		case own && u.reorder(err):
		case own && l.refuse(u, failed):
			failpoint.Pass(failpoint.BatchRerun)
		case errors.Is(err, apply.ErrRecords), errors.Is(err, parked.ErrRecords):
			return l.reload(err)
		default:
			return err
		}
	}
}

// refuse takes a refused event out of the unit, and remembers what it looks like when it is of the stream. It returns
// false when the unit does not apply it.
func (l *lane) refuse(u *unit, failed *apply.EventError) bool {
	why := refusal(failed, l.options.Apply.NoTransactions)
	if !u.lot.Refuse(int64(failed.Number), why) { //nolint:gosec // numbers of events stay far below 2^63
		return false
	}

	for i := range u.batch {
		if u.changes[i].Number == failed.Number {
			l.suspects.Remember(&u.changes[i], why.Reason == parked.Failed)
		}
	}

	return true
}

// maxReloads bounds how often the records are read in vain: an operator's change is seen by the first time.
const maxReloads = 3

// try makes one transaction of the unit as it stands.
func (l *lane) try(stop, work context.Context, u *unit) error {
	plan, fx, err := l.planned(u)
	if err != nil {
		return err
	}

	if u.batch == nil && fx.Nothing() && fx.Bytes == l.held.ParkedBytes {
		u.lot.Done(&fx, l.now())

		return nil
	}

	plan.Note(l.notes(u, &fx)...)

	work, traced := l.trace(work, u)
	defer traced.end()

	next := u.following(&l.held, plan, &fx)

	if err := l.commit(stop, work, plan, &next); err != nil {
		traced.failed()

		return err
	}

	failpoint.Pass(failpoint.Committed)

	l.held = next
	u.lot.Done(&fx, l.now())
	l.suspects.Acquit(plan)
	traced.committed(u.lot)
	l.committed(work, plan, u.batch)

	if u.batch != nil && u.lot.Refused() {
		failpoint.Pass(failpoint.ParkedWritten)
	}

	if fx.Failed > 0 {
		failpoint.Pass(failpoint.DeadMarked)
	}

	l.tellParked(work, u, &fx)

	return nil
}

// planned is what the unit means as it stands, without what the target is certain to refuse.
func (l *lane) planned(u *unit) (*apply.Plan, park.Effects, error) {
	for {
		fx := u.lot.Effects()
		if why := u.lot.Full(&fx); why != "" {
			return nil, fx, &noRoomError{why}
		}

		plan, certain, err := u.plan(&fx, &l.suspects)

		fewer := false
		for _, number := range certain {
			fewer = u.lot.Foresee(int64(number)) || fewer //nolint:gosec // numbers of events stay far below 2^63
		}

		if err != nil || !fewer {
			return plan, fx, err
		}
	}
}

// plan is the writes of what the lot applies, and the numbers of those events among them that the target is certain to
// refuse.
func (u *unit) plan(fx *park.Effects, suspects *apply.Suspects) (plan *apply.Plan, certain []uint64, err error) {
	changes := make([]apply.Change, 0, len(u.changes))

	if !u.lot.Image {
		for i := range u.lot.Items {
			if u.lot.Items[i].Fate == park.Apply && !u.lot.Items[i].Key.IsChange() { // that one was made before
				changes = append(changes, u.changes[i])
			}
		}
	}

	planned := apply.NewPlan
	if u.ordered {
		planned = apply.NewOrderedPlan
	}

	plan, err = planned(changes)
	if err != nil {
		return nil, nil, err
	}

	switch {
	case u.ordered:
	case u.batch == nil:
		plan.ScoutFirst()
	default:
		certain = plan.Scout(suspects)
	}

	if slices.ContainsFunc(u.lot.Items, func(item park.Item) bool { return item.Key.IsCapped() }) {
		plan.Alone()
	}

	u.left = plan.Coalesced() || u.batch != nil && plan.Scouted()

	switch {
	case fx.GiveWay:
		plan.Put(&u.changes[0], nil)
	case u.lot.Image && !u.lot.Refused():
		plan.Put(&u.changes[0], u.image)
	}

	return plan, certain, nil
}

// reorder makes the unit one of each event in order, where a unique value was taken that a left out event may free.
func (u *unit) reorder(err error) bool {
	if !u.left || !mongodb.IsDuplicateKey(err) {
		return false
	}

	u.ordered = true

	return true
}

// refusal is what an event's own error means for it. Where there are no transactions the target's document may be ahead
// of a delta that is applied again, so whatever is wrong with it, the source's document is tried before it counts.
func refusal(failed *apply.EventError, atLeastOnce bool) park.Refusal {
	code, text := mongodb.DescribeDocumentError(failed.Err)

	switch {
	case errors.Is(failed.Err, apply.ErrMissingDocument), errors.Is(failed.Err, apply.ErrNeedsImage):
		return park.Refusal{Reason: parked.Unfitting, Text: failed.Err.Error()}
	case errors.Is(failed.Err, event.ErrMalformed):
		return park.Refusal{Reason: parked.Failed, Text: "the event cannot be read"}
	case mongodb.IsDuplicateKey(failed.Err):
		return park.Refusal{Reason: parked.Conflict, Code: code, Text: text}
	case failed.Operation == event.Update && (atLeastOnce || mongodb.IsUnfitting(failed.Err)):
		return park.Refusal{Reason: parked.Unfitting, Code: code, Text: text}
	default:
		return park.Refusal{Reason: parked.Failed, Code: code, Text: text}
	}
}

// commit applies the plan, as often as the target's troubles make necessary.
func (l *lane) commit(stop, work context.Context, plan *apply.Plan, next *checkpoint.Document) error {
	started, tries := l.now(), 0

	plan.Only(l.sameTarget())

	var trouble error // after which only a new ownership helps

	err := retry.Do(stop, retry.Policy{Initial: firstBackoff, Max: maxBackoff, OnRetry: l.pause, Clock: l.options.Clock}, func(context.Context) error {
		if tries++; tries > 1 && l.mustHold() {
			trouble = errGivenBack

			return nil
		}

		err := classify(l.applier.Commit(work, plan, &l.held, next))
		if err != nil && l.applier.Spent() || errors.Is(err, apply.ErrWentBack) {
			trouble, err = err, nil
		}

		return err
	})
	if err = cmp.Or(err, trouble); err != nil {
		return err
	}

	if l.noRoom == "" {
		l.setState(Applying, "")
	}

	if next.Counters.Batches != l.held.Counters.Batches {
		l.observe.Batch(l.now().Sub(started), plan)
	}

	return nil
}

// following is the checkpoint after the unit. Parked events leave its place where it is.
func (u *unit) following(held *checkpoint.Document, plan *apply.Plan, fx *park.Effects) checkpoint.Document {
	next := *held
	next.Commits++

	skipped := int64(len(plan.Unsupported()))
	next.Counters.Processed += fx.Processed - skipped
	next.Counters.Failed += fx.Failed
	next.Counters.Skipped += skipped
	next.Parked, next.ParkedBytes = fx.Parked, fx.Bytes

	if u.batch != nil {
		last := u.batch[len(u.batch)-1]
		next.Counters.Batches++
		next.Place = checkpoint.PlaceOf(&last.Message, last.Sequence)
	}

	return next
}

// committed tells everybody who counts.
func (l *lane) committed(ctx context.Context, plan *apply.Plan, events []*consume.Delivery) {
	held, dead := l.held, l.parked.Dead()
	l.board.update(func(s *Status) { s.Checkpoint, s.Dead = held, dead })

	for i := range events {
		if !events[i].Message.IsCopy() {
			l.observe.Event(&events[i].Message)
		}
	}

	for _, c := range plan.Unsupported() {
		l.warn(ctx, c.Event.Namespace, c.Event.Operation)
	}
}
