package deadletter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Verb is what a person does with dead letters.
type Verb string

// The verbs, as records remember them.
const (
	Replay  Verb = "replay"
	Refetch Verb = "refetch"
	Discard Verb = "discard"
)

const (
	// mostListed bounds the refusals that the answer to a filter lists, and the failures of an operation.
	mostListed = 100
	// mostRemembered bounds the trail of a record that a script replays for ever.
	mostRemembered = 1000
	// together is how many records are judged, and changed by one update.
	together = 1000
	// ActionTimeout bounds an action, whether or not its caller waits.
	ActionTimeout = time.Minute
	endTimeout    = 10 * time.Second // to record what it did
)

// Request is one action.
type Request struct {
	Verb Verb

	// What it is for: Filter, or Names when that is nil.
	Names  []string
	Filter *Filter

	Who, Why     string
	ValidateOnly bool // change nothing
}

// Outcome is what an action did.
type Outcome struct {
	Operation string // its ID in the audit; empty when nothing was to be changed

	Matched, Changed, Refused uint64
	Refusals                  []Refusal // all of those named, the first ones of a filter's
}

// task is a request at work.
type task struct {
	*Letters
	*Request

	id       string // of the operation; empty when nothing is to be changed
	when     time.Time
	outdated []incarnation
	outcome  Outcome
}

// Do acts. What has begun goes on when ctx ends. What was changed stays so when a TargetError is returned; the same
// request again does the rest.
func (l *Letters) Do(ctx context.Context, r *Request) (Outcome, error) {
	t := &task{Letters: l, Request: r}

	if r.ValidateOnly {
		return t.outcome, t.run(ctx)
	}

	return l.audited(ctx, t)
}

func (t *task) run(ctx context.Context) error {
	if t.Verb != Discard {
		var err error
		if t.outdated, err = t.Letters.outdated(ctx); err != nil {
			return err
		}
	}

	if t.Filter != nil {
		return t.doFilter(ctx)
	}

	return t.doNames(ctx)
}

func (t *task) doNames(ctx context.Context) error {
	names := slices.Compact(slices.Sorted(slices.Values(t.Names)))

	found, err := t.look(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: names}}}, {Key: "flow", Value: t.flow}})
	if err != nil {
		return err
	}

	return t.settle(ctx, names, found)
}

// doFilter reads all that match once, and changes them while it reads on: what dies meanwhile may be left alone, what
// was changed does not match any more.
func (t *task) doFilter(ctx context.Context) error {
	dead := append(bson.D{{Key: "flow", Value: t.flow}, {Key: "state", Value: parked.Dead}}, t.Filter.conditions()...)

	cursor, err := parked.Records(t.target).Find(ctx, dead, options.Find().SetProjection(judged()).SetBatchSize(together))
	if err != nil {
		return t.failed(err)
	}

	defer func() { _ = cursor.Close(ctx) }() // the server ends it by itself

	for more := true; more; {
		var names []string

		found := make(map[string]*Letter, together)

		for len(names) < together && more {
			if more = cursor.Next(ctx); more {
				letter := decode(slices.Clone(cursor.Current))
				names, found[letter.ID] = append(names, letter.ID), &letter
			}
		}

		if err := t.settle(ctx, names, found); err != nil {
			return err
		}
	}

	if err := cursor.Err(); err != nil {
		return t.failed(err)
	}

	return nil
}

// settle judges records, of which those that do not exist are not among the found, and changes those that can be.
func (t *task) settle(ctx context.Context, names []string, found map[string]*Letter) error {
	t.outcome.Matched += uint64(len(names))

	var eligible []string

	for _, name := range names {
		if refusal := refuse(name, found[name], t.Verb, t.outdated); refusal != nil {
			t.refused(refusal)
		} else {
			eligible = append(eligible, name)
		}
	}

	changed := uint64(len(eligible))

	if changed > 0 && t.id != "" {
		var err error
		if changed, err = t.change(ctx, eligible); err != nil {
			return err
		}
	}

	t.outcome.Changed += changed
	if changed == uint64(len(eligible)) {
		return nil
	}

	return t.refuseLate(ctx, eligible)
}

func (t *task) refused(r *Refusal) {
	t.outcome.Refused++

	if t.Filter == nil || len(t.outcome.Refusals) < mostListed {
		t.outcome.Refusals = append(t.outcome.Refusals, *r)
	}
}

// refuseLate finds those for which somebody else was faster.
func (t *task) refuseLate(ctx context.Context, names []string) error {
	ours, err := t.look(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: names}}}, {Key: "act", Value: t.id}})
	if err != nil {
		return err
	}

	for _, name := range names {
		if ours[name] == nil {
			t.refused(&Refusal{name, NotDead, "somebody else, or its owner, changed it at the same time"})
		}
	}

	return nil
}

// change is the one update: it demands the state that the action starts from, and that nothing in the record makes it
// fail for the others.
func (t *task) change(ctx context.Context, names []string) (uint64, error) {
	filter := bson.D{
		{Key: "_id", Value: bson.D{{Key: "$in", Value: names}}},
		{Key: "flow", Value: t.flow},
		{Key: "state", Value: parked.Dead},
		{Key: "rev", Value: bson.D{{Key: "$type", Value: "number"}}},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: "trail", Value: bson.D{{Key: "$exists", Value: false}}}},
			bson.D{{Key: "trail", Value: bson.D{{Key: "$type", Value: "array"}}}},
		}},
	}

	set := bson.D{{Key: "changed", Value: t.when}, {Key: "act", Value: t.id}, {Key: "state", Value: parked.Discarded}}
	if t.Verb != Discard {
		set[len(set)-1].Value = parked.Waiting
		set = append(set, bson.E{Key: "attempts", Value: 0})
	}

	action := parked.Action{Action: string(t.Verb), Who: t.Who, Why: t.Why, When: t.when}
	update := bson.D{
		{Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
		{Key: "$push", Value: bson.D{{Key: "trail", Value: bson.D{
			{Key: "$each", Value: bson.A{action}}, {Key: "$slice", Value: -mostRemembered},
		}}}},
	}

	if t.Verb == Refetch {
		set = append(set, bson.E{Key: "refetch", Value: true})
	} else {
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "refetch", Value: ""}}})
	}

	result, err := parked.Records(t.target).UpdateMany(ctx, filter, append(update, bson.E{Key: "$set", Value: set}))
	if err == nil {
		err = failpoint.Error(failpoint.LettersChanged)
	}

	if err != nil {
		return 0, t.failed(fmt.Errorf("%s: %w", t.Verb, err))
	}

	return uint64(max(result.ModifiedCount, 0)), nil
}
