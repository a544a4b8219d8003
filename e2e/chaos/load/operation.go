package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/documents"
)

// Shares of the calls, in percent; the rest are single inserts.
const (
	shareTransaction = 9
	shareBulk        = 4
	shareSwap        = 3
	shareReinsert    = 4
	shareDelete      = 9
	shareReplace     = 10
	shareUpdate      = 42
)

// Sizes of what is many.
const (
	mostInBulk  = 40
	hugeBulk    = 1000 // once in a hundred bulks
	mostInTrans = 3    // writes of a transaction in each of the collections
)

// errNothing says that a write has met no document: the load's own bookkeeping is wrong.
var errNothing = errors.New("the write has met no document")

// next plans one call, or those of one transaction.
func (w *writer) next() []call {
	if w.large > 0 && w.serial > 20 && w.rand.IntN(40) == 0 {
		w.large--

		return []call{w.insert(w.shelves[1], 1, largest, nil)}
	}

	dice := w.rand.IntN(100)
	if dice >= shareTransaction {
		used := map[*document]bool{}

		return []call{w.single(w.shelves[w.rand.IntN(len(w.shelves))], dice-shareTransaction, used)}
	}

	var (
		calls []call
		used  = map[*document]bool{} // one version of a document per transaction: a planned one is not there yet
	)

	for _, s := range w.shelves {
		for range 1 + w.rand.IntN(mostInTrans) {
			calls = append(calls, w.single(s, shareBulk+w.rand.IntN(100-shareTransaction-shareBulk), used))
		}
	}

	return calls
}

// single plans one call. Without a fitting document it is an insert.
func (w *writer) single(s *shelf, dice int, used map[*document]bool) call {
	choose := func(share int) bool {
		chosen := dice >= 0 && dice < share
		dice -= share

		return chosen
	}

	pick := func(from []*document) *document {
		if len(from) == 0 {
			return nil
		}

		d := from[w.zipf.Uint64()%uint64(len(from))]
		if used[d] {
			return nil
		}

		used[d] = true

		return d
	}

	switch {
	case choose(shareBulk):
		n := 2 + w.rand.IntN(mostInBulk-1)
		if w.rand.IntN(100) == 0 && w.load.options.Changes > 10*hugeBulk {
			n = hugeBulk
		}

		return w.insert(s, n, 0, used)
	case choose(shareSwap):
		if !w.load.options.Swap {
			break
		}

		if a, b := pick(w.shelves[0].live), pick(w.shelves[0].live); a != nil && b != nil {
			return w.swap(a, b)
		}
	case choose(shareReinsert):
		if d := pick(s.dead); d != nil {
			return w.reinsert(s, d)
		}
	case choose(shareDelete):
		if d := pick(s.live); d != nil {
			return w.remove(s, d)
		}
	case choose(shareReplace):
		if d := pick(s.live); d != nil {
			return w.replace(s, d)
		}
	case choose(shareUpdate):
		if d := pick(s.live); d != nil {
			return w.update(s, d)
		}
	}

	return w.insert(s, 1, 0, used)
}

func (w *writer) insert(s *shelf, n, size int, used map[*document]bool) call {
	docs := make([]*document, n)

	for i := range docs {
		w.serial++
		docs[i] = &document{id: documents.ID(w.number, w.serial), coll: s.coll.Name()}

		if s.coll.Name() == Unique {
			docs[i].unique = fmt.Sprintf("%d-%d", w.number, w.serial)
		}
	}

	for _, d := range docs {
		if used != nil {
			used[d] = true
		}
	}

	s.dead = append(s.dead, docs...) // until it is known that they live

	return w.insertion(s, docs, size)
}

func (w *writer) reinsert(s *shelf, d *document) call { return w.insertion(s, []*document{d}, 0) }

func (w *writer) insertion(s *shelf, docs []*document, size int) call {
	images := make([]any, len(docs))
	c := call{docs: docs, live: true}

	for i, d := range docs {
		change := d.change(w.load.db.Name())
		c.changes = append(c.changes, change)
		images[i] = w.image(d, change.Version, cmp.Or(size, w.size()))
	}

	c.run = func(ctx context.Context) error {
		_, err := s.coll.InsertMany(ctx, images)

		return err
	}

	return c
}

// image makes a whole document of about this size.
func (w *writer) image(d *document, version int64, size int) bson.D {
	image := documents.Image(w.rand, d.id, version, size)
	if d.unique != "" {
		image = append(image, bson.E{Key: uniqueField, Value: d.unique})
	}

	return image
}

// largest is near the size of the largest document that MongoDB takes.
const largest = 16<<20 - 1<<10

// size is one of 0.1 to 1 KiB, in one document of seven of 1 to 64 KiB; small ones are more frequent.
func (w *writer) size() int {
	if w.rand.IntN(7) > 0 {
		return 100 + w.rand.IntN(924)
	}

	return int(1024 * math.Pow(2, 6*w.rand.Float64()))
}

func (w *writer) remove(s *shelf, d *document) call {
	return call{docs: []*document{d}, changes: []Change{d.change(w.load.db.Name())}, run: func(ctx context.Context) error {
		result, err := s.coll.DeleteOne(ctx, d.filter())
		if err == nil && result.DeletedCount != 1 {
			err = fmt.Errorf("delete %s: %w", d.id, errNothing)
		}

		return err
	}}
}

func (w *writer) replace(s *shelf, d *document) call {
	change := d.change(w.load.db.Name())
	image := w.image(d, change.Version, w.size())

	return call{docs: []*document{d}, live: true, changes: []Change{change}, run: func(ctx context.Context) error {
		result, err := s.coll.ReplaceOne(ctx, d.filter(), image)
		if err == nil && result.MatchedCount != 1 {
			err = fmt.Errorf("replace %s: %w", d.id, errNothing)
		}

		return err
	}}
}

func (w *writer) update(s *shelf, d *document) call {
	change := d.change(w.load.db.Name())
	update := documents.Update(w.rand, change.Version, w.size())

	return call{docs: []*document{d}, live: true, changes: []Change{change}, run: w.updater(s, d, update)}
}

func (*writer) updater(s *shelf, d *document, update any) func(context.Context) error {
	return func(ctx context.Context) error {
		result, err := s.coll.UpdateOne(ctx, d.filter(), update)
		if err == nil && result.MatchedCount != 1 {
			err = fmt.Errorf("update %s: %w", d.id, errNothing)
		}

		return err
	}
}

// swap has two documents exchange their values of the unique index, in three steps: the target, which applies both in
// partitions of their own, meets them in any order.
func (w *writer) swap(a, b *document) call {
	s := w.shelves[0]

	type step struct {
		doc   *document
		value string
	}

	steps := []step{{a, a.unique + "~"}, {b, a.unique}, {a, b.unique}}
	versions := map[*document]int64{a: a.version, b: b.version}

	var (
		c    = call{live: true}
		runs []func(context.Context) error
	)

	for _, step := range steps {
		versions[step.doc]++

		change := step.doc.change(w.load.db.Name())
		change.Version = versions[step.doc]
		c.docs, c.changes = append(c.docs, step.doc), append(c.changes, change)
		set := bson.D{{Key: "v", Value: change.Version}, {Key: uniqueField, Value: step.value}}
		runs = append(runs, w.updater(s, step.doc, bson.D{{Key: "$set", Value: set}}))
	}

	a.unique, b.unique = b.unique, a.unique

	c.run = func(ctx context.Context) error {
		for _, run := range runs {
			if err := run(ctx); err != nil {
				return err
			}
		}

		return nil
	}

	return c
}
