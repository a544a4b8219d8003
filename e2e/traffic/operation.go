package traffic

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/documents"
)

// Shares of the operations, in percent; the rest are single inserts.
const (
	shareInsertMany  = 4
	shareTransaction = 8
	shareReinsert    = 4
	shareDelete      = 10
	shareReplace     = 10
	shareUpdate      = 44
)

// mostInserted is the largest insertMany, mostInTransaction the longest transaction.
const (
	mostInserted      = 10
	mostInTransaction = 5
)

// next plans one call to the source, or the calls of one transaction.
func (w *writer) next() []write {
	dice := w.rand.IntN(100)

	if dice < shareTransaction {
		writes := make([]write, 2+w.rand.IntN(mostInTransaction-1))
		for i := range writes {
			writes[i] = w.single(shareTransaction + w.rand.IntN(100-shareTransaction))
		}

		return writes
	}

	return []write{w.single(dice)}
}

// single plans one call. Without a fitting document it is an insert.
func (w *writer) single(dice int) write {
	s := w.shelves[w.rand.IntN(len(w.shelves))]
	dice -= shareTransaction

	choose := func(share int) bool {
		chosen := dice >= 0 && dice < share
		dice -= share

		return chosen
	}

	switch {
	case choose(shareInsertMany):
		return w.insert(s, 2+w.rand.IntN(mostInserted-1))
	case choose(shareReinsert) && len(s.dead) > 0:
		return w.reinsert(s)
	case choose(shareDelete) && len(s.live) > 0:
		return w.remove(s)
	case choose(shareReplace) && len(s.live) > 0:
		return w.replace(s)
	case choose(shareUpdate) && len(s.live) > 0:
		return w.update(s)
	default:
		return w.insert(s, 1)
	}
}

// insert is another operation where there are enough documents.
func (w *writer) insert(s *shelf, n int) write {
	if most := w.traffic.options.Most; most > 0 {
		switch {
		case len(s.live) > 0 && len(s.live)+n > most:
			return w.remove(s)
		case len(s.live)+len(s.dead)+n > 2*most: // more are deleted than there is room for
			return w.reinsert(s)
		}
	}

	docs := make([]*document, n)

	for i := range docs {
		w.serial++

		id := documents.ID(w.number, w.serial)
		docs[i] = &document{id: id, key: KeyOf(s.coll.Database().Name()+"."+s.coll.Name(), id)}
	}

	s.live = append(s.live, docs...)

	return w.insertion(s.coll, docs)
}

func (w *writer) reinsert(s *shelf) write {
	d := take(&s.dead, w.rand.IntN(len(s.dead)))
	s.live = append(s.live, d)

	return w.insertion(s.coll, []*document{d})
}

func (w *writer) insertion(coll *mongo.Collection, docs []*document) write {
	images := make([]any, len(docs))
	changes := make([]change, len(docs))

	for i, d := range docs {
		changes[i] = d.raise()
		images[i] = documents.Image(w.rand, d.id, d.version, w.traffic.options.Padding)
	}

	return write{changes: changes, run: func(ctx context.Context) (int64, error) {
		result, err := coll.InsertMany(ctx, images)
		if err != nil {
			return 0, fmt.Errorf("insert: %w", err)
		}

		return int64(len(result.InsertedIDs)), nil
	}}
}

func (w *writer) remove(s *shelf) write {
	d := take(&s.live, w.rand.IntN(len(s.live)))
	s.dead = append(s.dead, d)

	deletion := d.raise()
	deletion.deleted = true

	return write{changes: []change{deletion}, run: func(ctx context.Context) (int64, error) {
		result, err := s.coll.DeleteOne(ctx, d.filter())
		if err != nil {
			return 0, fmt.Errorf("delete: %w", err)
		}

		return result.DeletedCount, nil
	}}
}

func (w *writer) replace(s *shelf) write {
	d := s.live[w.rand.IntN(len(s.live))]
	changes := []change{d.raise()}
	image := documents.Image(w.rand, d.id, d.version, w.traffic.options.Padding)

	return write{changes: changes, run: func(ctx context.Context) (int64, error) {
		result, err := s.coll.ReplaceOne(ctx, d.filter(), image)
		if err != nil {
			return 0, fmt.Errorf("replace: %w", err)
		}

		return result.ModifiedCount, nil
	}}
}

func (w *writer) update(s *shelf) write {
	d := s.live[w.rand.IntN(len(s.live))]
	changes := []change{d.raise()}
	update := documents.Update(w.rand, d.version, w.traffic.options.Padding)

	return write{changes: changes, run: func(ctx context.Context) (int64, error) {
		result, err := s.coll.UpdateOne(ctx, d.filter(), update)
		if err != nil {
			return 0, fmt.Errorf("update with %v: %w", update, err)
		}

		return result.ModifiedCount, nil
	}}
}

// raise gives the document its next version.
func (d *document) raise() change {
	d.version++

	return change{key: d.key, version: d.version}
}

func (d *document) filter() bson.D { return bson.D{{Key: "_id", Value: d.id}} }

// take removes an element; the order of the rest does not matter.
func take(docs *[]*document, at int) *document {
	list := *docs
	taken := list[at]
	list[at] = list[len(list)-1]
	*docs = list[:len(list)-1]

	return taken
}
