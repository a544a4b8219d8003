package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Config is what is compared, and how.
type Config struct {
	Source, Target *mongo.Client
	Flow           string
	Stream         *topology.Stream
	Filter         event.Filter
	Only           []event.Namespace // none: all that the filter takes

	Jobs     int           // ranges compared at a time
	Part     int64         // documents of a collection that make a range of their own
	Rate     int           // documents per second; 0: as fast as it goes
	Rounds   int           // see Rechecks
	Patience time.Duration // see Rechecks
	Most     int           // differences after which it stops; at least 1

	WithoutCatalog bool // definitions of collections, views and indexes are not compared
	WithoutIndexes bool // of the definitions, those of indexes are not
	ShowValues     bool // differences tell the values of the field

	// From is where an earlier run was interrupted; nil: from the beginning.
	From *State
	// Found is told each document that differs or is not settled, from several goroutines, one at a time.
	Found func(Difference)
	// Save keeps the state, every few seconds, and at the end of a run that was interrupted.
	Save func(*State) error
	// Watch is told how far it is, about every second.
	Watch func(Snapshot)
}

// ErrNothing says that no namespace is in scope.
var ErrNothing = errors.New("nothing to compare")

const (
	saveEvery  = 5 * time.Second
	watchEvery = time.Second
)

// Run compares both sides. Errors: ErrNothing; ErrState, of From; *SideError of a server that stayed away or refuses, those of NATS, and
// ctx's cause when it ended before: with these the state was saved, unless nothing had begun.
func Run(ctx context.Context, c *Config) (*Report, error) {
	v := &verification{Config: c, book: &book{most: c.Most, report: c.Found, began: time.Now(), met: make(map[event.Key]struct{})}}

	if err := v.plan(ctx); err != nil {
		return nil, err
	}

	err := v.run(ctx)
	enough := errors.Is(err, errEnough)

	if err != nil && !enough {
		if ctx.Err() != nil { // whatever it was that noticed first
			err = context.Cause(ctx)
		}

		return nil, errors.Join(err, c.Save(v.book.keep()))
	}

	return v.report(!enough), nil
}

// verification is one run.
type verification struct {
	*Config

	book  *book
	pairs map[event.Namespace]*pair
}

// plan lists what is to be compared, or takes it from the state.
func (v *verification) plan(ctx context.Context) error {
	pairs, notes, err := readScope(ctx, v.Config)
	if err != nil {
		return err
	}

	if len(pairs) == 0 {
		return ErrNothing
	}

	v.pairs = make(map[event.Namespace]*pair, len(pairs))
	for i := range pairs {
		v.pairs[pairs[i].namespace] = &pairs[i]
	}

	ranges, estimated, err := rangesOf(ctx, v.Config, pairs)
	if err != nil {
		return err
	}

	v.book.ranges, v.book.estimated = ranges, estimated

	if err := prove(ranges); err != nil {
		return err
	}

	if v.From != nil {
		return v.restore()
	}

	v.book.state = State{Flow: v.Flow, StreamID: v.Stream.StreamID, Began: time.Now().UTC(), Notes: notes}
	v.book.state.Totals.Namespaces = len(pairs)

	if err := v.noteKnown(ctx); err != nil {
		return ofTarget(err)
	}

	for _, ns := range v.Only {
		v.book.state.Only = append(v.book.state.Only, ns.String())
	}

	return nil
}

// restore goes on from the state: with its ranges, whatever has become of the collections.
func (v *verification) restore() error {
	b := v.book
	planned := b.ranges
	b.state, b.ranges, b.before = *v.From, nil, v.From.Totals.Documents
	known := make(map[event.Namespace]bool)

	for i := range v.From.Ranges {
		r := v.From.Ranges[i].restore()
		if v.pairs[r.Namespace] == nil { // both sides have dropped it
			r.Done = true
		}

		known[r.Namespace] = true
		b.ranges = append(b.ranges, &r)
	}

	for _, r := range planned { // of collections that were made since
		if !known[r.Namespace] {
			b.ranges = append(b.ranges, r)
		}
	}

	for _, key := range v.From.Met {
		b.met[event.Key(key)] = struct{}{}
	}

	for _, s := range v.From.Suspects {
		suspect, err := suspectOf(event.Namespace{DB: s.DB, Coll: s.Coll}, unwrap(s.ID), v.Stream.Partitions)
		if err != nil {
			return err
		}

		b.suspects = append(b.suspects, suspect)
	}

	return prove(b.ranges)
}

// run compares the ranges that are not done, and settles what was found.
func (v *verification) run(ctx context.Context) error {
	s := &settler{
		config: v.Config, book: v.book, in: make(chan *Suspect),
		rechecks: Rechecks{Rounds: v.Rounds, Patience: v.Patience},
		progress: progressReader{flow: v.Flow, stream: v.Stream, target: v.Target},
	}

	for _, suspect := range v.book.suspects { // of an earlier run
		s.rechecks.Add(suspect, time.Now())
	}

	group, ctx := errgroup.WithContext(ctx)

	aside, stop := context.WithCancel(ctx)
	defer stop()

	group.Go(func() error { return v.attend(aside) })
	group.Go(func() error {
		defer stop() // these are the last to end

		return v.settle(ctx, s)
	})
	group.Go(func() error {
		defer close(s.in)

		return v.walkAll(ctx, s.in)
	})

	return group.Wait()
}

// settle ends when it is known of everything that was found what it is.
func (v *verification) settle(ctx context.Context, s *settler) error {
	group, ctx := errgroup.WithContext(ctx)

	group.Go(func() error { return s.run(ctx) })

	if !v.WithoutCatalog && !v.book.state.Defined {
		group.Go(func() error { return v.define(ctx) })
	}

	return group.Wait()
}

// attend saves the state and tells how far it is, until ctx ends.
func (v *verification) attend(ctx context.Context) error {
	saved := time.Now()

	for {
		v.Watch(v.book.snapshot())

		if !retry.Pause(ctx, watchEvery) {
			return nil
		}

		if time.Since(saved) < saveEvery {
			continue
		}

		if err := v.Save(v.book.keep()); err != nil {
			return err
		}

		saved = time.Now()
	}
}

func (v *verification) walkAll(ctx context.Context, suspects chan<- *Suspect) error {
	var limit *rate.Limiter
	if v.Rate > 0 {
		limit = rate.NewLimiter(rate.Limit(v.Rate), max(1, v.Rate/10))
	}

	giants := make(chan struct{}, 1)
	giants <- struct{}{}

	for { // again where a collection's ranges were withdrawn
		open := v.book.open()
		if len(open) == 0 {
			return nil
		}

		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(v.Jobs)

		for _, r := range open {
			group.Go(func() error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}

				err := v.walk(r, limit, giants, suspects).run(ctx)
				if err == nil {
					v.book.finished(r)
				}

				if errors.Is(err, errWithdrawn) {
					return nil
				}

				return err
			})
		}

		if err := group.Wait(); err != nil {
			return err
		}
	}
}

func (v *verification) walk(r *Range, limit *rate.Limiter, giants chan struct{}, suspects chan<- *Suspect) *walk {
	ns, p := r.Namespace, v.pairs[r.Namespace]

	open := func(client *mongo.Client, of func(error) error) *side {
		most := mostInReply
		if v.Rate > 0 {
			most = min(most, v.Rate)
		}

		return &side{
			coll: client.Database(ns.DB).Collection(ns.Coll), of: of,
			from: r.From, to: r.To, last: r.Last, simple: p.simple(), most: most, asked: min(most, firstInReply),
		}
	}

	return &walk{
		source: open(v.Source, ofSource), target: open(v.Target, ofTarget),
		limit: limit, giants: giants,
		passed: func(p passage) error { return v.book.compared(r, p) },
		suspect: func(ctx context.Context, id bson.RawValue) error {
			suspect, err := suspectOf(ns, id, v.Stream.Partitions)
			if err != nil {
				return fmt.Errorf("%s: %w", ns, err)
			}

			if !v.book.suspected(suspect) {
				return nil
			}

			select {
			case suspects <- suspect:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}

func (v *verification) report(complete bool) *Report {
	s := v.book.keep()

	if !v.WithoutCatalog && !s.Defined {
		s.Notes = append(s.Notes, "definitions were not compared to the end: it stopped before")
	}

	r := &Report{
		Flow: s.Flow, StreamID: s.StreamID, Complete: complete, Began: s.Began, Ended: time.Now().UTC(), Totals: s.Totals,
		Differences: append([]Difference{}, s.Differences...), // never null in JSON
		Catalog:     append([]CatalogDifference{}, s.Catalog...),
		Notes:       append([]string{}, s.Notes...),
	}
	r.judge()

	return r
}
