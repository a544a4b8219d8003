package park

import (
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// tail is where the events of a document go that a lot parks: they are kept while there is room, then they join a run.
type tail struct {
	kept  int   // events of the document that wait and were kept
	bytes int64 // of them

	before *Entry // the run of an earlier lot that events join; nil for none
	run    Entry  // as this lot leaves it; zero while nothing joined it
	item   int    // the first event of a run that this lot begins: index in the lot
}

// tail returns the document's, as the lot has left it so far.
func (b *build) tail(key event.Key) *tail {
	if t := b.tails[key]; t != nil {
		return t
	}

	t := &tail{}
	b.tails[key] = t
	b.order = append(b.order, t)

	if d := b.p.documents[key]; d != nil {
		t.kept, t.bytes = d.kept()
		t.before = d.open()
	}

	return t
}

// join adds an item to the run of its document, or begins one where no more events are kept. It returns false where
// the event is to be kept: always where the key is no document's, which the source could be asked for.
func (b *build) join(t *tail, i int, item *Item) bool {
	policy := &b.p.policy

	switch {
	case !item.Key.IsDocument():
		return false
	case t.run.IsRun():
	case t.before != nil:
		t.run = *t.before
	case t.kept < policy.MaxEvents && t.bytes+item.Size <= policy.MaxBytes:
		return false
	default:
		t.item = i
		t.run = Entry{ID: item.ID, Rev: 1, Number: item.Number, Position: item.Position, State: parked.Waiting, Reason: b.behind(item)}
	}

	t.run.Events++
	t.run.Until = item.Position

	return true
}

// endRun takes the run that events have joined into the effects. What comes later joins another.
func (b *build) endRun(t *tail) {
	switch {
	case !t.run.IsRun():
	case t.before == nil:
		b.insert(Insert{Item: t.item, Entry: t.run})
	default:
		b.fx.Updates = append(b.fx.Updates, Update{Before: t.before, After: t.run})
		b.enter(t.before, -1)
		b.enter(&t.run, 1)
	}

	t.run, t.before = Entry{}, nil
}
