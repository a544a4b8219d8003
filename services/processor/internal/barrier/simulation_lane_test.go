package barrier_test

import (
	"maps"
	"slices"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// lane is an ownership. What a real one does without a pause is one step here; whatever another may come between is two.
type lane struct {
	w         *world
	partition int
	epoch     int64
	lease     int
	began     bool // the document was read
	passage   barrier.Passage
	cursor    int // in messages
	held      held

	trying int // position of a parked event; 0: none

	standing *barrier.Lane
	read     *barrier.Document // first half of a view
	verdict  *barrier.Verdict
	fresh    *barrier.Execution // prepared, to be written
	ran      bool
	written  bool // its arrival, once
	behind   int  // the last barrier that was passed, and was not void
}

// acquire raises the epoch. The document is read in the lane's first step.
func (w *world) acquire(partition int) *lane {
	w.epochs[partition]++ // higher than any that there was, also on a target that went back
	w.checkpoints[partition].epoch = w.epochs[partition]

	return &lane{w: w, partition: partition, lease: w.leases[partition], epoch: w.checkpoints[partition].epoch, held: w.checkpoints[partition]}
}

// commit is a transaction: it happens only for the owner that the checkpoint names.
func (l *lane) commit(next held, effect func()) bool {
	c := &l.w.checkpoints[l.partition]
	if c.epoch != l.epoch || c.commits != l.held.commits || l.held.at < l.behind && l.w.checkpoints[0].at < l.behind {
		return false
	}

	effect()

	next.epoch, next.commits = l.epoch, l.held.commits+1
	*c, l.held = next, next

	return true
}

// step returns false when the lane has learnt that it is stale. leased tells whether its lease has not ended.
func (l *lane) step(leased bool) bool {
	switch {
	case !l.began:
		document := l.w.copy()
		l.passage, l.began = barrier.Begin(&document, position(l.held.at)), true

		for l.cursor < len(l.messages()) && l.messages()[l.cursor].at <= l.held.at {
			l.cursor++
		}

		return true
	case l.trying > 0:
		return l.endTry()
	case l.w.r.IntN(4) == 0 && l.beginTry():
		return true
	case l.standing != nil:
		return l.stand(leased)
	case l.cursor < len(l.messages()):
		return l.take(l.messages()[l.cursor])
	default:
		return l.move()
	}
}

func (l *lane) messages() []message { return l.w.messages[l.partition] }

func position(at int) event.Position { return event.Position{T: uint32(at)} }

func (w *world) copy() barrier.Document {
	d := w.document
	d.Arrived = maps.Clone(d.Arrived)

	if d.Executing != nil {
		e := *d.Executing
		d.Executing = &e
	}

	return d
}

// beginTry picks a parked event.
func (l *lane) beginTry() bool {
	waiting := l.w.parked[l.partition]
	if len(waiting) == 0 {
		return false
	}

	if !l.passage.MayTry(position(l.held.at)) {
		l.w.seen.Held++

		return false
	}

	l.trying = waiting[l.w.r.IntN(len(waiting))]

	return true
}

func (l *lane) endTry() bool {
	at := l.trying
	l.trying = 0

	return l.commit(l.held, func() {
		l.w.seen.Tried++

		before := max(l.w.checkpoints[l.partition].at, l.passedAt())
		for _, effect := range l.w.effects {
			if effect > before {
				l.w.fail("partition %d tries event %d, which it set aside before the schema change %d took effect, and stands before that", l.partition, at, effect)
			}
		}

		l.w.parked[l.partition] = slices.DeleteFunc(l.w.parked[l.partition], func(other int) bool { return other == at })
	})
}

// passedAt is the last barrier that the lane has read behind.
func (l *lane) passedAt() int {
	passed := 0

	for _, m := range l.messages()[:l.cursor] {
		if m.barrier {
			passed = m.at
		}
	}

	return passed
}

// take applies, or sets aside, an event of the stream, or stands at a barrier.
func (l *lane) take(m message) bool {
	if m.barrier {
		l.passage.Stand()
		l.standing = &barrier.Lane{Partition: l.partition, Epoch: l.epoch, Commits: l.held.commits, At: barrier.Barrier{Event: int64(m.at), Position: position(m.at)}}

		return true
	}

	next := l.held
	next.at, next.settled = m.at, next.settled+1
	l.cursor++

	return l.commit(next, func() {
		for _, at := range l.w.real {
			if happened := slices.Contains(l.w.effects, at); happened != (at < m.at) {
				l.w.fail("event %d is applied, schema change %d has taken effect: %t", m.at, at, happened)
			}
		}

		if l.w.r.IntN(3) == 0 {
			l.w.parked[l.partition] = append(l.w.parked[l.partition], m.at)
		}
	})
}

// move brings an idle partition to a marker.
func (l *lane) move() bool {
	marker := 1 + l.w.r.IntN(l.w.end)

	var last, head int64

	for _, at := range l.w.real {
		if at <= marker {
			last = int64(at)
		}
	}

	for _, at := range l.w.data[l.partition] {
		if at <= marker {
			head++
		}
	}

	return l.moveTo(marker, last, head)
}

func (l *lane) moveTo(marker int, last, head int64) bool {
	if marker <= l.held.at || head != int64(l.held.settled) || !l.passage.MayMoveTo(last, int64(l.held.at)) {
		return true
	}

	next := l.held
	next.at = marker

	return l.commit(next, func() { l.w.seen.Marked++ })
}
