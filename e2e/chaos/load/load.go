// Package load is the clients of a source in a chaos run: writers whose every write is decided by a seed and raises the
// version v of its documents, and a log of what each write was answered with.
//
// The documents have _ids of all kinds and 0.1 to 64 KiB, a few 16 MiB. A few are written again and again (Zipf). There
// are deltas of every kind, replacements, deletions of what comes back later, bulks, transactions over three collections,
// values of a unique index that change hands, quiet gaps, and, where schema changes are replicated, collections that come
// and go.
//
// Moments are named by the number of changes that the source has acknowledged so far, never by a time. A fault may hold
// the load before such a moment, so that it falls between the same changes whenever the seed is the same.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// Options adjusts a load.
type Options struct {
	Seed    uint64
	Changes int           // of documents, before the load ends
	Writers int           // each with documents of its own; 0 is 3
	Rate    float64       // changes a second of all writers together
	Large   int           // documents of 16 MiB
	Quiet   time.Duration // how long nothing is written, once, in the middle
	Schema  bool          // collections come and go
	Swap    bool          // values of the unique index change hands: the target has to free them (mongotest.Features)
}

// Log takes a record of each change of a document once its write was answered, or will not be. It is called by several
// goroutines.
type Log func(w history.Write)

// Change is what a write does to one document.
type Change struct {
	DB, Coll string
	ID       bson.RawValue // zero for a schema change
	Version  int64         // the document's afterwards; a deletion has one, too
}

// Load writes to one database.
type Load struct {
	db      *mongo.Database
	options Options
	log     Log
	writers []*writer
	schema  *schemaWriter // nil: none

	trans   atomic.Uint64 // transactions so far
	unknown atomic.Uint64 // changes that no answer came to

	mu      sync.Mutex
	changes uint64        // acknowledged, or found out to have happened
	ddl     uint64        // of them schema changes
	limit   uint64        // nobody begins a write at or behind it
	moved   chan struct{} // closed, and made anew, when one of them changes
	begin   time.Time     // of the pace
	paced   uint64
	quiet   bool // the quiet gap is over, or none was wanted
}

// noLimit lets the load go on.
const noLimit = ^uint64(0)

// New prepares a load; nothing is written yet.
func New(source *mongo.Database, log Log, o Options) *Load {
	if o.Writers == 0 {
		o.Writers = 3
	}

	l := &Load{db: source, options: o, log: log, limit: noLimit, moved: make(chan struct{}), quiet: o.Quiet == 0}

	for n := range o.Writers {
		l.writers = append(l.writers, newWriter(l, n))
	}

	if o.Schema {
		l.schema = newSchemaWriter(l)
	}

	return l
}

// Collections are the names of those that documents are written to. A transaction spans all.
func Collections() []string { return []string{"accounts", "orders", "events"} }

// Unique is the collection with a unique index, and its field.
const (
	Unique      = "accounts"
	uniqueField = "u"
)

// Prepare makes the collections in a database, with their index. Source and target need it before the flow is made.
func Prepare(ctx context.Context, db *mongo.Database) error {
	for _, name := range Collections() {
		if err := db.CreateCollection(ctx, name); err != nil {
			return fmt.Errorf("make the collection %s: %w", name, err)
		}
	}

	_, err := db.Collection(Unique).Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: uniqueField, Value: 1}}, Options: options.Index().SetUnique(true).SetName("by " + uniqueField),
	})
	if err != nil {
		return fmt.Errorf("make the unique index: %w", err)
	}

	return nil
}

// Run writes until all changes are made. It returns an error only when the source cannot be used any more.
func (l *Load) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)

	for _, w := range l.writers {
		group.Go(func() error { return w.run(groupCtx) })
	}

	if l.schema != nil {
		group.Go(func() error { return l.schema.run(groupCtx) })
	}

	if err := group.Wait(); err != nil {
		return fmt.Errorf("write to the source: %w", err)
	}

	return nil
}

// Last inserts one more document behind everything, and returns its filter: where it is, all before has been.
func (l *Load) Last(ctx context.Context) (coll string, filter bson.D, err error) {
	w := l.writers[0]
	s := w.shelves[len(w.shelves)-1]
	c := w.insert(s, 1, 0, nil)

	for c.docs[0].version == 0 || !c.docs[0].live {
		if err := l.execute(ctx, []call{c}); err != nil {
			return "", nil, err
		}

		c = w.insertion(s, c.docs, 0)
	}

	return s.coll.Name(), c.docs[0].filter(), nil
}

// Changes is how many changes the source has acknowledged, or was found to have made: the number of the present moment.
func (l *Load) Changes() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.changes
}

// Unknown is how many changes have never been answered, whether they happened or not.
func (l *Load) Unknown() uint64 { return l.unknown.Load() }

// SchemaChanges is how many of the changes were of the schema.
func (l *Load) SchemaChanges() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.ddl
}

// Hold lets no write begin from this moment on. What is under way ends, so the load may stop a little behind it.
func (l *Load) Hold(at uint64) { l.setLimit(at) }

// Release lets writes begin again.
func (l *Load) Release() { l.setLimit(noLimit) }

func (l *Load) setLimit(limit uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.limit = limit
	l.tell()
}

// tell is called with mu held.
func (l *Load) tell() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// Await waits until this many changes are made.
func (l *Load) Await(ctx context.Context, changes uint64) error {
	return l.until(ctx, func() bool { return l.changes >= changes })
}

// until waits for a condition, which is called with mu held.
func (l *Load) until(ctx context.Context, condition func() bool) error {
	for {
		l.mu.Lock()
		holds, moved := condition(), l.moved
		l.mu.Unlock()

		if holds {
			return nil
		}

		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// turn waits until n more changes may be made; more says whether the load goes on.
func (l *Load) turn(ctx context.Context, n int) (more bool, err error) {
	if err := l.until(ctx, func() bool { return l.changes < l.limit || l.finished() }); err != nil {
		return false, err
	}

	l.mu.Lock()

	if l.finished() {
		l.mu.Unlock()

		return false, nil
	}

	if l.begin.IsZero() {
		l.begin = time.Now()
	}

	// The gap is one of the pace: it begins for whoever comes first in the second half, and lasts for all.
	if !l.quiet && l.changes >= uint64(l.options.Changes)/2 {
		l.quiet = true
		l.begin = l.begin.Add(l.options.Quiet)
	}

	at := l.begin.Add(time.Duration(float64(l.paced) / l.options.Rate * float64(time.Second)))
	l.paced += uint64(n)

	// Who was held does not catch up: the load would be a burst, and no longer a load under faults.
	if late := time.Since(at); late > time.Second {
		l.begin = l.begin.Add(late)
	}

	l.mu.Unlock()

	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()

	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// finished is called with mu held.
func (l *Load) finished() bool { return l.changes-l.ddl >= uint64(l.options.Changes) }

// made counts changes that have happened.
func (l *Load) made(changes []Change, schema bool) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.changes += uint64(len(changes))
	if schema {
		l.ddl += uint64(len(changes))
	}

	l.tell()
}

// random makes the generator of a writer: the same seed gives the same writes, whatever the others do.
func (l *Load) random(writer int) *rand.Rand {
	return rand.New(rand.NewPCG(l.options.Seed, uint64(writer)))
}
