package park

import (
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// document is one document's records, in the order of its events.
type document struct {
	key     event.Key
	entries []*Entry

	at    time.Time      // when it is due
	order event.Position // of its first event; breaks ties in the queue
	index int            // in the queue; -1 outside

	asking bool // the source was asked and has not answered
	// image says that the event cannot be applied as it is while the target has what it has: the source's document is
	// to replace it.
	image bool
	// gaveWay says that the document was deleted on the target for others that wait; seen is the flow at the last
	// conflict of the source's document.
	gaveWay bool
	seen    View
	sighted sighting // the image that conflicted first since a conflict counted
	soon    int      // tries since the last counted one, or asks without an answer: the backoff
}

func (d *document) insert(e *Entry) {
	at, _ := slices.BinarySearchFunc(d.entries, e, func(a, b *Entry) int { return a.Position.Compare(b.Position) })
	d.entries = slices.Insert(d.entries, at, e)
}

func (d *document) remove(e *Entry) {
	d.entries = slices.DeleteFunc(d.entries, func(other *Entry) bool { return other == e })
}

func (d *document) find(id string) *Entry {
	for _, e := range d.entries {
		if e.ID == id {
			return e
		}
	}

	return nil
}

// first is the event that the document waits for; nil when it is only marked.
func (d *document) first() *Entry {
	for _, e := range d.entries {
		if e.State == parked.Waiting {
			return e
		}
	}

	return nil
}

// target is the event to try next: a full image that was never tried, the latest of them, else the first.
func (d *document) target() *Entry {
	for _, e := range slices.Backward(d.entries) {
		if e.State == parked.Waiting && e.Whole && !e.tried && e.Attempts == 0 {
			return e
		}
	}

	return d.first()
}

// needsImage tells whether trying the event is of no use before the source's document is there. Where a run waits, or an
// event that was dropped, it is needed anyway, so what waits before it is not tried one by one.
func (d *document) needsImage(e *Entry) bool {
	wanted := d.image || d.lacks()

	return e.State == parked.Waiting && (wanted && (e.tried || !e.Whole) || e.Reason == parked.Unfitting && !e.Whole)
}

// conflicts tells whether a unique value keeps the event, or the source's document in its place, from being written.
func (d *document) conflicts(e *Entry) bool {
	return e.Reason == parked.Conflict || e.Reason == parked.Unfitting && !d.sighted.came.IsZero()
}

// lacks tells whether something waits that is not kept.
func (d *document) lacks() bool {
	return slices.ContainsFunc(d.entries, func(e *Entry) bool { return e.State == parked.Waiting && !e.isKept() })
}

// runs is how many runs wait.
func (d *document) runs() (n int) {
	for _, e := range d.entries {
		if e.State == parked.Waiting && e.IsRun() {
			n++
		}
	}

	return n
}

// open is the run that one more event joins: the document's last record. nil when there is none. While the source is
// asked, a first run takes in nothing more, or a document that is changed all the time would always have events that
// its image does not hold; a second one does, so there are two of them at most.
func (d *document) open() *Entry {
	if len(d.entries) == 0 {
		return nil
	}

	last := d.entries[len(d.entries)-1]
	if !last.IsRun() || last.State != parked.Waiting || last.Counted || d.asking && d.runs() < 2 {
		return nil
	}

	return last
}

// until is the position of the last event that an image from now on is to hold: of the event that is tried, and of those
// that are not kept.
func (d *document) until(e *Entry) event.Position {
	last := e.until()

	for _, other := range d.entries {
		if other.State == parked.Waiting && !other.isKept() && last.Compare(other.until()) < 0 {
			last = other.until()
		}
	}

	return last
}

// after is when the document is due that a new owner found, or that a lot has changed.
func (d *document) after(policy *Policy, now time.Time) time.Time {
	e := d.target()

	switch {
	case e == nil:
		return now
	case d.conflicts(e) && d.needsImage(e) && d.soon > 0: // each try asks the source
		return now.Add(backoff(firstAsk, lastAsk, d.soon))
	case d.conflicts(e) && (e.Attempts == 0 || d.soon > 0):
		return now.Add(backoff(firstConflict, lastConflict, d.soon))
	case e.Attempts > 0:
		return now.Add(policy.delay(e.Attempts))
	default:
		return now
	}
}

// took is what a lot tells about the document beside its records.
func (d *document) took(l *Lot, item *Item) {
	switch {
	case item.Fate == Apply, item.Fate == Skip && l.Image:
		d.image, d.soon, d.gaveWay, d.seen, d.sighted = false, 0, false, View{}, sighting{}
	case item.Fate != Refuse:
		return
	case item.refusal.Reason == parked.Unfitting:
		d.image, d.soon = true, 0
	case item.counted:
		d.soon = 0
	case item.refusal.Reason == parked.Conflict:
		d.soon++
		d.image = d.image || l.p.view.passed(item.Position)
	}

	if item.Fate == Refuse && item.refusal.Reason == parked.Conflict && l.Image {
		d.seen, d.gaveWay = l.p.view, d.gaveWay || item.gaveWay

		if item.counted || d.sighted.came.IsZero() {
			d.sighted = sighting{at: l.time, came: l.came}
		}
	}

	if e := d.find(item.ID); e != nil && item.Fate == Refuse {
		e.tried = true
	}
}

// dropEnded forgets the records that are for people only.
func (d *document) dropEnded() {
	d.entries = slices.DeleteFunc(d.entries, func(e *Entry) bool { return e.State != parked.Waiting && e.State != parked.Dead })
}

// missed tells whether the document missed a change before this event.
func (d *document) missed(e *Entry) bool {
	return slices.ContainsFunc(d.entries, func(other *Entry) bool {
		return other.State == parked.Dead && other.Position.Compare(e.Position) < 0
	})
}

func backoff(first, last time.Duration, tries int) time.Duration {
	return min(first<<min(tries, 10), last)
}

// kept is how many events of the document wait that were kept, and how large they are.
func (d *document) kept() (n int, bytes int64) {
	for _, e := range d.entries {
		if e.State == parked.Waiting && e.isKept() {
			n++
			bytes += e.Size
		}
	}

	return n, bytes
}

// upTo tells whether the event at the position is part of an image that holds everything up to t.
func upTo(position event.Position, t bson.Timestamp) bool {
	return !(bson.Timestamp{T: position.T, I: position.I}).After(t)
}

// queue is a heap of documents by the time when they are due. Ties go to the earlier event, so that equal inputs give
// equal runs.
type queue []*document

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}

	return q[i].order.Compare(q[j].order) < 0
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	d, _ := x.(*document) // nothing else is pushed
	d.index = len(*q)
	*q = append(*q, d)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	d := old[len(old)-1]
	old[len(old)-1] = nil
	d.index = -1
	*q = old[:len(old)-1]

	return d
}
