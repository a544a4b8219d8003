package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/documents"
)

// schemaEvery is how many changes lie between two steps of the schema writer.
const schemaEvery = 60

// schemaNames are those of the collections that come and go.
func schemaNames() []string { return []string{"shelf", "shelf.with dots", "полка"} }

// schemaWriter makes, renames, changes and drops collections and indexes, and inserts documents between. An _id is never
// used twice, so versions only grow under each name, whatever it names. A name whose command was not answered is left
// alone for good: what became of it nobody asks.
type schemaWriter struct {
	load   *Load
	rand   *rand.Rand
	names  []string
	there  map[string][]string // names of indexes, by collection
	serial int64
	next   uint64 // moment of the next step
}

func newSchemaWriter(l *Load) *schemaWriter {
	return &schemaWriter{load: l, rand: l.random(len(l.writers)), names: schemaNames(), there: map[string][]string{}}
}

func (w *schemaWriter) run(ctx context.Context) error {
	for {
		w.next += schemaEvery

		err := w.load.until(ctx, func() bool { return w.load.changes >= w.next && w.load.changes < w.load.limit || w.load.finished() })
		if err != nil {
			return err
		}

		w.load.mu.Lock()
		finished := w.load.finished()
		w.load.mu.Unlock()

		if finished || len(w.names) == 0 {
			return nil
		}

		name := w.names[w.rand.IntN(len(w.names))]

		c := w.step(name)
		if c == nil {
			continue
		}

		before := w.load.Unknown()

		if err := w.load.execute(ctx, []call{*c}); err != nil {
			return err
		}

		if w.load.Unknown() > before {
			w.forget(name)
		}
	}
}

// forget leaves a name alone.
func (w *schemaWriter) forget(name string) {
	delete(w.there, name)

	for i, known := range w.names {
		if known == name {
			w.names = append(w.names[:i], w.names[i+1:]...)

			return
		}
	}
}

// step plans one thing; nil when there is nothing to do.
func (w *schemaWriter) step(name string) *call {
	indexes, there := w.there[name]
	if !there {
		return w.create(name)
	}

	switch dice := w.rand.IntN(100); {
	case dice < 45:
		return w.insert(name)
	case dice < 65:
		return w.createIndex(name)
	case dice < 75 && len(indexes) > 0:
		return w.dropIndex(name)
	case dice < 82:
		return w.modify(name)
	case dice < 93:
		return w.rename(name)
	default:
		delete(w.there, name)

		return w.command(w.load.db, name, bson.D{{Key: "drop", Value: name}})
	}
}

func (w *schemaWriter) command(db *mongo.Database, name string, command bson.D) *call {
	return &call{
		changes: []Change{{DB: w.load.db.Name(), Coll: name}},
		run:     func(ctx context.Context) error { return db.RunCommand(ctx, command).Err() },
	}
}

func (w *schemaWriter) create(name string) *call {
	kinds := []bson.D{
		nil,
		{{Key: "validator", Value: bson.D{{Key: "v", Value: bson.D{{Key: "$gt", Value: 0}}}}}, {Key: "validationLevel", Value: "moderate"}},
		{{Key: "collation", Value: bson.D{{Key: "locale", Value: "fr"}, {Key: "strength", Value: 2}}}},
	}

	w.there[name] = []string{}

	return w.command(w.load.db, name, append(bson.D{{Key: "create", Value: name}}, kinds[w.rand.IntN(len(kinds))]...))
}

func (w *schemaWriter) createIndex(name string) *call {
	w.serial++

	index, field := fmt.Sprintf("index $%d.", w.serial), "f"+strconv.FormatInt(w.serial, 10)
	w.there[name] = append(w.there[name], index)
	spec := bson.D{{Key: "name", Value: index}, {Key: "key", Value: bson.D{{Key: field, Value: 1}}}}

	return w.command(w.load.db, name, bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: bson.A{spec}}})
}

func (w *schemaWriter) dropIndex(name string) *call {
	all := w.there[name]
	index := all[len(all)-1]
	w.there[name] = all[:len(all)-1]

	return w.command(w.load.db, name, bson.D{{Key: "dropIndexes", Value: name}, {Key: "index", Value: index}})
}

func (w *schemaWriter) modify(name string) *call {
	w.serial++ // another validator each time: one that changes nothing is no event

	return w.command(w.load.db, name, bson.D{
		{Key: "collMod", Value: name},
		{Key: "validator", Value: bson.D{{Key: "v", Value: bson.D{{Key: "$gt", Value: -w.serial}}}}},
		{Key: "validationAction", Value: "error"},
	})
}

// rename gives the collection another of the names; what has it is dropped by that.
func (w *schemaWriter) rename(name string) *call {
	to := w.names[w.rand.IntN(len(w.names))]
	if to == name {
		return nil
	}

	w.there[to] = w.there[name]
	delete(w.there, name)

	return w.command(w.load.db.Client().Database("admin"), name, bson.D{
		{Key: "renameCollection", Value: w.load.db.Name() + "." + name},
		{Key: "to", Value: w.load.db.Name() + "." + to},
		{Key: "dropTarget", Value: true},
	})
}

func (w *schemaWriter) insert(name string) *call {
	c := &call{live: true}

	var images []any

	for range 1 + w.rand.IntN(5) {
		w.serial++

		d := &document{id: documents.ID(len(w.load.writers), w.serial), coll: name}
		c.docs, c.changes = append(c.docs, d), append(c.changes, d.change(w.load.db.Name()))
		images = append(images, bson.D{{Key: "_id", Value: d.id}, {Key: "v", Value: int64(1)}, {Key: "n", Value: w.rand.Int64()}})
	}

	c.run = func(ctx context.Context) error {
		_, err := w.load.db.Collection(name).InsertMany(ctx, images)

		return err
	}

	return c
}
