package apply

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// ledger is what a batch writes to the relay's own collections, on a target without transactions: before its
// checkpoint, so that nobody sees it, and behind it, from a list that the checkpoint carries. Whoever finds the list
// runs it, once or many times.
type ledger struct {
	intents []Note   // to be inserted, in the state parked.Intended
	guarded []bson.D // filters of records that must be as this owner knows them
	owed    []byte   // debts as BSON; nil for none
}

// debt is one write that a checkpoint owes. Running it twice is as good as once.
type debt struct {
	Collection string   `bson:"c"`
	Filter     bson.Raw `bson:"f"`
	Update     bson.Raw `bson:"u,omitempty"` // absent: delete what matches
	Upsert     bool     `bson:"i,omitempty"`
}

type debts struct {
	List []debt `bson:"l"`
}

func newLedger(flow string, plan *Plan) (*ledger, error) {
	notes := unsupportedNotes(flow, plan.unsupported)
	for i := range notes {
		notes[i].filter = later(notes[i].filter, plan.unsupported[i].Position)
	}

	l := &ledger{}

	var all debts

	for _, n := range append(notes, plan.notes...) {
		if n.kind == insertNote {
			l.intents = append(l.intents, n)
		}

		if n.kind == updateNote {
			l.guarded = append(l.guarded, n.filter)
		}

		d, owed, err := n.debt()
		if err != nil {
			return nil, err
		}

		if owed {
			all.List = append(all.List, d)
		}
	}

	if len(all.List) == 0 {
		return l, nil
	}

	var err error
	if l.owed, err = bson.Marshal(all); err != nil {
		return nil, fmt.Errorf("encode what the checkpoint owes: %w", err)
	}

	return l, nil
}

// debt is what remains to be done about a note once the checkpoint has moved.
func (n *Note) debt() (d debt, owed bool, err error) {
	filter, update := n.filter, n.document

	if n.kind == insertNote {
		record, ok := n.document.(*parked.Record)
		if !ok {
			return debt{}, false, nil // a chunk: it is seen with its record
		}

		filter = bson.D{{Key: "_id", Value: record.ID}, {Key: "state", Value: parked.Intended}}
		update = bson.D{{Key: "$set", Value: bson.D{{Key: "state", Value: record.State}}}}
	}

	d = debt{Collection: n.collection, Upsert: n.kind == upsertNote}

	if d.Filter, err = bson.Marshal(filter); err != nil {
		return debt{}, false, fmt.Errorf("encode what the checkpoint owes: %w", err)
	}

	if n.kind == deleteNote {
		return d, true, nil
	}

	if d.Update, err = bson.Marshal(update); err != nil {
		return debt{}, false, fmt.Errorf("encode what the checkpoint owes: %w", err)
	}

	return d, true, nil
}

// announce writes the intents, after a look whether the records are as this owner knows them. An operator who changes
// one after that look comes too late: the owner's change finds another rev and does nothing.
func (l *ledger) announce(ctx context.Context, client *mongo.Client) error {
	relay := client.Database(checkpoint.Database)

	if len(l.guarded) > 0 {
		n, err := parked.Records(client).CountDocuments(ctx, bson.D{{Key: "$or", Value: l.guarded}})
		if err != nil {
			return fmt.Errorf("look at parked records: %w", err)
		}

		if n != int64(len(l.guarded)) {
			return fmt.Errorf("%w: %d of %d are", ErrRecords, n, len(l.guarded))
		}
	}

	for i := range l.intents {
		if err := l.intents[i].intend(ctx, relay); err != nil {
			return fmt.Errorf("write to %s: %w", l.intents[i].collection, recordError(err))
		}
	}

	return nil
}

// intend writes what an insertion will be. One of an attempt before is replaced; a record that is seen already is
// refused: it has another owner.
func (n *Note) intend(ctx context.Context, relay *mongo.Database) error {
	replaceOrInsert := options.Replace().SetUpsert(true)

	var err error

	switch document := n.document.(type) {
	case *parked.Record:
		intended := *document
		intended.State = parked.Intended
		_, err = relay.Collection(n.collection).ReplaceOne(ctx,
			bson.D{{Key: "_id", Value: document.ID}, {Key: "state", Value: parked.Intended}}, &intended, replaceOrInsert)
	case parked.Chunk:
		_, err = relay.Collection(n.collection).ReplaceOne(ctx, bson.D{{Key: "_id", Value: document.ID}}, document, replaceOrInsert)
	default:
		err = fmt.Errorf("%w: %T is no record", ErrRecords, document)
	}

	return err
}

// pay does what a checkpoint owes.
func pay(ctx context.Context, client *mongo.Client, owed []byte) error {
	if len(owed) == 0 {
		return nil
	}

	var all debts
	if err := bson.Unmarshal(owed, &all); err != nil {
		return fmt.Errorf("%w: what the checkpoint owes cannot be read: %w", ErrForeignCheckpoint, err)
	}

	var (
		order  []string
		models = map[string][]mongo.WriteModel{}
	)

	for i := range all.List {
		d := &all.List[i]
		if models[d.Collection] == nil {
			order = append(order, d.Collection)
		}

		models[d.Collection] = append(models[d.Collection], d.model())
	}

	for _, collection := range order {
		_, err := client.Database(checkpoint.Database).Collection(collection).
			BulkWrite(ctx, models[collection], options.BulkWrite().SetOrdered(false))
		if err != nil && !isOnlyDuplicates(err) { // a count that has been raised
			return fmt.Errorf("write to %s: %w", collection, recordError(err))
		}
	}

	return nil
}

func (d *debt) model() mongo.WriteModel {
	if d.Update == nil {
		return mongo.NewDeleteManyModel().SetFilter(d.Filter)
	}

	return mongo.NewUpdateOneModel().SetFilter(d.Filter).SetUpdate(d.Update).SetUpsert(d.Upsert)
}

// Recover finishes what an owner before left half done on a target without transactions: it pays what the checkpoint
// owes and forgets intents that no checkpoint stands for. The checkpoint must be acquired, so that nobody adds to it.
func Recover(ctx context.Context, client *mongo.Client, held *checkpoint.Document) error {
	if err := pay(ctx, client, held.Owed); err != nil {
		return err
	}

	return parked.DeleteIntended(ctx, client, held.Flow, held.Partition)
}
