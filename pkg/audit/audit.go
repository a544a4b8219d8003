// Package audit is the record of what people did to a flow, in the collection atlas_relay.audit of its target.
//
// An action is recorded before it begins, and it does not begin unless it is recorded; its end is a second record. So the
// writer needs the right to insert and no other, and nobody who has that alone can change what he did. An action without
// an end is under way, or its writer or the target ended before it.
package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Collection is where the records are, in checkpoint.Database of the target.
const Collection = "audit"

// endSuffix makes the ID of an end of that of its action.
const endSuffix = "/end"

// Action is one action on a flow.
type Action struct {
	ID        string    `bson:"_id"` // see Begin: IDs of a flow are ordered by time
	Flow      string    `bson:"flow"`
	Action    string    `bson:"action"`        // "dead-letters replay"
	Who       string    `bson:"who"`           // for a person
	Why       string    `bson:"why,omitempty"` // in his words
	Time      time.Time `bson:"time"`          // by the writer's clock
	Selection string    `bson:"selection"`     // what it was for, in words

	End *End `bson:"-"` // nil while not recorded
}

// End is how an action ended. Numbers are signed because BSON has no other; none is ever negative.
type End struct {
	ID      string    `bson:"_id"`
	Flow    string    `bson:"flow"`
	Of      string    `bson:"end_of"` // ID of the action
	Time    time.Time `bson:"time"`
	Changed int64     `bson:"changed"`          // records
	Refused int64     `bson:"refused"`          // records that were left as they were
	Left    []Left    `bson:"left,omitempty"`   // the first of these
	Failed  string    `bson:"failed,omitempty"` // why it ended early
}

// Left is a record that an action left as it was.
type Left struct {
	Name   string `bson:"name"`
	Reason int    `bson:"reason"` // for programs, as the package has it that acted
	Why    string `bson:"why"`
}

// ErrNotFound says that the flow has no action of an ID.
var ErrNotFound = errors.New("there is no such action")

// Begin records an action and sets its ID and Time. Where it returns an error the action must not begin.
func Begin(ctx context.Context, target *mongo.Client, a *Action) error {
	a.Time = time.Now().UTC().Truncate(time.Millisecond)
	a.ID = fmt.Sprintf("%s/%013d/%s", a.Flow, a.Time.UnixMilli(), rand.Text())

	if _, err := records(target).InsertOne(ctx, a); err != nil {
		return fmt.Errorf("record the action in %s.%s: %w", checkpoint.Database, Collection, err)
	}

	return nil
}

// Finish records how the action ended.
func (a *Action) Finish(ctx context.Context, target *mongo.Client, end End) error {
	end.ID, end.Of, end.Flow, end.Time = a.ID+endSuffix, a.ID, a.Flow, time.Now().UTC()

	if _, err := records(target).InsertOne(ctx, end); err != nil {
		return fmt.Errorf("record the end of the action in %s.%s: %w", checkpoint.Database, Collection, err)
	}

	return nil
}

// Close is Finish for an action that changed so much and ended with err, also when ctx has ended. Where its end is not
// recorded the audit says just that: what was done is done.
func (a *Action) Close(ctx context.Context, target *mongo.Client, changed int, err error) {
	end := End{Changed: int64(changed)}
	if err != nil {
		end.Failed = err.Error()
	}

	_ = a.Finish(context.WithoutCancel(ctx), target, end)
}

// Get returns an action on a flow. It returns ErrNotFound.
func Get(ctx context.Context, target *mongo.Client, flow, id string) (*Action, error) {
	var (
		actions []Action
		ends    []End
	)

	of := func(id string, isEnd bool) bson.D {
		return bson.D{{Key: "_id", Value: id}, {Key: "flow", Value: flow}, {Key: "end_of", Value: bson.D{{Key: "$exists", Value: isEnd}}}}
	}

	if err := find(ctx, target, of(id, false), options.Find(), &actions); err != nil {
		return nil, err
	}

	if len(actions) == 0 {
		return nil, fmt.Errorf("action %s on flow %s: %w", id, flow, ErrNotFound)
	}

	if err := find(ctx, target, of(id+endSuffix, true), options.Find(), &ends); err != nil {
		return nil, err
	}

	if len(ends) > 0 {
		actions[0].End = &ends[0]
	}

	return &actions[0], nil
}

// List returns actions on a flow, the latest first: those before the one with the ID before, or the first ones when that
// is empty.
func List(ctx context.Context, target *mongo.Client, flow, before string, limit int) ([]Action, error) {
	end := before
	if end == "" {
		end = flow + "0" // the character behind "/"
	}

	filter := bson.D{
		{Key: "_id", Value: bson.D{{Key: "$gt", Value: flow + "/"}, {Key: "$lt", Value: end}}},
		{Key: "flow", Value: flow},
		{Key: "end_of", Value: bson.D{{Key: "$exists", Value: false}}},
	}

	var actions []Action
	if err := find(ctx, target, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetLimit(int64(limit)), &actions); err != nil {
		return nil, err
	}

	ids := make(bson.A, len(actions))
	for i := range actions {
		ids[i] = actions[i].ID + endSuffix
	}

	var ends []End
	if err := find(ctx, target, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find(), &ends); err != nil {
		return nil, err
	}

	byAction := make(map[string]*End, len(ends))
	for i := range ends {
		byAction[ends[i].Of] = &ends[i]
	}

	for i := range actions {
		actions[i].End = byAction[actions[i].ID]
	}

	return actions, nil
}

func find[T any](ctx context.Context, target *mongo.Client, filter bson.D, order *options.FindOptionsBuilder, into *[]T) error {
	cursor, err := records(target).Find(ctx, filter, order)
	if err == nil {
		err = cursor.All(ctx, into)
	}

	if err != nil {
		return fmt.Errorf("read %s.%s: %w", checkpoint.Database, Collection, err)
	}

	return nil
}

func records(target *mongo.Client) *mongo.Collection {
	return target.Database(checkpoint.Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetReadPreference(readpref.Primary())).Collection(Collection)
}
