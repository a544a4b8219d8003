package ownership

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// notes are the writes to the relay's own collections that a lot's effects mean.
func (l *lane) notes(u *unit, fx *park.Effects) []apply.Note {
	var notes []apply.Note

	for i := range fx.Inserts {
		notes = append(notes, l.insertion(u.batch[fx.Inserts[i].Item], u.lot.Items[fx.Inserts[i].Item].Key, &fx.Inserts[i])...)
	}

	for _, e := range fx.Deletes {
		notes = append(notes, deletion(e)...)
	}

	for i := range fx.Updates {
		notes = append(notes, alteration(&fx.Updates[i], l.now().UTC())...)
	}

	if c := fx.Cover; c != nil {
		notes = append(notes, apply.UpsertNote(parked.Refetched, l.coveredID(c.Key), bson.D{{Key: "$set", Value: parked.Covered{
			ID: parked.CoveredID(l.held.Flow, l.held.Partition, c.Key), Flow: l.held.Flow, Partition: l.held.Partition,
			Key: bson.Binary{Data: []byte(c.Key)}, DocumentKey: u.changes[0].Event.DocumentKey, Time: c.Time,
		}}}))
	}

	for _, key := range fx.Forget {
		notes = append(notes, apply.DeleteNote(parked.Refetched, l.coveredID(key)))
	}

	for i := range fx.Moves {
		notes = append(notes, l.moving(&fx.Moves[i]))
	}

	for i := range fx.Owed {
		notes = append(notes, l.owing(u, &fx.Owed[i])...)
	}

	return notes
}

func (l *lane) coveredID(key event.Key) bson.D {
	return bson.D{{Key: "_id", Value: parked.CoveredID(l.held.Flow, l.held.Partition, key)}}
}

// insertion parks an event of the stream, or begins a run with it.
func (l *lane) insertion(d *consume.Delivery, key event.Key, in *park.Insert) []apply.Note {
	r := recordOf(&l.held, d, key, in, l.now().UTC())
	if r.Chunks == 0 {
		return []apply.Note{apply.InsertNote(parked.Collection, r)}
	}

	var notes []apply.Note
	for _, chunk := range parked.Split(r.Flow, r.ID, d.Event.Raw) {
		notes = append(notes, apply.InsertNote(parked.Chunks, chunk))
	}

	return append(notes, apply.InsertNote(parked.Collection, r))
}

//nolint:gosec // the stream's numbers stay far below 2^63
func recordOf(held *checkpoint.Document, d *consume.Delivery, key event.Key, in *park.Insert, now time.Time) *parked.Record {
	m := &d.Message

	r := &parked.Record{
		ID: in.Entry.ID, Rev: in.Entry.Rev,
		Flow: held.Flow, Partition: held.Partition, StreamID: m.StreamID, Generation: int64(m.Generation),
		Count: int64(m.Count), Number: int64(m.Event), Position: m.Position,
		DB: d.Event.Namespace.DB, Coll: d.Event.Namespace.Coll, CollectionUUID: collectionUUID(&d.Event), Operation: d.Event.Operation,
		Key: bson.Binary{Data: []byte(key)}, DocumentKey: d.Event.DocumentKey,
		Size: in.Entry.Size, Events: in.Entry.Events, Until: in.Entry.Until,
		State: in.Entry.State, Reason: in.Entry.Reason, Attempts: in.Entry.Attempts, Counted: in.Entry.Counted,
		Code: in.Refusal.Code, Error: in.Refusal.Text, First: now, Last: now, Changed: now, TraceParent: m.TraceParent,
	}

	if in.Entry.IsRun() {
		return r
	}

	if r.Chunks = len(parked.Split(r.Flow, r.ID, d.Event.Raw)); r.Chunks == 0 {
		r.Event = d.Event.Raw
	}

	return r
}

func collectionUUID(e *event.Event) bson.Binary {
	subtype, data, _ := e.Raw.Lookup("collectionUUID").BinaryOK()

	return bson.Binary{Subtype: subtype, Data: data}
}

// unchanged is the filter that only the record as this owner knows it passes.
func unchanged(e *park.Entry) bson.D {
	return bson.D{{Key: "_id", Value: e.ID}, {Key: "rev", Value: e.Rev}}
}

func deletion(e *park.Entry) []apply.Note {
	notes := []apply.Note{
		apply.UpdateNote(parked.Collection, unchanged(e), bson.D{{Key: "$inc", Value: bson.D{{Key: "rev", Value: int64(1)}}}}),
		apply.DeleteNote(parked.Collection, bson.D{{Key: "_id", Value: e.ID}}),
	}

	return append(notes, deletionOfChunks(e)...)
}

func deletionOfChunks(e *park.Entry) []apply.Note {
	if e.Size <= parked.MaxInline {
		return nil
	}

	return []apply.Note{apply.DeleteNote(parked.Chunks, bson.D{{Key: "record", Value: e.ID}})}
}

func alteration(u *park.Update, now time.Time) []apply.Note {
	set := bson.D{
		{Key: "state", Value: u.After.State},
		{Key: "reason", Value: u.After.Reason},
		{Key: "attempts", Value: u.After.Attempts},
		{Key: "counted", Value: u.After.Counted},
	}

	if u.Refusal.Reason != "" {
		set = append(set, bson.E{Key: "code", Value: u.Refusal.Code}, bson.E{Key: "error", Value: u.Refusal.Text}, bson.E{Key: "last", Value: now})
	}

	if u.After.IsRun() {
		set = append(set, bson.E{Key: "events", Value: u.After.Events}, bson.E{Key: "until", Value: u.After.Until})
	}

	if u.After.State != u.Before.State {
		set = append(set, bson.E{Key: "changed", Value: now})
	}

	change := bson.D{{Key: "$inc", Value: bson.D{{Key: "rev", Value: int64(1)}}}}

	var (
		chunks []apply.Note
		unset  bson.D
	)

	if u.After.Dropped && !u.Before.Dropped {
		set = append(set, bson.E{Key: "dropped", Value: now})
		unset = append(unset, bson.E{Key: "event", Value: ""}, bson.E{Key: "chunks", Value: ""})
		chunks = deletionOfChunks(u.Before)
	}

	if u.Before.Refetch && !u.After.Refetch {
		unset = append(unset, bson.E{Key: "refetch", Value: ""})
	}

	if unset != nil {
		change = append(change, bson.E{Key: "$unset", Value: unset})
	}

	return append(chunks, apply.UpdateNote(parked.Collection, unchanged(u.Before), append(change, bson.E{Key: "$set", Value: set})))
}
