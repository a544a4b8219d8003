package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

// document is one document of a writer; _ids never change hands, so nobody else changes its version.
type document struct {
	id      bson.RawValue
	coll    string
	version int64
	live    bool
	unique  string // its value of the unique index; empty: it has none
}

// call is a command of a write, with what it does.
type call struct {
	changes []Change
	docs    []*document // of each change
	live    bool        // of the documents afterwards
	run     func(ctx context.Context) error
}

// shelf is the documents of a writer in one collection.
type shelf struct {
	coll *mongo.Collection
	live []*document
	dead []*document // deleted; they may come back, with a higher version
}

// writer writes one call after the other.
type writer struct {
	load    *Load
	number  int
	rand    *rand.Rand
	zipf    *rand.Zipf
	serial  int64
	shelves []*shelf
	large   int // documents of 16 MiB still to be written
}

// Of the Zipf distribution: a tenth of the documents gets most of the writes.
const (
	zipfExponent = 1.2
	zipfRanks    = 1 << 12
)

func newWriter(l *Load, number int) *writer {
	random := l.random(number)
	w := &writer{load: l, number: number, rand: random, zipf: rand.NewZipf(random, zipfExponent, 1, zipfRanks-1)}

	if number == 0 {
		w.large = l.options.Large
	}

	for _, name := range Collections() {
		w.shelves = append(w.shelves, &shelf{coll: l.db.Collection(name)})
	}

	return w
}

func (w *writer) run(ctx context.Context) error {
	for {
		calls := w.next()
		n := 0

		for i := range calls {
			n += len(calls[i].changes)
		}

		more, err := w.load.turn(ctx, n)
		if err != nil || !more {
			return err
		}

		if err := w.load.execute(ctx, calls); err != nil {
			return err
		}

		w.sort()
	}
}

// sort puts the documents of the last write where they belong: what became of it is known only now.
func (w *writer) sort() {
	for _, s := range w.shelves {
		isLive := func(d *document) bool { return d.live }
		if !slices.ContainsFunc(s.dead, isLive) && !slices.ContainsFunc(s.live, func(d *document) bool { return !d.live }) {
			continue
		}

		var live, dead []*document

		for _, d := range slices.Concat(s.live, s.dead) {
			if d.live {
				live = append(live, d)
			} else {
				dead = append(dead, d)
			}
		}

		s.live, s.dead = live, dead
	}
}

// execute sends the calls, several in one transaction, writes the log, and finds out what became of what was not
// answered.
func (l *Load) execute(ctx context.Context, calls []call) error {
	begun := time.Now().UTC()
	err := l.send(ctx, calls)

	if ctx.Err() != nil {
		return context.Cause(ctx)
	}

	if err := l.note(calls, begun, err); err != nil {
		return err
	}

	if err != nil {
		return l.findOut(ctx, calls)
	}

	for i := range calls {
		calls[i].took(l)
	}

	return nil
}

// note writes the log.
func (l *Load) note(calls []call, begun time.Time, failed error) error {
	w := history.Write{Begun: begun, Time: time.Now().UTC(), Result: history.OK}

	if len(calls) > 1 {
		w.Transaction = strconv.FormatUint(l.trans.Add(1), 10)
	}

	if failed != nil {
		w.Result, w.Error = history.Unknown, failed.Error()
	}

	for i := range calls {
		for n := range calls[i].docs {
			change := &calls[i].changes[n]

			id, err := bson.Marshal(bson.D{{Key: "_id", Value: change.ID}})
			if err != nil {
				return fmt.Errorf("encode an _id: %w", err)
			}

			w.Namespace, w.ID, w.Version, w.Deleted = change.DB+"."+change.Coll, id, change.Version, !calls[i].live

			l.log(w)
		}

		if failed != nil {
			l.unknown.Add(uint64(len(calls[i].changes)))
		}
	}

	return nil
}

// took takes in that the call has happened.
func (c *call) took(l *Load) {
	for i, d := range c.docs {
		d.version, d.live = c.changes[i].Version, c.live
	}

	l.made(c.changes, len(c.docs) == 0)
}

const writeTimeout = 90 * time.Second // longer than any fault of the source

func (l *Load) send(ctx context.Context, calls []call) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()

	if len(calls) == 1 {
		return calls[0].run(ctx)
	}

	session, err := l.db.Client().StartSession()
	if err != nil {
		return fmt.Errorf("start a session: %w", err)
	}
	defer session.EndSession(ctx)

	// Not WithTransaction: it would try again by itself, and what was asked for once is in the log once.
	if err := session.StartTransaction(); err != nil {
		return fmt.Errorf("start a transaction: %w", err)
	}

	inSession := mongo.NewSessionContext(ctx, session)

	for i := range calls {
		if err := calls[i].run(inSession); err != nil {
			return errors.Join(err, session.AbortTransaction(ctx))
		}
	}

	if err := session.CommitTransaction(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}

	return nil
}

// findOut asks the source which documents the calls have reached, once it answers again.
func (l *Load) findOut(ctx context.Context, calls []call) error {
	for i := range calls {
		c := &calls[i]
		happened := 0

		for n, d := range c.docs {
			found, err := l.look(ctx, d)
			if err != nil {
				return err
			}

			switch change := &c.changes[n]; {
			case c.live && found >= change.Version, !c.live && found == 0:
				d.live = c.live
				happened++
			default:
				d.live = found > 0
			}

			d.version = c.changes[n].Version // never used twice
		}

		l.made(c.changes[:happened], false)
	}

	return nil
}

// look returns the version of a document on the source, 0 when it is not there.
func (l *Load) look(ctx context.Context, d *document) (version int64, err error) {
	coll := l.db.Collection(d.coll, options.Collection().SetReadConcern(readconcern.Majority()))
	policy := retry.Policy{Initial: 50 * time.Millisecond, Max: time.Second}

	err = retry.Do(ctx, policy, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a request to a server that has just come back may be lost
		defer cancel()

		var found struct {
			Version int64 `bson:"v"`
		}

		err := coll.FindOne(ctx, d.filter(), options.FindOne().SetProjection(bson.D{{Key: "v", Value: 1}})).Decode(&found)
		if errors.Is(err, mongo.ErrNoDocuments) {
			found.Version, err = 0, nil
		}

		version = found.Version

		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find out what became of a write: %w", err)
	}

	return version, nil
}

func (d *document) filter() bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: d.id}}}}
}

// change is what raises the document's version by one.
func (d *document) change(db string) Change {
	return Change{DB: db, Coll: d.coll, ID: d.id, Version: d.version + 1}
}
