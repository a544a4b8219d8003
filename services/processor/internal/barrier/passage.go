package barrier

import "github.com/atlas-relay/atlas-relay/pkg/event"

// Passage is what the owner of a partition remembers of barriers while it owns it.
type Passage struct {
	hold     event.Position // nothing parked is tried before the partition is there
	passed   Barrier        // the last one that was passed
	standing bool           // at the next one
}

// Begin is the passage of a new owner, which has raised the epoch and read the document since; held is the position of
// the checkpoint.
func Begin(d *Document, held event.Position) Passage { return Passage{hold: d.Holds(held)} }

// Stand takes in that everything before a barrier is committed.
func (p *Passage) Stand() { p.standing = true }

// Pass takes in that the partition goes on behind a barrier.
func (p *Passage) Pass(b Barrier) { p.passed, p.standing = b, false }

// MayTry tells whether what is parked may be tried; held is the position of the checkpoint.
func (p *Passage) MayTry(held event.Position) bool {
	return !p.standing && (!held.Before(p.hold) || !p.passed.Position.Before(p.hold))
}

// MayMoveTo tells whether an idle partition may move its checkpoint to a marker that says this of the last schema
// change before it. held is the event number of the checkpoint: the barriers before that are passed. Whoever moved
// behind a barrier that it has not passed would never meet it.
func (p *Passage) MayMoveTo(lastBarrier, held int64) bool {
	return lastBarrier <= max(held, p.passed.Event)
}
