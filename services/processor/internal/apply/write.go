package apply

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/xoptions"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// write runs the statements of the transaction: the checkpoint first, then what
// was only taken note of, then the data.
func (a *Applier) write(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	notes := notes(last.Flow, plan.unsupported)

	if a.options.ClientBulkWrite {
		return a.bulkWrite(ctx, plan, last, next, notes)
	}

	return a.writeByCollection(ctx, plan, last, next, notes)
}

// note is the update that counts unsupported events of one kind.
type note struct {
	id     string
	update bson.D
}

func notes(flow string, changes []Change) []note {
	list := make([]note, len(changes))

	for i := range changes {
		c := &changes[i]
		ns, op := c.Event.Namespace, c.Event.Operation

		list[i] = note{
			id: checkpoint.UnsupportedID(flow, ns, op),
			update: bson.D{
				{Key: "$setOnInsert", Value: bson.D{
					{Key: "flow", Value: flow},
					{Key: "db", Value: ns.DB},
					{Key: "coll", Value: ns.Coll},
					{Key: "operation", Value: string(op)},
					{Key: "diverges", Value: Diverges(op)},
					{Key: "first", Value: c.Position},
				}},
				{Key: "$set", Value: bson.D{{Key: "last", Value: c.Position}}},
				{Key: "$inc", Value: bson.D{{Key: "events", Value: int64(1)}}},
			},
		}
	}

	return list
}

func byID(id bson.RawValue) bson.D { return bson.D{{Key: "_id", Value: id}} }

// bulkWrite sends everything in one command, the guarded checkpoint first.
func (a *Applier) bulkWrite(ctx context.Context, plan *Plan, last, next *checkpoint.Document, notes []note) error {
	models := make([]mongo.ClientBulkWrite, 0, 1+len(notes)+len(plan.writes))
	add := func(db, coll string, model mongo.ClientWriteModel) {
		models = append(models, mongo.ClientBulkWrite{Database: db, Collection: coll, Model: model})
	}

	add(checkpoint.Database, checkpoint.Collection,
		mongo.NewClientUpdateOneModel().SetFilter(guard(last)).SetUpdate(advance(next)))

	for _, n := range notes {
		add(checkpoint.Database, checkpoint.Unsupported,
			mongo.NewClientUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: n.id}}).SetUpdate(n.update).SetUpsert(true))
	}

	for i := range plan.writes {
		w := &plan.writes[i]
		add(w.ns.DB, w.ns.Coll, w.clientModel())
	}

	opts := options.ClientBulkWrite().SetOrdered(true).SetBypassDocumentValidation(a.options.BypassValidation)
	if err := xoptions.SetInternalClientBulkWriteOptions(opts, "addCommandFields", keepEmptyTimestamps()); err != nil {
		return fmt.Errorf("set bulkWrite options: %w", err)
	}

	result, err := a.client.BulkWrite(ctx, models, opts)
	if err != nil {
		return bulkWriteError(plan, 1+len(notes), err)
	}

	return a.counted(ctx, plan, last, result.MatchedCount+result.UpsertedCount, int64(1+len(notes)))
}

// keepEmptyTimestamps stops the server from replacing Timestamp(0, 0) by the
// present time: the source has stored a zero.
func keepEmptyTimestamps() bson.D {
	return bson.D{{Key: "bypassEmptyTsReplacement", Value: true}}
}

func (w *write) clientModel() mongo.ClientWriteModel {
	switch w.kind {
	case replace:
		return mongo.NewClientReplaceOneModel().SetFilter(byID(w.id)).SetReplacement(w.document).SetUpsert(true)
	case update:
		return mongo.NewClientUpdateOneModel().SetFilter(byID(w.id)).SetUpdate(w.document)
	default:
		return mongo.NewClientDeleteOneModel().SetFilter(byID(w.id))
	}
}

func (w *write) model() mongo.WriteModel {
	switch w.kind {
	case replace:
		return mongo.NewReplaceOneModel().SetFilter(byID(w.id)).SetReplacement(w.document).SetUpsert(true)
	case update:
		return mongo.NewUpdateOneModel().SetFilter(byID(w.id)).SetUpdate(w.document)
	default:
		return mongo.NewDeleteOneModel().SetFilter(byID(w.id))
	}
}

// bulkWriteError finds the event that a failed bulkWrite blames. before is the
// number of models before the first write.
func bulkWriteError(plan *Plan, before int, err error) error {
	var failed mongo.ClientBulkWriteException
	if mongodb.IsDocumentError(err) && errors.As(err, &failed) {
		// The index of a WriteError inside is that of its own reply; the map's
		// key is the index of the model.
		for index := range failed.WriteErrors {
			if w := index - before; w >= 0 && w < len(plan.writes) {
				return newEventError(plan.writes[w].change, err)
			}
		}
	}

	return fmt.Errorf("write batch: %w", err)
}

// writeByCollection does the same with the commands that every version has.
// Writes of different collections do not depend on each other's order.
func (a *Applier) writeByCollection(ctx context.Context, plan *Plan, last, next *checkpoint.Document, notes []note) error {
	relay := a.client.Database(checkpoint.Database)

	result, err := relay.Collection(checkpoint.Collection).UpdateOne(ctx, guard(last), advance(next))
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}

	if result.MatchedCount != 1 {
		return errGuard
	}

	for _, n := range notes {
		_, err := relay.Collection(checkpoint.Unsupported).
			UpdateOne(ctx, bson.D{{Key: "_id", Value: n.id}}, n.update, options.UpdateOne().SetUpsert(true))
		if err != nil {
			return fmt.Errorf("write unsupported event: %w", err)
		}
	}

	matched := int64(1 + len(notes))

	for _, group := range byNamespace(plan.writes) {
		n, err := a.writeGroup(ctx, group)
		if err != nil {
			return err
		}

		matched += n
	}

	return a.counted(ctx, plan, last, matched, int64(1+len(notes)))
}

func byNamespace(writes []write) [][]*write {
	var (
		order  []event.Namespace
		groups = map[event.Namespace][]*write{}
	)

	for i := range writes {
		ns := writes[i].ns
		if groups[ns] == nil {
			order = append(order, ns)
		}

		groups[ns] = append(groups[ns], &writes[i])
	}

	list := make([][]*write, len(order))
	for i, ns := range order {
		list[i] = groups[ns]
	}

	return list
}

func (a *Applier) writeGroup(ctx context.Context, group []*write) (matched int64, err error) {
	models := make([]mongo.WriteModel, len(group))
	for i, w := range group {
		models[i] = w.model()
	}

	opts := options.BulkWrite().SetOrdered(true).SetBypassDocumentValidation(a.options.BypassValidation)
	if err := xoptions.SetInternalBulkWriteOptions(opts, "addCommandFields", keepEmptyTimestamps()); err != nil {
		return 0, fmt.Errorf("set bulkWrite options: %w", err)
	}

	ns := group[0].ns

	result, err := a.client.Database(ns.DB).Collection(ns.Coll).BulkWrite(ctx, models, opts)
	if err == nil {
		return result.MatchedCount + result.UpsertedCount, nil
	}

	var failed mongo.BulkWriteException
	if mongodb.IsDocumentError(err) && errors.As(err, &failed) && len(failed.WriteErrors) > 0 {
		if index := failed.WriteErrors[0].Index; index >= 0 && index < len(group) {
			return 0, newEventError(group[index].change, err)
		}
	}

	return 0, fmt.Errorf("write batch to %s: %w", ns, err)
}

// counted compares what matched with what was sent: others statements and every
// update and replacement of the plan. When less matched, it finds out whether
// the guard or a document was missing.
func (a *Applier) counted(ctx context.Context, plan *Plan, last *checkpoint.Document, matched, others int64) error {
	want := others

	for i := range plan.writes {
		if plan.writes[i].kind != remove {
			want++
		}
	}

	if matched == want {
		return nil
	}

	if matched > want {
		return fmt.Errorf("write batch: %d documents matched, %d were addressed", matched, want)
	}

	missing, err := a.missing(ctx, plan)
	if err != nil {
		return err
	}

	// The transaction has written its own checkpoint if the guard matched, so
	// it is asked whether that is so.
	guarded, err := a.client.Database(checkpoint.Database).Collection(checkpoint.Collection).
		CountDocuments(ctx, bson.D{{Key: "_id", Value: last.ID}, {Key: "epoch", Value: last.Epoch}, {Key: "owner", Value: last.Owner}, {Key: "commits", Value: last.Commits + 1}})
	if err != nil {
		return fmt.Errorf("read checkpoint in transaction: %w", err)
	}

	if guarded == 0 || missing == nil {
		return errGuard
	}

	return newEventError(missing, ErrMissingDocument)
}

// missing finds the first change whose update addresses a document that the
// target does not have. Documents that the batch itself created or deleted
// before the update are followed in the plan.
func (a *Applier) missing(ctx context.Context, plan *Plan) (*Change, error) {
	exists := map[event.Key]bool{}

	for i := range plan.writes {
		w := &plan.writes[i]

		key, err := event.NewKey(w.ns, w.id)
		if err != nil {
			return nil, newEventError(w.change, err)
		}

		switch w.kind {
		case replace:
			exists[key] = true
		case remove:
			exists[key] = false
		case update:
			known, seen := exists[key]
			if !seen {
				known, err = a.present(ctx, w)
				if err != nil {
					return nil, err
				}

				exists[key] = known
			}

			if !known {
				return w.change, nil
			}
		}
	}

	return nil, nil //nolint:nilnil // nothing is missing
}

// present tells whether the document of an update is there. Within the
// transaction that is what the update saw: an image or a delete that came later
// in the batch would have superseded the update.
func (a *Applier) present(ctx context.Context, w *write) (bool, error) {
	n, err := a.client.Database(w.ns.DB).Collection(w.ns.Coll).CountDocuments(ctx, byID(w.id))
	if err != nil {
		return false, fmt.Errorf("look for the document of an update: %w", err)
	}

	return n > 0, nil
}
