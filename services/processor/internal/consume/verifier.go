package consume

import (
	"errors"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// What a message may say about the stream. Each stops the partition, loudly,
// except ErrReset.
var (
	// ErrReset says that a message was delivered into a dead connection: the
	// consumer has to start again behind the checkpoint.
	ErrReset = errors.New("a delivery was lost")
	// ErrForeign says that a message was not written for this stream.
	ErrForeign = errors.New("message of another stream")
	// ErrGeneration says that the stream was rewound; see GenerationError.
	ErrGeneration = errors.New("the stream was rewound")
	// ErrHole says that an event is missing in the partition; see HoleError.
	ErrHole = errors.New("hole in the stream")
)

// GenerationError says that a message of a higher generation came: everything
// behind the lowest checkpoint is published anew in it. It wraps ErrGeneration.
type GenerationError struct{ Generation uint64 }

// Error implements error.
func (e *GenerationError) Error() string {
	return fmt.Sprintf("%v: generation %d", ErrGeneration, e.Generation)
}

// Unwrap makes it an ErrGeneration.
func (*GenerationError) Unwrap() error { return ErrGeneration }

// HoleError says in which generation events are missing: only a higher one can
// have them. It wraps ErrHole.
type HoleError struct {
	Generation uint64
	What       string // is missing, for a person
}

// Error implements error.
func (e *HoleError) Error() string {
	return fmt.Sprintf("%v, generation %d: %s", ErrHole, e.Generation, e.What)
}

// Unwrap makes it an ErrHole.
func (*HoleError) Unwrap() error { return ErrHole }

// Verifier checks the messages of a partition, in the order of delivery, and
// puts events together. It does no I/O. Nothing is ever judged by the stream's
// sequence: a stream that lost its tail uses sequences again.
type Verifier struct {
	streamID   string
	generation uint64
	consumer   uint64 // consumer sequence of the last delivery

	position event.Position // of the last event taken; at first of the checkpoint
	count    uint64         // of the last event that is complete
	taken    bool           // an event was taken since the start
	passed   uint64         // count of the last event that was not taken because it was applied before; at first where the start is
	parts    event.Assembler
}

// NewVerifier returns the verifier of a new consumer that starts behind the
// checkpoint.
func NewVerifier(from *checkpoint.Place) *Verifier {
	return &Verifier{
		streamID:   from.StreamID,
		generation: from.StreamGeneration(),
		position:   from.Position,
		count:      from.LastCount(),
		passed:     from.LastCount(),
	}
}

// Check takes in the next delivery. It returns the whole event and true when
// the message completes one that is not applied yet. A copy of a schema change is
// one that counts for nothing; those of a barrier that the listener began anew
// are dropped by their position.
func (v *Verifier) Check(m event.Message, consumerSequence uint64) (event.Message, bool, error) {
	if m.StreamID != v.streamID {
		return event.Message{}, false, fmt.Errorf("%w: it names stream id %q, expected %q", ErrForeign, m.StreamID, v.streamID)
	}

	if consumerSequence != v.consumer+1 {
		return event.Message{}, false, fmt.Errorf("%w: delivery %d after %d", ErrReset, consumerSequence, v.consumer)
	}

	v.consumer = consumerSequence

	switch {
	case m.Generation > v.generation:
		return event.Message{}, false, &GenerationError{Generation: m.Generation}
	case m.Generation < v.generation:
		return event.Message{}, false, &HoleError{
			Generation: m.Generation,
			What:       fmt.Sprintf("event %d at %s follows messages of generation %d", m.Event, m.Position, v.generation),
		}
	}

	if m.Position.Compare(v.position) <= 0 {
		// Applied before. Until the first event is taken its count is the one
		// to go on from.
		if !v.taken && m.IsLastPart() {
			v.count, v.passed = m.Count, m.Count
		}

		return event.Message{}, false, nil
	}

	expected := v.count + 1
	if m.IsCopy() { // of a schema change, which is counted in partition 0
		expected = v.count
	}

	if m.Count != expected {
		return event.Message{}, false, &HoleError{
			Generation: m.Generation,
			What:       fmt.Sprintf("event %d at %s has count %d, expected %d", m.Event, m.Position, m.Count, expected),
		}
	}

	whole, complete, err := v.parts.Add(m)
	if errors.Is(err, event.ErrPartMissing) { // every attempt begins with its first part
		return event.Message{}, false, &HoleError{Generation: m.Generation, What: err.Error()}
	}

	if err != nil || !complete {
		return event.Message{}, false, err
	}

	v.position, v.count, v.taken = m.Position, m.Count, true

	return whole, true, nil
}

// Collecting returns how many bytes the event will have whose parts are being
// collected; 0 when there is none.
func (v *Verifier) Collecting() int { return v.parts.Size() }

// Passed returns the count of the last event before the first one taken: the
// partition has settled it, and everything before it.
func (v *Verifier) Passed() uint64 { return v.passed }
