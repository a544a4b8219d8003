package park

import (
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// View is what the owner has read of the rest of the flow. An old one is safe: it only says less.
type View struct {
	// Beyond is the lowest position that the other partitions are applied to. Known tells whether it was read, and
	// Earliest: without them no conflict is judged.
	Beyond event.Position
	Known  bool
	// Quiet is a time, by the owner's clock, up to which the other partitions have settled everything that the source
	// had: it goes on where nothing is written and no position moves. Zero when that is not known.
	Quiet time.Time
	// Earliest are the positions of the first events that wait in the flow, in all partitions and in order; as many as
	// EarliestLimit.
	Earliest []event.Position
	// Bytes is the room that the other partitions' records take.
	Bytes int64

	number int // of the observation
}

// EarliestLimit is how many waiting events a View shows.
const EarliestLimit = 100

// Observe takes in what was read.
func (p *Partition) Observe(v View) {
	v.number = p.view.number + 1
	p.view = v
}

// WantsView tells whether anything here depends on the rest of the flow: Bytes, if nothing else.
func (p *Partition) WantsView() bool { return p.bytes > 0 }

// Judges tells whether a conflict waits, so that the View is to be Known. Else that is not worth its price, which is
// paid by the target for each partition as long as anything is parked.
func (p *Partition) Judges() bool {
	for _, d := range p.documents {
		if e := d.target(); e != nil && d.conflicts(e) && !p.holds(d.key) {
			return true
		}
	}

	return false
}

// passed tells whether every other partition is past the position.
func (v *View) passed(position event.Position) bool {
	return v.Known && position.Compare(v.Beyond) <= 0
}

// sighting is an image of the source that conflicted: its time there, and when it came here.
type sighting struct {
	at   bson.Timestamp
	came time.Time
}

// overtook tells whether every other partition is past what the image shows. An image is newer than all that is
// applied when it comes, so it takes a second try to tell.
func (v *View) overtook(s *sighting) bool {
	return !s.came.IsZero() && (v.passed(event.Position{T: s.at.T, I: s.at.I}) || v.Quiet.After(s.came))
}

// settled tells whether nothing that happened before the position at the source can still change the target: every
// other partition is past it, and nothing earlier waits anywhere. What conflicts then conflicts with the future, or
// with a document that the source does not have. So of several such documents one is counted at a time: an earlier one
// may free what the others wait for.
func (v *View) settled(position event.Position) bool {
	return v.passed(position) && (len(v.Earliest) == 0 || position.Compare(v.Earliest[0]) <= 0)
}

// crowded tells whether another event waits in the flow, which this one may be in the way of.
func (v *View) crowded() bool { return len(v.Earliest) > 1 }

// standsStill tells whether everything that waited in an earlier view waits in this one.
func (v *View) standsStill(earlier *View) bool {
	if !earlier.Known || earlier.number == v.number {
		return false
	}

	for _, position := range earlier.Earliest {
		if _, found := slices.BinarySearchFunc(v.Earliest, position, event.Position.Compare); !found {
			return false
		}
	}

	return true
}
