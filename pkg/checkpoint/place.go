package checkpoint

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Place is a message of the stream as a checkpoint names it. A sequence alone
// proves nothing: a stream that lost its tail uses sequences again. Numbers are
// signed because BSON has no other; none is ever negative.
type Place struct {
	StreamID    string         `bson:"stream_id"`
	Generation  int64          `bson:"generation"`
	Sequence    int64          `bson:"sequence"`     // of the last message covered
	ResumeToken bson.Raw       `bson:"resume_token"` // of that message
	Event       int64          `bson:"event"`        // its event number
	Count       int64          `bson:"count"`        // of the partition's last settled event
	Position    event.Position `bson:"position"`
	// Skipped is how many of the events up to that message the listener skipped:
	// what a rewind to this place goes on counting from. Nil in a checkpoint of a
	// version that did not note it; the next commit does.
	Skipped *int64 `bson:"skipped,omitempty"`
}

// PlaceOf returns the place of a message with this sequence. It copies what it
// keeps.
//
//nolint:gosec // the stream's numbers stay far below 2^63
func PlaceOf(m *event.Message, sequence uint64) Place {
	return Place{
		StreamID:    m.StreamID,
		Generation:  int64(m.Generation),
		Sequence:    int64(sequence),
		ResumeToken: slices.Clone(m.ResumeToken),
		Event:       int64(m.Event),
		Count:       int64(m.Count),
		Position:    m.Position,
		Skipped:     new(int64(m.Skipped)),
	}
}

// IsAt tells whether two places are the same message at the same sequence.
func (p *Place) IsAt(other *Place) bool {
	return p.StreamID == other.StreamID && p.Generation == other.Generation && p.Sequence == other.Sequence &&
		p.Event == other.Event && p.Position == other.Position
}

// Names tells whether m is the message of the place, wherever it stands.
func (p *Place) Names(m *event.Message) bool {
	return p.StreamID == m.StreamID && p.StreamGeneration() == m.Generation && p.Event == int64(m.Event) && p.Position == m.Position //nolint:gosec // far below 2^63
}

// StreamSequence is Sequence in the type that the stream's messages have.
//
//nolint:gosec // never negative
func (p *Place) StreamSequence() uint64 { return uint64(p.Sequence) }

// StreamGeneration is Generation in that type.
//
//nolint:gosec // never negative
func (p *Place) StreamGeneration() uint64 { return uint64(p.Generation) }

// LastCount is Count in that type.
//
//nolint:gosec // never negative
func (p *Place) LastCount() uint64 { return uint64(p.Count) }
