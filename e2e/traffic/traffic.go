// Package traffic writes a seeded random mixture of everything that changes documents, and remembers what the source
// acknowledged.
//
// Every document has a version field v that each of its writes raises, also across deletion and reinsertion: whoever
// watches the target can tell whether a write came twice, late or not at all. No write leaves a document as it is,
// because a server makes no event of it (and a stand-in may).
package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// Options adjusts the traffic.
type Options struct {
	Seed    uint64
	Rate    float64 // changes per second of all writers together; 0 is as fast as possible
	Writers int     // each with documents of its own; 0 is 4
	Suffix  string  // of the collections' names: traffics at several places of one flow must not share documents
	Padding int     // bytes of filling in each document; 0 is 200
	Most    int     // live documents of a writer in a collection, and as many deleted ones that come back; 0: no bound
	Schema  float64 // steps per second of a writer that changes the schema of collections of its own; 0 is none
	Shelves int     // most of these collections at a time, up to 4; 0 is 4

	// Told hears of the result of each change of a document; nil: nobody does. It is called from several goroutines.
	Told func(history.Write)
}

// collections hold the documents. They exist before the first write: making one is an event too.
var collections = []string{"customers", "orders", "items", "events"} //nolint:gochecknoglobals // a constant list

// Collections are the names of those that traffic with these options writes to.
func (o Options) Collections() []string {
	names := slices.Clone(collections)
	for i := range names {
		names[i] += o.Suffix
	}

	return names
}

// Traffic writes to one database.
type Traffic struct {
	db      *mongo.Database
	options Options
	journal *Journal
	pace    *pace
	writers []*writer
	gate    sync.RWMutex // held by each write; see Pause
}

// New prepares the traffic; nothing is written yet.
func New(db *mongo.Database, o Options) *Traffic {
	if o.Writers == 0 {
		o.Writers = 4
	}

	if o.Padding == 0 {
		o.Padding = 200
	}

	if o.Shelves == 0 {
		o.Shelves = 4
	}

	t := &Traffic{db: db, options: o, journal: NewJournal(), pace: &pace{rate: o.Rate}}
	for n := range o.Writers {
		t.writers = append(t.writers, newWriter(t, n))
	}

	return t
}

// Journal is what was written.
func (t *Traffic) Journal() *Journal { return t.journal }

// codeNamespaceExists is the server's answer to a create of what is there.
const codeNamespaceExists = 48

// Prepare makes the collections. The flow must begin after it.
func (t *Traffic) Prepare(ctx context.Context) error {
	for _, name := range t.options.Collections() {
		err := t.db.CreateCollection(ctx, name)

		var known mongo.ServerError
		if err != nil && (!errors.As(err, &known) || !known.HasErrorCode(codeNamespaceExists)) {
			return fmt.Errorf("make the collection %s: %w", name, err)
		}
	}

	return nil
}

// Run writes until the duration is over, or without end when it is zero, and then returns nil; an error of the source
// ends it too. When ctx ends, a write may be left without an answer: only a duration ends the traffic so that the
// journal is exact.
func (t *Traffic) Run(ctx context.Context, duration time.Duration) error {
	end := make(chan struct{})
	if duration > 0 {
		timer := time.AfterFunc(duration, func() { close(end) })
		defer timer.Stop()
	}

	return t.RunUntil(ctx, end)
}

// RunUntil writes until end is closed, as Run does.
func (t *Traffic) RunUntil(ctx context.Context, end <-chan struct{}) error {
	group, ctx := errgroup.WithContext(ctx)

	for _, w := range t.writers {
		group.Go(func() error { return w.run(ctx, end) })
	}

	if t.options.Schema > 0 {
		w := newSchemaWriter(t)
		group.Go(func() error { return w.run(ctx, end) })
	}

	if err := group.Wait(); err != nil {
		return fmt.Errorf("write to the source: %w", err)
	}

	return nil
}

// Pause waits for the answers to all writes, and lets none begin until Resume: the source may be killed without leaving
// anybody in doubt about what it has.
func (t *Traffic) Pause() { t.gate.Lock() }

// Resume lets writes begin again.
func (t *Traffic) Resume() { t.gate.Unlock() }

// random makes the generator of a writer: the same seed gives the same writes, whatever the others do.
func (t *Traffic) random(writer int) *rand.Rand {
	return rand.New(rand.NewPCG(t.options.Seed, uint64(writer)))
}

// document is one document of a writer; ids never change hands, so nobody else changes its version.
type document struct {
	id      bson.RawValue
	key     Key
	version int64
}
