// Package deadletter reads and changes the records of parked events in a flow's target, as a person asks.
//
// A person only ever moves a dead letter: back to waiting, or to discarded. That is an update whose filter demands the
// state dead, so of two persons exactly one acts on a record, and repeating an action changes nothing. The update
// raises the record's Rev, by which the owner of the partition sees it, and names the action in the record (Act): what
// became of an action is counted from its records and stands nowhere else, so nothing that is restarted can lose it.
package deadletter

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/trouble"
)

// ErrNotFound says that the flow has no record of a name.
var ErrNotFound = errors.New("there is no such record")

// Letters are the records of one flow. Safe for concurrent use.
type Letters struct {
	flow   string
	target *mongo.Client
}

// New returns the records of a flow in its target.
func New(flow string, target *mongo.Client) *Letters { return &Letters{flow: flow, target: target} }

// Flow returns the name of the flow.
func (l *Letters) Flow() string { return l.flow }

// Letter is a record as it was found.
type Letter struct {
	parked.Record

	// Unreadable says why the record could not be decoded; then only its ID is set. Somebody edited it.
	Unreadable string
}

func decode(raw bson.Raw) Letter {
	var r parked.Record
	if err := bson.Unmarshal(raw, &r); err != nil {
		id, _ := raw.Lookup("_id").StringValueOK()

		return Letter{Record: parked.Record{ID: id}, Unreadable: "the record was edited by hand: " + err.Error()}
	}

	return Letter{Record: r}
}

// Content is a record with what only a look at one record shows.
type Content struct {
	Letter

	Event     bson.Raw // nil when Missing says why
	Missing   string
	Followers uint64 // later events of the document that wait

	// By Compare.
	Target        bson.Raw // the target's document; nil when TargetMissing says why
	TargetMissing string
	Differing     []string // paths where it is not what the event says
}

// Get returns a record with its event. It returns ErrNotFound and TargetError.
func (l *Letters) Get(ctx context.Context, id string) (Content, error) {
	raw, err := parked.Records(l.target).FindOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "flow", Value: l.flow}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return Content{}, fmt.Errorf("record %s of flow %s: %w", id, l.flow, ErrNotFound)
	}

	if err != nil {
		return Content{}, l.failed(err)
	}

	c := Content{Letter: decode(raw)}
	if c.Unreadable != "" {
		c.Missing = c.Unreadable

		return c, nil
	}

	c.Event, err = parked.LoadEvent(ctx, l.target, &c.Record)

	switch {
	case errors.Is(err, parked.ErrNoEvent), errors.Is(err, parked.ErrDamaged):
		c.Missing = err.Error()
	case err != nil:
		return Content{}, l.failed(err)
	}

	c.Followers, err = l.followers(ctx, &c.Record)

	return c, err
}

// followers returns how many later events of the record's document wait. A run counts as the events that it stands for.
func (l *Letters) followers(ctx context.Context, r *parked.Record) (uint64, error) {
	cursor, err := parked.Records(l.target).Aggregate(ctx, bson.A{
		bson.D{{Key: "$match", Value: bson.D{
			{Key: "flow", Value: l.flow},
			{Key: "state", Value: parked.Waiting},
			{Key: "key", Value: r.Key},
			{Key: "number", Value: bson.D{{Key: "$gt", Value: r.Number}}},
		}}},
		bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: nil},
			{Key: "events", Value: bson.D{{Key: "$sum", Value: bson.D{{Key: "$ifNull", Value: bson.A{"$events", 1}}}}}},
		}}},
	})
	if err != nil {
		return 0, l.failed(err)
	}

	var found []struct {
		Events int64 `bson:"events"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return 0, l.failed(err)
	}

	if len(found) == 0 {
		return 0, nil
	}

	return uint64(max(found[0].Events, 0)), nil
}

// MostCounted is where Count ends: a number to look at need not be exact, and a sample must stay cheap.
const MostCounted = 10_000

// Count returns how many records are in a state, at most MostCounted.
func (l *Letters) Count(ctx context.Context, state parked.State) (uint64, error) {
	n, err := parked.Records(l.target).CountDocuments(ctx,
		bson.D{{Key: "flow", Value: l.flow}, {Key: "state", Value: state}}, options.Count().SetLimit(MostCounted))
	if err != nil {
		return 0, l.failed(err)
	}

	return uint64(max(n, 0)), nil
}

// Oldest returns the record of a state whose event is the first in the source's order, without its event; nil when there
// is none.
func (l *Letters) Oldest(ctx context.Context, state parked.State) (*Letter, error) {
	letters, err := l.find(ctx, bson.D{{Key: "flow", Value: l.flow}, {Key: "state", Value: state}}, 1)
	if err != nil || len(letters) == 0 {
		return nil, err
	}

	first := decode(letters[0])

	return &first, nil
}

// find returns records in the source's order, without content of documents.
func (l *Letters) find(ctx context.Context, filter bson.D, limit int64) ([]bson.Raw, error) {
	cursor, err := parked.Records(l.target).Find(ctx, filter, options.Find().
		SetLimit(limit).
		SetProjection(bson.D{{Key: "event", Value: 0}, {Key: "document_key", Value: 0}}).
		SetSort(bson.D{
			{Key: "position.t", Value: 1}, {Key: "position.i", Value: 1}, {Key: "position.ordinal", Value: 1}, {Key: "_id", Value: 1},
		}))
	if err != nil {
		return nil, l.failed(err)
	}

	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, l.failed(err)
	}

	return found, nil
}

func (l *Letters) failed(err error) error { return &trouble.TargetError{Flow: l.flow, Err: err} }
