package verify

import (
	"bytes"
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// walk compares one range of a collection on both sides.
type walk struct {
	source, target *side
	limit          *rate.Limiter // documents per second; nil: as fast as it goes
	// giants holds one token: a range whose replies are large needs it, so that one such range is read at a time.
	giants chan struct{}
	heavy  bool // has the token
	began  bool // something is known of the documents' size

	suspect func(context.Context, bson.RawValue) error // may block; the _id is a copy
	// passed is told how far it came. Its error ends the walk.
	passed func(p passage) error
}

// errUnordered is noted, and ends no run.
var errUnordered = errors.New("the server does not keep to the order of _id")

// passage is what a walk has compared since it told last.
type passage struct {
	last             bson.RawValue // _id of the last document
	documents, bytes int64
	disorder         error // of the walk: which side does not keep to the order of _id; nil: none
	bounded          bool  // the side was to leave documents out, so it is not known which it did
}

// run reads to the end of the range. What it found and counted until then is told, also when it fails.
func (w *walk) run(ctx context.Context) error {
	defer func() {
		w.source.close(ctx)
		w.target.close(ctx)
		w.lighten()
	}()

	for {
		if err := w.fill(ctx); err != nil {
			return err
		}

		if w.source.head == nil && w.target.head == nil {
			return nil
		}

		documents, err := w.compare(ctx)
		if err == nil {
			err = w.throttle(ctx, documents)
		}

		if err != nil {
			return err
		}
	}
}

// fill brings the next documents of both sides into memory, at the same time where both are needed and small. A cursor
// holds its old reply until the new one is there.
func (w *walk) fill(ctx context.Context) error {
	if err := w.weigh(ctx); err != nil {
		return err
	}

	group, groupCtx := errgroup.WithContext(ctx)
	if w.heavy {
		group.SetLimit(1)
	}

	for _, s := range []*side{w.source, w.target} {
		if s.hungry() {
			group.Go(func() error { return s.fill(groupCtx) })
		}
	}

	return group.Wait()
}

// weigh takes the token of large replies, or gives it back, as the last ones were. The first ones may be.
func (w *walk) weigh(ctx context.Context) error {
	small := w.source.size <= largeReply && w.target.size <= largeReply
	known := w.began

	if w.began = true; small && known {
		w.lighten()

		return nil
	}

	if w.heavy {
		return nil
	}

	select {
	case <-w.giants:
		w.heavy = true

		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *walk) lighten() {
	if w.heavy {
		w.giants <- struct{}{}
		w.heavy = false
	}
}

// compare goes on until a side is hungry, then tells how far it came, also when it fails.
func (w *walk) compare(ctx context.Context) (documents int, err error) {
	var (
		size int64
		last bson.RawValue
	)

	defer func() {
		if documents > 0 {
			p := passage{last: clone(last), documents: int64(documents), bytes: size}
			p.bounded, p.disorder = w.disorder()

			if told := w.passed(p); err == nil {
				err = told
			}
		}
	}()

	for !w.source.hungry() && !w.target.hungry() && (w.source.head != nil || w.target.head != nil) {
		s := merge(w.source.head, w.target.head)

		of := w.source
		if !s.source {
			of = w.target
		}

		id := of.head.Lookup("_id")

		if s.kind != "" {
			if err := w.suspect(ctx, clone(id)); err != nil {
				return documents, err
			}
		}

		documents, size, last = documents+1, size+int64(len(of.head)), id

		if s.source {
			w.source.take(ctx)
		}

		if s.target {
			w.target.take(ctx)
		}
	}

	return documents, nil
}

func (w *walk) disorder() (bounded bool, err error) {
	for _, s := range []*side{w.source, w.target} {
		if s.disorder {
			bounded, err = bounded || s.bounded, s.of(errUnordered)
		}
	}

	return bounded, err
}

// throttle waits as long as so many documents may take.
func (w *walk) throttle(ctx context.Context, documents int) error {
	for w.limit != nil && documents > 0 {
		n := min(documents, w.limit.Burst())
		if err := w.limit.WaitN(ctx, n); err != nil {
			return err
		}

		documents -= n
	}

	return nil
}

func clone(v bson.RawValue) bson.RawValue {
	return bson.RawValue{Type: v.Type, Value: bytes.Clone(v.Value)}
}
