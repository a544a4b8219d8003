package routing

import "github.com/atlas-relay/atlas-relay/pkg/event"

// IsOf says that the table is of a later place of the source's history than the events
// that it will be asked for: a stream was rewound to before what it keeps. Until Reach
// tells that they are past that place, a collection is known by its UUID alone, for a
// later one may have its name; and the table stays as it is, for it has seen all that
// happens up to there.
func (t *Table) IsOf(place event.Position) {
	if t.place.Before(place) {
		t.place = place
	}
}

// Reach says that the event at this place is the next that the table will be asked for.
func (t *Table) Reach(place event.Position) {
	if t.place.Before(place) {
		t.place = event.Position{}
	}
}

func (t *Table) isOfLater() bool { return !t.place.IsZero() }

// foresee is Apply for a table of a later place. What it does not know was dropped so
// long ago that it has been forgotten; until then its events come once more.
func (t *Table) foresee(e *event.Event) (changed bool) {
	if e.Operation != event.Create || t.byUUID[e.Collection] != nil {
		return false
	}

	entry := t.entryOf(e.Namespace, e.Collection, created(e))
	if entry == nil || entry.Collection.IsZero() {
		return false
	}

	t.remember(entry)

	return true
}
