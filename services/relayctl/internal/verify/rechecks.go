package verify

import (
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Suspect is a document that was not the same on both sides when it was read. It may be in flight.
type Suspect struct {
	Namespace event.Namespace
	ID        bson.RawValue // a copy
	Key       event.Key
	Partition int // of the flow, that carries the document's changes

	base  digest         // the source's document at the time base was read
	at    bson.Timestamp // a time of the source that is not before base; zero: base was not read yet
	since time.Time      // when it became a suspect
	round int            // how often it was found different while nothing changed
}

// Progress is how far the flow has come.
type Progress struct {
	// Captured: whatever happened on the source up to this time, and at it, is in the stream.
	Captured bson.Timestamp
	// Partitions are what is applied, by number.
	Partitions []Applied
}

// Applied is how far a partition is applied.
type Applied struct {
	// Position of the last event that is. Others of the same cluster time may follow.
	Position event.Position
	// All tells that every event is that was in the stream when Captured was read.
	All bool
}

// passed tells whether everything that happened to documents of a partition up to the time is applied (or set aside).
func (p *Progress) passed(partition int, at bson.Timestamp) bool {
	if partition >= len(p.Partitions) {
		return false
	}

	applied := &p.Partitions[partition]
	reached := bson.Timestamp{T: applied.Position.T, I: applied.Position.I}

	return reached.After(at) || (applied.All && !p.Captured.Before(at))
}

// passedAll tells whether everything that happened up to the time is applied, schema changes included: each partition
// comes behind one of those only when it is done.
func (p *Progress) passedAll(at bson.Timestamp) bool {
	for partition := range p.Partitions {
		if !p.passed(partition, at) {
			return false
		}
	}

	return true
}

// Verdict is what a second look at a suspect says.
type Verdict int

// The verdicts.
const (
	Again Verdict = iota // look once more, when the flow has passed the new time
	Same                 // it was in flight
	Differs
)

// Rechecks decides which suspects are differences, without I/O: the clock comes with each call.
//
//	suspect ── read the source: base, at ──▶ wait until the flow has passed at ──▶ read the target, then the source
//	              ▲                                                                     │
//	              └─────────── again: the source changed meanwhile, or rounds are left ─┤
//	                                                     the target has either version ─┴─▶ same
//
// When the flow has passed at and the source's document is still base, nothing but base can be right on the target. Only
// a document that changed and changed back in between deceives one round; hence several.
type Rechecks struct {
	Rounds   int           // in which a difference has to be found, without a change between; at least 1
	Patience time.Duration // after which a suspect that is neither the same nor different is unsettled

	suspects []*Suspect
}

// Add takes a suspect in.
func (r *Rechecks) Add(s *Suspect, now time.Time) {
	s.since = now
	r.suspects = append(r.suspects, s)
}

// Len is how many there are.
func (r *Rechecks) Len() int { return len(r.suspects) }

// All are the suspects that nothing is known of yet.
func (r *Rechecks) All() []*Suspect { return slices.Clone(r.suspects) }

// Fresh are the suspects whose base is to be read.
func (r *Rechecks) Fresh() []*Suspect {
	return r.those(func(s *Suspect) bool { return s.at.IsZero() })
}

// Based takes what the source has, and a time of the source at which it had it already.
func (*Rechecks) Based(s *Suspect, base digest, at bson.Timestamp) { s.base, s.at = base, at }

// Due are the suspects to be read on both sides: the flow has passed them.
func (r *Rechecks) Due(p *Progress) []*Suspect {
	return r.those(func(s *Suspect) bool { return !s.at.IsZero() && p.passed(s.Partition, s.at) })
}

// Judge takes what the target had, and then the source, after the flow had passed the suspect; at is a time of the source
// at which it had that already. A suspect that is the same or differs is forgotten.
func (r *Rechecks) Judge(s *Suspect, target, source digest, at bson.Timestamp) Verdict {
	verdict := Again

	switch {
	case target == source, target == s.base:
		verdict = Same
	case source != s.base:
		s.round = 0
	default:
		s.round++
		if s.round >= r.Rounds {
			verdict = Differs
		}
	}

	if verdict == Again {
		s.base, s.at = source, at
	} else {
		r.forget(s)
	}

	return verdict
}

// Unsettled forgets and returns the suspects that patience is over for.
func (r *Rechecks) Unsettled(now time.Time) []*Suspect {
	late := r.those(func(s *Suspect) bool { return now.Sub(s.since) >= r.Patience })
	for _, s := range late {
		r.forget(s)
	}

	return late
}

func (r *Rechecks) those(are func(*Suspect) bool) []*Suspect {
	var list []*Suspect

	for _, s := range r.suspects {
		if are(s) {
			list = append(list, s)
		}
	}

	return list
}

func (r *Rechecks) forget(s *Suspect) {
	r.suspects = slices.DeleteFunc(r.suspects, func(other *Suspect) bool { return other == s })
}
