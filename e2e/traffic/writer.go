package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// write is one call to the source.
type write struct {
	changes []change
	run     func(ctx context.Context) (modified int64, err error)
}

// change is what a write does to one document.
type change struct {
	key     Key
	version int64 // that the document has afterwards
	deleted bool
}

// shelf is the documents of a writer in one collection.
type shelf struct {
	coll *mongo.Collection
	live []*document
	dead []*document // deleted; they may come back, with a higher version
}

type writer struct {
	traffic *Traffic
	number  int
	rand    *rand.Rand
	serial  int64
	shelves []*shelf

	transactions int // told of so far
}

func newWriter(t *Traffic, number int) *writer {
	w := &writer{traffic: t, number: number, rand: t.random(number)}
	for _, name := range t.options.Collections() {
		w.shelves = append(w.shelves, &shelf{coll: t.db.Collection(name)})
	}

	return w
}

func (w *writer) run(ctx context.Context, end <-chan struct{}) error {
	for {
		writes := w.next()

		if err := w.traffic.pace.take(ctx, changesOf(writes)); err != nil {
			return err
		}

		select {
		case <-end:
			return nil
		default:
		}

		if err := w.execute(ctx, writes); err != nil {
			return err
		}
	}
}

func changesOf(writes []write) int {
	n := 0
	for i := range writes {
		n += len(writes[i].changes)
	}

	return n
}

// execute sends the writes, several in one transaction, and keeps the journal.
func (w *writer) execute(ctx context.Context, writes []write) error {
	var changes []change
	for i := range writes {
		changes = append(changes, writes[i].changes...)
	}

	w.traffic.gate.RLock()
	defer w.traffic.gate.RUnlock()

	w.traffic.journal.begin(changes)

	run := runAll
	if len(writes) > 1 {
		run = w.transaction
	}

	begun := time.Now()
	err := run(ctx, writes)
	w.tell(changes, len(writes) > 1, begun, err)

	if err != nil {
		return err
	}

	w.traffic.journal.acked(changes, time.Now())

	return nil
}

// tell has the changes of a call recorded. Nobody knows what became of one that failed: the traffic ends with it.
func (w *writer) tell(changes []change, transaction bool, begun time.Time, err error) {
	if w.traffic.options.Told == nil {
		return
	}

	r := history.Write{Begun: begun, Time: time.Now(), Result: history.OK}

	if err != nil {
		r.Result, r.Error = history.Unknown, err.Error()
	}

	if transaction {
		w.transactions++
		r.Transaction = fmt.Sprintf("%d/%d", w.number, w.transactions)
	}

	for _, c := range changes {
		r.Namespace, r.ID = c.key.parts()
		r.Version, r.Deleted = c.version, c.deleted
		w.traffic.options.Told(r)
	}
}

func runAll(ctx context.Context, writes []write) error {
	for i := range writes {
		modified, err := writes[i].run(ctx)
		if err != nil {
			return err
		}

		if want := int64(len(writes[i].changes)); modified != want {
			return fmt.Errorf("the source modified %d documents instead of %d", modified, want)
		}
	}

	return nil
}

func (w *writer) transaction(ctx context.Context, writes []write) error {
	session, err := w.traffic.db.Client().StartSession()
	if err != nil {
		return fmt.Errorf("start a session: %w", err)
	}
	defer session.EndSession(ctx)

	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		return nil, runAll(ctx, writes)
	})
	if err != nil {
		return fmt.Errorf("run a transaction: %w", err)
	}

	return nil
}
