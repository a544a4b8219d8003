package ownership

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// fetcher asks the source for a document as it is now, at notBefore or later. Every error means: ask again later.
type fetcher interface {
	Fetch(ctx context.Context, ns event.Namespace, documentKey bson.Raw, notBefore bson.Timestamp) (refetch.Image, error)
}

// answer is what the source said about a document.
type answer struct {
	ask    park.Ask
	record parked.Record // whose event the source was asked for
	image  refetch.Image
	err    error
	done   func() // gives the image's memory back
}

// ask asks the source, one document at a time.
func (l *lane) ask(ctx context.Context) error {
	for {
		select {
		case a := <-l.asks:
			reply := l.fetch(ctx, a)

			select {
			case l.answers <- reply:
			case <-ctx.Done():
				reply.done()

				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *lane) fetch(ctx context.Context, a park.Ask) answer {
	reply := answer{ask: a, done: func() {}}

	if l.options.Refetch == nil {
		reply.err = refetch.ErrNoListener

		return reply
	}

	if reply.err = l.images.Acquire(ctx, 1); reply.err != nil {
		return reply
	}

	reply.done = func() { l.images.Release(1) }

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	records, err := l.store.Records(ctx, []string{a.ID})
	if err == nil {
		err = failpoint.Error(failpoint.RefetchAsked)
	}

	switch {
	case err != nil:
		reply.err = err
	case len(records) == 0:
		reply.err = fmt.Errorf("%w: record %s is missing", parked.ErrRecords, a.ID)
	default:
		reply.record = records[0]
		r := &reply.record
		reply.image, reply.err = l.options.Refetch.Fetch(ctx, r.Namespace(), r.DocumentKey, bson.Timestamp{T: a.NotBefore.T, I: a.NotBefore.I})
	}

	return reply
}

// answered replaces a document by the source's.
func (l *lane) answered(stop, work context.Context, a *answer) error {
	defer a.done()

	now := l.now()

	switch {
	case errors.Is(a.err, parked.ErrRecords):
		if err := l.reload(a.err); !errors.Is(err, errReload) {
			return err
		}

		return l.loadParked(work)
	case a.err != nil || !l.passage.MayTry(l.held.Position):
		l.parked.Unanswered(a.ask.Key, now)

		return nil
	}

	lot := l.parked.Answered(a.ask.Key, a.image.Time, now)
	if lot == nil {
		return nil
	}

	failpoint.Pass(failpoint.RefetchAnswered)

	r := &a.record
	u := &unit{lot: lot, image: a.image.Document, changes: []apply.Change{{
		Event:  event.Event{Operation: event.Replace, Namespace: r.Namespace(), DocumentKey: r.DocumentKey},
		Number: uint64(lot.Items[0].Number), Position: lot.Items[0].Position, //nolint:gosec // never negative
	}}}

	if err := l.settle(stop, work, u); !errors.Is(err, errReload) {
		return err
	}

	return l.loadParked(work)
}
