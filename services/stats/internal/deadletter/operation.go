package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// overdue is when an action without an end has none any more: longer than the one who does it works on it.
const overdue = 2 * ActionTimeout

// ErrNoOperation says that the flow has no operation of a name.
var ErrNoOperation = errors.New("there is no such operation")

// Operation is an action on dead letters and what became of the records that it changed. Once it has an outcome they add
// up to Changed.
type Operation struct {
	audit.Action

	Verb    Verb
	Outcome *Outcome // nil while it is under way, and where its end was not recorded
	Failed  string   // why it ended early

	Waiting, Applied, FailedAgain, Superseded, Discarded uint64
	ActedOnAgain                                         uint64 // a later action changed them again

	Failures []Letter // the first of those that failed again
	Done     bool
}

// Operation tells how far an action is. It returns ErrNoOperation and TargetError.
func (l *Letters) Operation(ctx context.Context, name string) (*Operation, error) {
	action, err := audit.Get(ctx, l.target, l.flow, name) // before its records: they are all there when it has ended

	switch {
	case errors.Is(err, audit.ErrNotFound) || err == nil && !strings.HasPrefix(action.Action, actionPrefix):
		return nil, fmt.Errorf("operation %s of flow %s: %w", name, l.flow, ErrNoOperation)
	case err != nil:
		return nil, l.failed(err)
	}

	o := &Operation{Action: *action, Verb: Verb(strings.TrimPrefix(action.Action, actionPrefix))}
	o.end(time.Now())

	if err := l.tally(ctx, o); err != nil {
		return nil, err
	}

	if o.FailedAgain > 0 {
		again, err := l.find(ctx, bson.D{{Key: "act", Value: o.ID}, {Key: "state", Value: parked.Dead}}, mostListed)
		if err != nil {
			return nil, err
		}

		for _, raw := range again {
			o.Failures = append(o.Failures, decode(raw))
		}
	}

	o.Done = o.Waiting == 0 && (o.Outcome != nil || o.Failed != "")

	return o, nil
}

// end is what the audit says of the action's end.
func (o *Operation) end(now time.Time) {
	if o.End == nil {
		if now.Sub(o.Time) > overdue {
			o.Failed = "the statistics service, or the target, ended before its end was recorded"
		}

		return
	}

	o.Failed = o.End.Failed
	o.Outcome = &Outcome{
		Operation: o.ID, Matched: uint64(o.End.Changed + o.End.Refused), Changed: uint64(o.End.Changed), Refused: uint64(o.End.Refused), //nolint:gosec // never negative
	}

	for _, left := range o.End.Left {
		o.Outcome.Refusals = append(o.Outcome.Refusals, Refusal{Name: left.Name, Reason: RefusalReason(left.Reason), Message: left.Why})
	}
}

// tally counts the operation's records.
func (l *Letters) tally(ctx context.Context, o *Operation) error {
	cursor, err := parked.Records(l.target).Aggregate(ctx, bson.A{
		bson.D{{Key: "$match", Value: bson.D{{Key: "act", Value: o.ID}}}},
		bson.D{{Key: "$group", Value: bson.D{{Key: "_id", Value: "$state"}, {Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}}}}},
	})
	if err != nil {
		return l.failed(err)
	}

	var groups []struct {
		State parked.State `bson:"_id"`
		N     int64        `bson:"n"`
	}
	if err := cursor.All(ctx, &groups); err != nil {
		return l.failed(err)
	}

	sum := uint64(0)

	for _, g := range groups {
		n := uint64(max(g.N, 0))
		sum += n

		switch g.State {
		case parked.Waiting:
			o.Waiting = n
		case parked.Replayed, parked.Replaced:
			o.Applied += n
		case parked.Dead:
			o.FailedAgain = n
		case parked.Superseded:
			o.Superseded = n
		case parked.Discarded:
			o.Discarded = n
		case parked.Intended: // not yet anybody's to act on
		}
	}

	if o.Outcome != nil && o.Outcome.Changed > sum {
		o.ActedOnAgain = o.Outcome.Changed - sum
	}

	return nil
}
