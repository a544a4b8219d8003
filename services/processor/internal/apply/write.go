package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/xoptions"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// write runs the statements of the transaction: the checkpoint first, then what
// the relay remembers, then the data.
func (a *Applier) write(ctx context.Context, plan *Plan, last, next *checkpoint.Document) error {
	if err := failpoint.Error(failpoint.TransactionBegun); err != nil {
		return err
	}

	notes := append(unsupportedNotes(last.Flow, plan.unsupported), plan.notes...)

	if a.options.ClientBulkWrite {
		return a.bulkWrite(ctx, plan, last, next, notes)
	}

	return a.writeByCollection(ctx, plan, last, next, notes)
}

func byID(id bson.RawValue) bson.D { return bson.D{{Key: "_id", Value: id}} }

// bulkWrite sends everything in one command, the guarded checkpoint first; in two when there are scouts.
func (a *Applier) bulkWrite(ctx context.Context, plan *Plan, last, next *checkpoint.Document, notes []Note) error {
	models := make([]mongo.ClientBulkWrite, 0, 1+len(notes)+len(plan.writes))
	add := func(db, coll string, model mongo.ClientWriteModel) {
		models = append(models, mongo.ClientBulkWrite{Database: db, Collection: coll, Model: model})
	}

	add(checkpoint.Database, checkpoint.Collection,
		mongo.NewClientUpdateOneModel().SetFilter(guard(last)).SetUpdate(advance(last, next)))

	matched := int64(0)

	if plan.scouts > 0 {
		for i := range plan.writes[:plan.scouts] {
			w := &plan.writes[i]
			add(w.ns.DB, w.ns.Coll, w.clientModel())
		}

		n, err := a.sendBulk(ctx, models)
		if err != nil {
			return bulkWriteError(plan.writes[:plan.scouts], 1, 1, err)
		}

		if err := failpoint.Error(failpoint.ScoutsWritten); err != nil {
			return err
		}

		matched, models = n, models[:0]
	}

	own := len(models) + len(notes) // writes of the relay's in this command

	for i := range notes {
		add(checkpoint.Database, notes[i].collection, notes[i].clientModel())
	}

	for i := range plan.writes[plan.scouts:] {
		w := &plan.writes[plan.scouts+i]
		add(w.ns.DB, w.ns.Coll, w.clientModel())
	}

	if len(models) > 0 {
		n, err := a.sendBulk(ctx, models)
		if err != nil {
			return bulkWriteError(plan.writes[plan.scouts:], own-len(notes), own, err)
		}

		matched += n
	}

	return a.counted(ctx, plan, last, matched, 1+counting(notes))
}

// sendBulk returns how many documents matched, were inserted or upserted.
func (a *Applier) sendBulk(ctx context.Context, models []mongo.ClientBulkWrite) (int64, error) {
	opts := options.ClientBulkWrite().SetOrdered(true).SetBypassDocumentValidation(a.options.BypassValidation)
	if err := xoptions.SetInternalClientBulkWriteOptions(opts, "addCommandFields", a.keepEmptyTimestamps()); err != nil {
		return 0, fmt.Errorf("set bulkWrite options: %w", err)
	}

	result, err := a.client.BulkWrite(ctx, models, opts)
	if err != nil {
		return 0, err
	}

	return result.MatchedCount + result.UpsertedCount + result.InsertedCount, nil
}

// keepEmptyTimestamps stops the server from replacing Timestamp(0, 0) by the
// present time: the source has stored a zero. MongoDB 8.0 has the field, and so have
// 7.0.13, 6.0.17 and their followers (SERVER-88750); others refuse the command for it.
func (t *Target) keepEmptyTimestamps() bson.D {
	if t.noBypass.Load() {
		return nil
	}

	return bson.D{{Key: "bypassEmptyTsReplacement", Value: true}}
}

// pipeline puts the image in place of the document where mongod refuses to replace it: a top-level name that begins with a
// dollar may be inserted, and may come from a pipeline, but stand in no replacement of what is there. It is nil for others:
// https://www.mongodb.com/docs/manual/core/dot-dollar-considerations/dollar-prefix/
func (w *write) pipeline() mongo.Pipeline {
	plain := eachField(w.document, func(_ bson.Type, name, _ []byte) (more bool) { return !bytes.HasPrefix(name, []byte("$")) })
	if plain {
		return nil
	}

	return mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$literal", Value: w.document}}}}}
}

func (w *write) clientModel() mongo.ClientWriteModel {
	switch w.kind {
	case replace:
		if pipeline := w.pipeline(); pipeline != nil {
			return mongo.NewClientUpdateOneModel().SetFilter(byID(w.id)).SetUpdate(pipeline).SetUpsert(true)
		}

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
		if pipeline := w.pipeline(); pipeline != nil {
			return mongo.NewUpdateOneModel().SetFilter(byID(w.id)).SetUpdate(pipeline).SetUpsert(true)
		}

		return mongo.NewReplaceOneModel().SetFilter(byID(w.id)).SetReplacement(w.document).SetUpsert(true)
	case update:
		return mongo.NewUpdateOneModel().SetFilter(byID(w.id)).SetUpdate(w.document)
	default:
		return mongo.NewDeleteOneModel().SetFilter(byID(w.id))
	}
}

// bulkWriteError finds the event that a failed bulkWrite blames. Its models are the checkpoint's, those of notes from
// first on, and those of the writes from before on.
func bulkWriteError(writes []write, first, before int, err error) error {
	var failed mongo.ClientBulkWriteException
	if mongodb.IsDocumentError(err) && errors.As(err, &failed) {
		// The index of a WriteError inside is that of its own reply; the map's
		// key is the index of the model.
		for index := range failed.WriteErrors {
			switch w := index - before; {
			case w >= 0 && w < len(writes):
				return newEventError(writes[w].change, err)
			case w < 0 && index >= first:
				return fmt.Errorf("%w: %w", ErrRecords, err)
			}
		}
	}

	return fmt.Errorf("write batch: %w", err)
}

// writeByCollection does the same with the commands that every version has.
// Writes of different collections do not depend on each other's order.
func (a *Applier) writeByCollection(ctx context.Context, plan *Plan, last, next *checkpoint.Document, notes []Note) error {
	relay := a.client.Database(checkpoint.Database)

	result, err := relay.Collection(checkpoint.Collection).UpdateOne(ctx, guard(last), advance(last, next))
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}

	if result.MatchedCount != 1 {
		return errGuard
	}

	if err := failpoint.Error(failpoint.CheckpointWritten); err != nil {
		return err
	}

	matched := int64(1)

	for i := range notes {
		n, err := notes[i].run(ctx, relay)
		if err != nil {
			return fmt.Errorf("write to %s: %w", notes[i].collection, recordError(err))
		}

		matched += n
	}

	n, err := a.writeGroups(ctx, plan.writes)
	if err != nil {
		return err
	}

	return a.counted(ctx, plan, last, matched+n, 1+counting(notes))
}

// recordError is ErrRecords for a refusal of the target, and the error itself for trouble.
func recordError(err error) error {
	if mongodb.IsDocumentError(err) {
		return fmt.Errorf("%w: %w", ErrRecords, err)
	}

	return err
}

// writeGroups returns how many documents matched or were inserted.
func (a *Applier) writeGroups(ctx context.Context, writes []write) (matched int64, err error) {
	for _, group := range byNamespace(writes) {
		n, err := a.writeGroup(ctx, group)
		if err != nil {
			return 0, err
		}

		matched += n
	}

	return matched, nil
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
	if err := xoptions.SetInternalBulkWriteOptions(opts, "addCommandFields", a.keepEmptyTimestamps()); err != nil {
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
	want := others + plan.addressed()
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

	switch {
	case guarded == 0:
		return errGuard
	case missing == nil && len(plan.notes) > 0:
		return ErrRecords
	case missing == nil:
		return errGuard
	default:
		return newEventError(missing, ErrMissingDocument)
	}
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
