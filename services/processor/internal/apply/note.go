package apply

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Note is a write to one of the relay's own collections that commits with the
// data: what it says is true exactly when the data is there.
type Note struct {
	collection string
	kind       noteKind
	filter     bson.D
	document   any // to insert, or the update
}

type noteKind int

const (
	insertNote noteKind = iota
	updateNote          // must match one document
	upsertNote
	deleteNote // of as many as there are
)

// InsertNote adds a document that must not exist.
func InsertNote(collection string, document any) Note {
	return Note{collection: collection, kind: insertNote, document: document}
}

// UpdateNote changes a document that must match; one that does not ends the
// transaction with ErrRecords.
func UpdateNote(collection string, filter, update bson.D) Note {
	return Note{collection: collection, kind: updateNote, filter: filter, document: update}
}

// UpsertNote changes a document, or makes it.
func UpsertNote(collection string, filter, update bson.D) Note {
	return Note{collection: collection, kind: upsertNote, filter: filter, document: update}
}

// DeleteNote deletes what matches, if anything does. Where something must, put
// an UpdateNote before it: deletes of the data, which may match nothing, are
// counted together with these.
func DeleteNote(collection string, filter bson.D) Note {
	return Note{collection: collection, kind: deleteNote, filter: filter}
}

// counting returns how many documents the notes must match, insert or upsert.
func counting(notes []Note) int64 {
	n := int64(0)

	for i := range notes {
		if notes[i].kind != deleteNote {
			n++
		}
	}

	return n
}

func (n *Note) clientModel() mongo.ClientWriteModel {
	switch n.kind {
	case insertNote:
		return mongo.NewClientInsertOneModel().SetDocument(n.document)
	case updateNote, upsertNote:
		return mongo.NewClientUpdateOneModel().SetFilter(n.filter).SetUpdate(n.document).SetUpsert(n.kind == upsertNote)
	default:
		return mongo.NewClientDeleteManyModel().SetFilter(n.filter)
	}
}

// run writes the note by itself and returns what counts.
func (n *Note) run(ctx context.Context, relay *mongo.Database) (int64, error) {
	coll := relay.Collection(n.collection)

	switch n.kind {
	case insertNote:
		_, err := coll.InsertOne(ctx, n.document)

		return 1, err
	case updateNote, upsertNote:
		result, err := coll.UpdateOne(ctx, n.filter, n.document, options.UpdateOne().SetUpsert(n.kind == upsertNote))
		if err != nil {
			return 0, err
		}

		return result.MatchedCount + result.UpsertedCount, nil
	default:
		_, err := coll.DeleteMany(ctx, n.filter)

		return 0, err
	}
}

// unsupportedNotes count the events that could only be taken note of.
func unsupportedNotes(flow string, changes []Change) []Note {
	list := make([]Note, len(changes))

	for i := range changes {
		c := &changes[i]
		ns, op := c.Event.Namespace, c.Event.Operation

		list[i] = UpsertNote(checkpoint.Unsupported, bson.D{{Key: "_id", Value: checkpoint.UnsupportedID(flow, ns, op)}}, bson.D{
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
		})
	}

	return list
}
