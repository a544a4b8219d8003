package ownership

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// executor makes schema changes on the target: *schema.Executor.
type executor interface {
	// Skips tells that the settings leave the change out.
	Skips(c *schema.Change) bool
	Prepare(ctx context.Context, c *schema.Change) (bson.Raw, error)
	Execute(ctx context.Context, c *schema.Change, prepared bson.Raw) error
}

// quietWait is how long a partition stands at a schema change before it says so.
const quietWait = time.Second

// passing is a schema change that the lane stands at.
type passing struct {
	*lane

	delivery *consume.Delivery
	change   schema.Change // of a copy, only what is in it
	name     string        // of the change, for people
	standing *standing
	shown    string // what the partition is said to wait for
	// executing is what is known of how the change was made; nil when nothing is.
	executing *barrier.Execution
}

// cross stands at a schema change until the partition may go on, and settles what that means for what is parked. It
// returns errNoMore when running ends before.
func (l *lane) cross(running, stop, work context.Context, d *consume.Delivery) error {
	d.Release() // nobody may have to wait for memory of one who waits

	p, err := l.newPassing(d)
	if err != nil {
		return err
	}

	if l.number == 0 {
		if item, why, left := p.left(); left {
			return p.depart(stop, work, why, item)
		}
	}

	l.passage.Stand()

	p.standing = l.crossing.stand(barrier.Lane{Partition: l.number, Epoch: l.held.Epoch, Commits: l.held.Commits, At: p.at()})
	defer func() { l.crossing.leave(p.standing) }()

	timer := time.NewTicker(quietWait)
	defer timer.Stop()

	for {
		if err := l.hold(running); err != nil {
			return err
		}

		_, changed := l.pausing.latest()
		if l.mustHold() {
			continue
		}

		select {
		case <-changed:
		case v := <-p.standing.verdicts:
			switch v.Step {
			case barrier.Pass:
				p.executing = v.Executing

				if !v.Void {
					p.behind = p.at().Position
				}

				return p.depart(stop, work, nil)
			case barrier.Run:
				return p.run(running, stop, work, v.Executing)
			case barrier.Claim:
				p.claim(work, &v)
			case barrier.Leave:
				return fmt.Errorf("%w: checkpoint %s", apply.ErrWentBack, l.held.ID)
			default:
				p.shown = p.waitsFor(v.For)
			}
		case a := <-l.answers:
			l.unanswered(&a)
		case <-timer.C:
			l.setState(Paused, p.shown)
		case <-running.Done():
			return errNoMore
		}
	}
}

func (l *lane) newPassing(d *consume.Delivery) (*passing, error) {
	said, err := d.Message.SchemaChange()
	if err != nil {
		return nil, err
	}

	p := &passing{lane: l, delivery: d, change: schema.Change{Operation: said.Operation, Namespace: said.Namespace, To: said.To}}
	p.name = fmt.Sprintf("%s of %s", said.Operation, said.Namespace)
	p.shown = fmt.Sprintf("stands at the %s, and the target does not say who has arrived", p.name)

	return p, nil
}

func (p *passing) at() barrier.Barrier {
	return barrier.Barrier{Event: int64(p.delivery.Message.Event), Position: p.delivery.Message.Position} //nolint:gosec // far below 2^63
}

// waitsFor says what the partition waits for, for people.
func (p *passing) waitsFor(partitions []int) string {
	if len(partitions) == 1 && partitions[0] == 0 {
		return "waits for partition 0 to make the " + p.name
	}

	numbers := make([]string, len(partitions))
	for i, number := range partitions {
		numbers[i] = strconv.Itoa(number)
	}

	return fmt.Sprintf("waits at the %s for partitions %s", p.name, strings.Join(numbers, ", "))
}

// left tells whether nobody has to wait for the change, because it is not made. The item is how its event ends, with
// why it is refused unless that is nil.
func (p *passing) left() (item park.Item, why *park.Refusal, left bool) {
	item = p.item()

	change, err := schema.Parse(&p.delivery.Event)

	switch {
	case errors.Is(err, schema.ErrUnsupported), err == nil && p.options.Schema.Skips(&change):
		item.Key = "" // taken note of
	case err != nil:
		why = &park.Refusal{Reason: parked.Failed, Text: err.Error(), Final: true}
	default:
		p.change, p.name = change, change.String()

		return item, nil, false
	}

	return item, why, true
}

// item is the change's own event.
//
//nolint:gosec // the stream's numbers stay far below 2^63
func (p *passing) item() park.Item {
	m := &p.delivery.Message

	return park.Item{
		ID:     parked.ID(p.held.Flow, m.StreamID, int64(m.Generation), p.held.Partition, int64(m.Count)),
		Key:    event.ChangeKey(p.delivery.Event.Namespace, m.Position),
		Number: int64(m.Event), Position: m.Position, Size: int64(len(p.delivery.Event.Raw)),
	}
}

// claim writes that the change is about to be made. Whatever goes wrong: the next view decides again.
func (p *passing) claim(ctx context.Context, v *barrier.Verdict) {
	ctx, cancel := context.WithDeadline(ctx, p.lease.Deadline())
	defer cancel()

	execution, fresh := v.Claimed(&p.standing.lane)

	if fresh {
		prepared, err := p.options.Schema.Prepare(ctx, &p.change)
		if err == nil {
			err = failpoint.Error(failpoint.SchemaPrepared)
		}

		if err != nil {
			p.shown = explain(err)

			return
		}

		execution.Prepared, execution.Operation = prepared, p.change.Operation
		execution.DB, execution.Coll = p.change.Namespace.DB, p.change.Namespace.Coll

		if execution.NothingParked, err = p.nothingToMove(ctx); err != nil {
			p.shown = explain(err)

			return
		}
	}

	err := barrier.WriteExecution(ctx, p.target, p.held.Flow, v.Executing, &execution)
	if err == nil {
		err = failpoint.Error(failpoint.SchemaClaimed)
	}

	if err != nil {
		p.shown = explain(err)
	}

	p.crossing.nudge()
}

// run makes the change and settles its event.
func (p *passing) run(running, stop, work context.Context, e *barrier.Execution) error {
	p.crossing.leave(p.standing) // nobody else tells it anything now
	p.executing = e

	p.claimed = new(p.at())
	defer func() { p.claimed = nil }()

	err := p.make(running, stop, work, &p.change, e.Prepared)

	if why, own := refusedChange(&p.change, err); own {
		return p.depart(stop, work, &why, p.item())
	}

	if err != nil {
		if running.Err() != nil {
			return errNoMore
		}

		return err
	}

	return p.depart(stop, work, nil, p.item())
}

// refusedChange is what a change's own error means for it; own is false for every other error. What only adds may come
// late; what takes away or replaces might hit what came after it.
func refusedChange(c *schema.Change, err error) (why park.Refusal, own bool) {
	if err == nil || !schema.IsOwn(err) {
		return park.Refusal{}, false
	}

	final := c.Operation != event.Create && c.Operation != event.CreateIndexes

	return park.Refusal{Reason: parked.Failed, Code: errorCode(err), Text: err.Error(), Final: final}, true
}

// depart goes on behind the change. Partition 0 names the item of its event, and why that is refused unless it is nil.
func (p *passing) depart(stop, work context.Context, why *park.Refusal, change ...park.Item) error {
	for {
		err := p.tryDeparture(stop, work, why, change)

		if errors.Is(err, errReload) {
			if err = p.loadParked(work); err == nil {
				continue
			}
		}

		if err != nil {
			return err
		}

		p.passed()

		return nil
	}
}

func (p *passing) tryDeparture(stop, work context.Context, why *park.Refusal, change []park.Item) error {
	if len(change) == 0 && !p.change.Operation.TakesAway() {
		return nil
	}

	// Everybody has arrived here, so whatever an earlier rename hands over is there.
	if err := p.adopt(work); err != nil {
		return err
	}

	concern, err := p.concern(work)
	if err != nil {
		return err
	}

	lot := p.parked.Depart(p.delivery.Message.Position, concern, change...)
	if len(change) == 0 && lot.IsIdle() {
		return nil
	}

	covered, err := p.coveredKeys(work, lot)
	if err != nil {
		return err
	}

	if why != nil {
		lot.Refuse(change[0].Number, *why)
	}

	u := &unit{lot: lot, batch: []*consume.Delivery{p.delivery}, changes: make([]apply.Change, len(lot.Items)), covered: covered, made: true}

	if len(change) > 0 {
		m := &p.delivery.Message
		u.changes[0] = apply.Change{Event: p.delivery.Event, Number: m.Event, Position: m.Position}
	}

	return p.settle(stop, work, u)
}

// passed takes in that the partition has gone on.
func (p *passing) passed() {
	failpoint.Pass(failpoint.BarrierLeft)
	p.passage.Pass(p.at())

	if p.change.Operation == event.Rename && p.executing.HandsOver(p.at()) {
		p.adopting = p.delivery.Message.Position
	}

	if p.number == 0 {
		p.crossing.release(p.held.Position, p.executing)
	}

	p.setState(Applying, "")
}
