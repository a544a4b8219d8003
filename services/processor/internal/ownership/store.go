package ownership

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// Store is what a partition asks of the target beside its transactions. Errors are
// those of the functions of pkg/checkpoint and pkg/parked that StoreOf calls.
type Store interface {
	// Checkpoint returns that of a partition; present is false where it has none.
	Checkpoint(ctx context.Context, flow string, partition int) (held checkpoint.Document, present bool, err error)
	Checkpoints(ctx context.Context, flow string) (map[int]checkpoint.Document, error)
	// Insert makes the first checkpoint of a partition. Errors: ErrLostRace.
	Insert(ctx context.Context, owned *checkpoint.Document) error
	// Raise makes the checkpoint held that of another ownership; moved: its place is another one too.
	// Errors: ErrLostRace where it is not as it was read.
	Raise(ctx context.Context, held, owned *checkpoint.Document, moved bool) error

	RememberSession(ctx context.Context, flow string, partition int, session bson.Binary) error
	EndTransactions(ctx context.Context, session bson.Binary) error
	// Recover is apply.Recover.
	Recover(ctx context.Context, held *checkpoint.Document) error
	Barriers(ctx context.Context, flow string) (barrier.Document, error)
	// Pause returns what a person has paused.
	Pause(ctx context.Context, flow string) (pause.Document, error)

	Headers(ctx context.Context, flow string, partition int, visit func(*parked.Record) error, states ...parked.State) error
	Covered(ctx context.Context, flow string, partition int) ([]parked.Covered, error)
	Records(ctx context.Context, ids []string) ([]parked.Record, error)
	Events(ctx context.Context, ids []string) (map[string]bson.Raw, error)
	Replays(ctx context.Context, flow string, partition int) ([]parked.Record, error)
	Earliest(ctx context.Context, flow string, limit int64) ([]event.Position, error)
}

// Applier is *apply.Applier.
type Applier interface {
	Commit(ctx context.Context, plan *apply.Plan, last, next *checkpoint.Document) error
	Spent() bool
}

// deployment is the store of a real target.
type deployment struct{ client *mongo.Client }

// StoreOf returns the store of a target.
func StoreOf(client *mongo.Client) Store { return deployment{client} }

func (d deployment) Checkpoint(ctx context.Context, flow string, partition int) (checkpoint.Document, bool, error) {
	return checkpoint.LoadOne(ctx, d.client, flow, partition)
}

func (d deployment) Checkpoints(ctx context.Context, flow string) (map[int]checkpoint.Document, error) {
	return checkpoint.Load(ctx, d.client, flow)
}

func (d deployment) Insert(ctx context.Context, owned *checkpoint.Document) error {
	_, err := checkpoint.Checkpoints(d.client).InsertOne(ctx, owned)
	if mongodb.IsDuplicateKey(err) {
		return ErrLostRace
	}

	return err
}

func (d deployment) Raise(ctx context.Context, held, owned *checkpoint.Document, moved bool) error {
	filter, update := Raising(held, owned, moved)

	result, err := checkpoint.Checkpoints(d.client).UpdateOne(ctx, filter, update)
	if err != nil {
		return err
	}

	if result.MatchedCount == 0 {
		return ErrLostRace
	}

	return nil
}

// Raising is the update by which an ownership begins: only the checkpoint as it was read passes the filter.
func Raising(held, owned *checkpoint.Document, moved bool) (filter, update bson.D) {
	set := bson.D{{Key: "epoch", Value: owned.Epoch}, {Key: "owner", Value: owned.Owner}, {Key: "session", Value: owned.Session}}
	if moved {
		set = append(set, bson.E{Key: "place", Value: owned.Place})
	}

	update = bson.D{{Key: "$set", Value: set}}
	if held.Gap != nil && owned.Gap == nil {
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "gap", Value: ""}}})
	}

	return bson.D{{Key: "_id", Value: held.ID}, {Key: "epoch", Value: held.Epoch}, {Key: "owner", Value: held.Owner}, {Key: "commits", Value: held.Commits}}, update
}

func (d deployment) RememberSession(ctx context.Context, flow string, partition int, session bson.Binary) error {
	return checkpoint.RememberSession(ctx, d.client, flow, partition, session)
}

func (d deployment) EndTransactions(ctx context.Context, session bson.Binary) error {
	return apply.EndTransactions(ctx, d.client, session)
}

func (d deployment) Recover(ctx context.Context, held *checkpoint.Document) error {
	return apply.Recover(ctx, d.client, held)
}

func (d deployment) Barriers(ctx context.Context, flow string) (barrier.Document, error) {
	return barrier.Load(ctx, d.client, flow)
}

func (d deployment) Pause(ctx context.Context, flow string) (pause.Document, error) {
	return pause.Load(ctx, d.client, flow)
}

func (d deployment) Headers(ctx context.Context, flow string, partition int, visit func(*parked.Record) error, states ...parked.State) error {
	return parked.Headers(ctx, d.client, flow, partition, visit, states...)
}

func (d deployment) Covered(ctx context.Context, flow string, partition int) ([]parked.Covered, error) {
	return parked.LoadCovered(ctx, d.client, flow, partition)
}

func (d deployment) Records(ctx context.Context, ids []string) ([]parked.Record, error) {
	return parked.LoadIDs(ctx, d.client, ids)
}

func (d deployment) Events(ctx context.Context, ids []string) (map[string]bson.Raw, error) {
	return parked.Events(ctx, d.client, ids)
}

func (d deployment) Replays(ctx context.Context, flow string, partition int) ([]parked.Record, error) {
	return parked.LoadReplays(ctx, d.client, flow, partition)
}

func (d deployment) Earliest(ctx context.Context, flow string, limit int64) ([]event.Position, error) {
	return parked.Earliest(ctx, d.client, flow, limit)
}
