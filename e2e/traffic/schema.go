package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/documents"
)

// shelfNames are those of the collections that come and go; more are not used at a time.
func shelfNames(suffix string) []string {
	names := []string{"shelf", "shelf.with dots", "полка", "shelf-4"}
	for i := range names {
		names[i] += suffix
	}

	return names
}

// schemaWriter makes, renames, changes and drops collections and indexes, and writes documents between. It has
// collections of its own. An _id is never used twice, and a document keeps its version through a rename, so that versions
// only grow under each name, whatever it names.
type schemaWriter struct {
	traffic *Traffic
	rand    *rand.Rand
	pace    *pace
	names   []string
	there   map[string]*collection // by name
	serial  int64                  // of documents and indexes
}

// collection is one that exists.
type collection struct {
	docs    []*document
	indexes []string
}

func newSchemaWriter(t *Traffic) *schemaWriter {
	return &schemaWriter{
		traffic: t, rand: t.random(len(t.writers)), pace: &pace{rate: t.options.Schema},
		names: shelfNames(t.options.Suffix)[:t.options.Shelves], there: map[string]*collection{},
	}
}

func (w *schemaWriter) run(ctx context.Context, end <-chan struct{}) error {
	for {
		if err := w.pace.take(ctx, 1); err != nil {
			return err
		}

		select {
		case <-end:
			return nil
		default:
		}

		if err := w.step(ctx); err != nil {
			return err
		}
	}
}

// step does one thing, and is not interrupted by Pause.
func (w *schemaWriter) step(ctx context.Context) error {
	w.traffic.gate.RLock()
	defer w.traffic.gate.RUnlock()

	name := w.names[w.rand.IntN(len(w.names))]

	c := w.there[name]
	if c == nil {
		return w.create(ctx, name)
	}

	switch dice := w.rand.IntN(100); {
	case dice < 50:
		return w.write(ctx, name, c)
	case dice < 65:
		return w.createIndex(ctx, name, c)
	case dice < 72 && len(c.indexes) > 0:
		return w.dropIndex(ctx, name, c)
	case dice < 78:
		return w.modify(ctx, name)
	case dice < 90:
		return w.rename(ctx, name, c)
	case dice < 98:
		return w.drop(ctx, name)
	default:
		return w.create(ctx, name)
	}
}

// command changes the schema: one event.
func (w *schemaWriter) command(ctx context.Context, db *mongo.Database, command bson.D) error {
	if err := db.RunCommand(ctx, command).Err(); err != nil {
		return fmt.Errorf("%v: %w", command, err)
	}

	w.traffic.journal.schemaChanged()

	return nil
}

// create makes a collection of one of the kinds; one that is there is dropped first.
func (w *schemaWriter) create(ctx context.Context, name string) error {
	if w.there[name] != nil {
		if err := w.drop(ctx, name); err != nil {
			return err
		}
	}

	kinds := []bson.D{
		nil,
		{{Key: "validator", Value: bson.D{{Key: "v", Value: bson.D{{Key: "$gt", Value: 0}}}}}, {Key: "validationLevel", Value: "moderate"}},
		{{Key: "collation", Value: bson.D{{Key: "locale", Value: "fr"}, {Key: "strength", Value: 2}}}},
		{{Key: "capped", Value: true}, {Key: "size", Value: 64 << 20}}, // never full
		{{Key: "changeStreamPreAndPostImages", Value: bson.D{{Key: "enabled", Value: true}}}},
	}

	kind := kinds[w.rand.IntN(len(kinds))]
	if err := w.command(ctx, w.traffic.db, append(bson.D{{Key: "create", Value: name}}, kind...)); err != nil {
		return err
	}

	w.there[name] = &collection{}

	return nil
}

func (w *schemaWriter) drop(ctx context.Context, name string) error {
	delete(w.there, name)

	return w.command(ctx, w.traffic.db, bson.D{{Key: "drop", Value: name}})
}

// rename gives the collection another of the names; what has it is dropped by that.
func (w *schemaWriter) rename(ctx context.Context, name string, c *collection) error {
	to := w.names[w.rand.IntN(len(w.names))]
	if to == name {
		return nil
	}

	delete(w.there, name)
	w.there[to] = c

	for _, d := range c.docs {
		d.key = KeyOf(w.traffic.db.Name()+"."+to, d.id)
	}

	return w.command(ctx, w.traffic.db.Client().Database("admin"), bson.D{
		{Key: "renameCollection", Value: w.traffic.db.Name() + "." + name},
		{Key: "to", Value: w.traffic.db.Name() + "." + to},
		{Key: "dropTarget", Value: true},
	})
}

// modify changes a validator: of collMod the stand-in tells only that.
func (w *schemaWriter) modify(ctx context.Context, name string) error {
	validator := bson.D{{Key: "v", Value: bson.D{{Key: "$gt", Value: -w.rand.IntN(10)}}}}

	return w.command(ctx, w.traffic.db, bson.D{
		{Key: "collMod", Value: name},
		{Key: "validator", Value: validator},
		{Key: "validationAction", Value: []string{"warn", "error"}[w.rand.IntN(2)]},
	})
}

// createIndex makes an index of one of the kinds; nothing in the documents is in its way, and nothing expires by it.
func (w *schemaWriter) createIndex(ctx context.Context, name string, c *collection) error {
	w.serial++

	index := fmt.Sprintf("index $%d.", w.serial)
	spec := bson.D{{Key: "name", Value: index}}

	switch field := fmt.Sprintf("f%d", w.serial); w.rand.IntN(4) {
	case 0:
		spec = append(spec, bson.E{Key: "key", Value: bson.D{{Key: "_id", Value: -1}, {Key: field, Value: 1}}}, bson.E{Key: "unique", Value: true})
	case 1:
		spec = append(spec, bson.E{Key: "key", Value: bson.D{{Key: field, Value: 1}}}, bson.E{Key: "expireAfterSeconds", Value: 60})
	case 2:
		spec = append(spec, bson.E{Key: "key", Value: bson.D{{Key: field, Value: -1}}},
			bson.E{Key: "partialFilterExpression", Value: bson.D{{Key: "v", Value: bson.D{{Key: "$gt", Value: 3}}}}})
	default:
		spec = append(spec, bson.E{Key: "key", Value: bson.D{{Key: field, Value: 1}}}, bson.E{Key: "hidden", Value: true},
			bson.E{Key: "collation", Value: bson.D{{Key: "locale", Value: "de"}}})
	}

	c.indexes = append(c.indexes, index)

	return w.command(ctx, w.traffic.db, bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: bson.A{spec}}})
}

func (w *schemaWriter) dropIndex(ctx context.Context, name string, c *collection) error {
	at := w.rand.IntN(len(c.indexes))
	index := c.indexes[at]
	c.indexes = append(c.indexes[:at], c.indexes[at+1:]...)

	return w.command(ctx, w.traffic.db, bson.D{{Key: "dropIndexes", Value: name}, {Key: "index", Value: index}})
}

// write inserts some documents, or updates one. Nothing is deleted: a capped collection would not allow it everywhere.
func (w *schemaWriter) write(ctx context.Context, name string, c *collection) error {
	coll := w.traffic.db.Collection(name)

	if len(c.docs) > 0 && w.rand.IntN(2) == 0 {
		d := c.docs[w.rand.IntN(len(c.docs))]

		return w.journaled([]change{d.raise()}, func() error {
			_, err := coll.UpdateOne(ctx, d.filter(), bson.D{{Key: "$inc", Value: bson.D{{Key: "v", Value: 1}}}})

			return err
		})
	}

	var (
		images  []any
		changes []change
	)

	for range 1 + w.rand.IntN(5) {
		w.serial++

		id := documents.Value(w.serial)
		d := &document{id: id, key: KeyOf(w.traffic.db.Name()+"."+name, id)}
		c.docs, changes = append(c.docs, d), append(changes, d.raise())
		images = append(images, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: d.version}, {Key: "n", Value: w.rand.Int64()}})
	}

	return w.journaled(changes, func() error {
		_, err := coll.InsertMany(ctx, images)

		return err
	})
}

func (w *schemaWriter) journaled(changes []change, write func() error) error {
	w.traffic.journal.begin(changes)

	if err := write(); err != nil {
		return fmt.Errorf("write between schema changes: %w", err)
	}

	w.traffic.journal.acked(changes, time.Now())

	return nil
}
