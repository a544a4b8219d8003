package deadletter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Verb is what a person does with dead letters.
type Verb string

// The verbs, as records remember them.
const (
	Replay  Verb = "replay"
	Discard Verb = "discard"
)

// mostListed bounds the refusals that the answer to a filter lists.
const mostListed = 100

// mostRemembered bounds the trail of a record that a script replays for ever.
const mostRemembered = 1000

// Request is one action.
type Request struct {
	Verb Verb

	// What it is for: Filter, or Names when that is nil.
	Names  []string
	Filter *Filter

	Who, Why     string
	ValidateOnly bool // change nothing
}

// RefusalReason is why a record was left as it was.
type RefusalReason int

// The reasons.
const (
	NotFound        RefusalReason = iota + 1
	NotDead                       // there is nothing to do, or not any more
	NoEvent                       // what would be replayed is gone
	OtherCollection               // the source has made the collection anew since
	Unreadable                    // edited by hand
	Unrepeatable                  // a drop or a rename: it might hit what was made since
)

// Refusal is a record that was left as it was.
type Refusal struct {
	Name    string
	Reason  RefusalReason
	Message string
}

// Outcome is what an action did.
type Outcome struct {
	Matched, Changed, Refused uint64
	Refusals                  []Refusal // all of those named, the first ones of a filter's
}

// Do acts. What was changed stays so when a TargetError is returned; the same request again does the rest.
func (l *Letters) Do(ctx context.Context, r *Request) (Outcome, error) {
	var (
		outdated []incarnation
		err      error
	)

	if r.Verb == Replay {
		if outdated, err = l.outdated(ctx); err != nil {
			return Outcome{}, err
		}
	}

	act := func() (Outcome, error) {
		if r.Filter != nil {
			return l.doFilter(ctx, r, outdated)
		}

		return l.doNames(ctx, r, outdated)
	}

	if r.ValidateOnly {
		return act()
	}

	return l.audited(ctx, r, act)
}

// doNames looks at each record first, to tell which ones are refused and why.
func (l *Letters) doNames(ctx context.Context, r *Request, outdated []incarnation) (Outcome, error) {
	names := slices.Compact(slices.Sorted(slices.Values(r.Names)))

	found, err := l.look(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: names}}}, {Key: "flow", Value: l.flow}}, 0)
	if err != nil {
		return Outcome{}, err
	}

	o := Outcome{Matched: uint64(len(names))}

	var eligible []string

	for _, name := range names {
		if refusal := refuse(name, found[name], r.Verb, outdated); refusal != nil {
			o.Refusals = append(o.Refusals, *refusal)
		} else {
			eligible = append(eligible, name)
		}
	}

	if len(eligible) > 0 {
		late, err := l.changeNames(ctx, r, eligible)
		if err != nil {
			return Outcome{}, err
		}

		o.Refusals = append(o.Refusals, late...)
	}

	o.Refused = uint64(len(o.Refusals))
	o.Changed = o.Matched - o.Refused

	return o, nil
}

// changeNames changes records that were dead a moment ago and returns those for which somebody else was faster.
func (l *Letters) changeNames(ctx context.Context, r *Request, names []string) ([]Refusal, error) {
	if r.ValidateOnly {
		return nil, nil
	}

	selection := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: names}}}}

	action, changed, err := l.change(ctx, r, selection, nil)
	if err != nil || changed == uint64(len(names)) {
		return nil, err
	}

	ours, err := l.look(ctx, append(selection, bson.E{Key: "trail", Value: bson.D{{Key: "$elemMatch", Value: action}}}), 0)
	if err != nil {
		return nil, err
	}

	var late []Refusal

	for _, name := range names {
		if _, ok := ours[name]; !ok {
			late = append(late, Refusal{name, NotDead, "somebody else, or its owner, changed it at the same time"})
		}
	}

	return late, nil
}

// doFilter changes all that match by one update.
func (l *Letters) doFilter(ctx context.Context, r *Request, outdated []incarnation) (Outcome, error) {
	dead := append(bson.D{{Key: "flow", Value: l.flow}, {Key: "state", Value: parked.Dead}}, r.Filter.conditions()...)
	able := changeable(r.Verb, outdated)

	matched, err := parked.Records(l.target).CountDocuments(ctx, dead)
	if err != nil {
		return Outcome{}, l.failed(err)
	}

	unable := append(slices.Clone(dead), bson.E{Key: "$nor", Value: bson.A{bson.D{{Key: "$and", Value: able}}}})

	refused, err := l.look(ctx, unable, mostListed)
	if err != nil {
		return Outcome{}, err
	}

	var o Outcome

	for name, letter := range refused {
		if refusal := refuse(name, letter, r.Verb, outdated); refusal != nil {
			o.Refusals = append(o.Refusals, *refusal)
		}
	}

	slices.SortFunc(o.Refusals, func(a, b Refusal) int { return strings.Compare(a.Name, b.Name) })

	if r.ValidateOnly {
		changed, err := parked.Records(l.target).CountDocuments(ctx, append(slices.Clone(dead), bson.E{Key: "$and", Value: able}))
		if err != nil {
			return Outcome{}, l.failed(err)
		}

		o.Changed = uint64(max(changed, 0))
	} else if _, o.Changed, err = l.change(ctx, r, r.Filter.conditions(), outdated); err != nil {
		return Outcome{}, err
	}

	// Letters that died, or that somebody else changed, between count and update.
	o.Matched = max(uint64(max(matched, 0)), o.Changed+uint64(len(o.Refusals)))
	o.Refused = o.Matched - o.Changed

	return o, nil
}

// change is the one update: it demands the state that the action starts from.
func (l *Letters) change(ctx context.Context, r *Request, selection bson.D, outdated []incarnation) (parked.Action, uint64, error) {
	action := parked.Action{Action: string(r.Verb), Who: r.Who, Why: r.Why, When: l.stamp()}
	set := bson.D{{Key: "changed", Value: action.When}}

	if r.Verb == Replay {
		set = append(set, bson.E{Key: "state", Value: parked.Waiting}, bson.E{Key: "attempts", Value: 0})
	} else {
		set = append(set, bson.E{Key: "state", Value: parked.Discarded})
	}

	filter := append(bson.D{{Key: "flow", Value: l.flow}, {Key: "state", Value: parked.Dead}}, selection...)
	filter = append(filter, bson.E{Key: "$and", Value: changeable(r.Verb, outdated)})

	result, err := parked.Records(l.target).UpdateMany(ctx, filter, bson.D{
		{Key: "$set", Value: set},
		{Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
		{Key: "$push", Value: bson.D{{Key: "trail", Value: bson.D{
			{Key: "$each", Value: bson.A{action}}, {Key: "$slice", Value: -mostRemembered},
		}}}},
	})
	if err != nil {
		return action, 0, l.failed(err)
	}

	return action, uint64(max(result.ModifiedCount, 0)), nil
}

// stamp returns the present time, but no time twice: with who asked, it tells one action from every other.
func (l *Letters) stamp() time.Time {
	for {
		last := l.stamped.Load()

		next := max(time.Now().UnixMilli(), last+1)
		if l.stamped.CompareAndSwap(last, next) {
			return time.UnixMilli(next).UTC()
		}
	}
}

// changeable are the conditions under which a dead letter can be changed; refuse says the same in words.
func changeable(verb Verb, outdated []incarnation) bson.A {
	conditions := bson.A{
		bson.D{{Key: "rev", Value: bson.D{{Key: "$type", Value: "number"}}}},
		bson.D{{Key: "$or", Value: bson.A{
			bson.D{{Key: "trail", Value: bson.D{{Key: "$exists", Value: false}}}},
			bson.D{{Key: "trail", Value: bson.D{{Key: "$type", Value: "array"}}}},
		}}},
	}

	if verb != Replay {
		return conditions
	}

	conditions = append(conditions, bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: "event", Value: bson.D{{Key: "$exists", Value: true}}}},
		bson.D{{Key: "chunks", Value: bson.D{{Key: "$gt", Value: 0}}}},
		// The source's document takes the place of a run, and of what was dropped by age.
		bson.D{{Key: "events", Value: bson.D{{Key: "$gt", Value: 0}}}},
		bson.D{{Key: "dropped", Value: bson.D{{Key: "$exists", Value: true}}}},
	}}})

	conditions = append(conditions, bson.D{{Key: "operation", Value: bson.D{{Key: "$nin", Value: bson.A{event.Drop, event.DropDatabase, event.Rename}}}}})

	if len(outdated) > 0 {
		var former bson.A
		for i := range outdated {
			former = append(former, outdated[i])
		}

		conditions = append(conditions, bson.D{{Key: "$nor", Value: former}})
	}

	return conditions
}

// refuse says why a record cannot be changed; nil when it can.
func refuse(name string, letter *Letter, verb Verb, outdated []incarnation) *Refusal {
	switch {
	case letter == nil:
		return &Refusal{name, NotFound, "the flow has no record of this name"}
	case letter.Unreadable != "":
		return &Refusal{name, Unreadable, letter.Unreadable + "; mend it in atlas_relay.parked of the target"}
	case letter.State != parked.Dead:
		return &Refusal{name, NotDead, "it is " + string(letter.State) + lastAction(letter)}
	case verb != Replay:
		return nil
	case letter.Operation.TakesAway():
		return &Refusal{name, Unrepeatable, "a " + string(letter.Operation) +
			" that comes late may hit what the source has made since; make it by hand if it is still wanted, then discard it"}
	case letter.Event == nil && letter.Chunks == 0 && letter.IsKept():
		return &Refusal{name, NoEvent, "its event was not kept; bring the document up to the source by hand, then discard it"}
	case slices.ContainsFunc(outdated, func(i incarnation) bool { return i.is(&letter.Record) }):
		return &Refusal{name, OtherCollection, "a newer event of " + letter.Namespace().String() +
			" is of another collection: it was dropped or renamed since; discard it"}
	default:
		return nil
	}
}

func lastAction(letter *Letter) string {
	if len(letter.Trail) == 0 {
		return ""
	}

	a := letter.Trail[len(letter.Trail)-1]

	return fmt.Sprintf("; last action: %s by %s at %s", a.Action, a.Who, a.When.UTC().Format(time.RFC3339))
}

// look reads what refuse judges, by name. Of the event only one field is read, so that its presence is known.
func (l *Letters) look(ctx context.Context, filter bson.D, limit int64) (map[string]*Letter, error) {
	var projection bson.D
	for _, field := range []string{"rev", "state", "operation", "db", "coll", "collection_uuid", "chunks", "events", "dropped", "trail", "event.operationType"} {
		projection = append(projection, bson.E{Key: field, Value: 1})
	}

	cursor, err := parked.Records(l.target).Find(ctx, filter, options.Find().SetProjection(projection).SetLimit(limit))
	if err != nil {
		return nil, l.failed(err)
	}

	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, l.failed(err)
	}

	letters := make(map[string]*Letter, len(found))

	for _, raw := range found {
		letter := decode(raw)
		letters[letter.ID] = &letter
	}

	return letters, nil
}
