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
	}
}

// Names tells whether m is the message of the place, wherever it stands.
func (p *Place) Names(m *event.Message) bool {
	of := PlaceOf(m, 0)

	return p.StreamID == of.StreamID && p.Generation == of.Generation && p.Event == of.Event && p.Position == of.Position
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
