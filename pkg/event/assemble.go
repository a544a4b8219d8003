package event

import "fmt"

// ErrPartMissing says that a part continues nothing: the one before it was not seen.
// It wraps ErrMalformed.
var ErrPartMissing = fmt.Errorf("%w: the part before it was not seen", ErrMalformed)

// Assembler puts the parts of events together again. It follows the rule that
// anything but the next part of the same attempt drops what was collected: an
// unfinished event is published again from its first part, or not at all when
// a changed filter has removed it meanwhile.
//
// The zero Assembler is ready. It serves one partition and is not safe for
// concurrent use.
type Assembler struct {
	last    Message // without its payload; Part is 0 while nothing is collected
	payload []byte  // of last.Size bytes in all, allocated with the first part
}

// Add takes the next message of a partition. It returns the whole event's
// message (with the headers of its last part, the payload of all) and true when
// m completes one. Errors wrap ErrMalformed: ErrPartMissing, or parts that do not add up to the event's size.
// They, too, drop what was collected.
//
// A message that is whole is returned as it is, its payload not copied; the
// payload of one put together is new and belongs to the caller.
func (a *Assembler) Add(m Message) (Message, bool, error) {
	if m.Parts == 1 {
		a.drop()

		return m, true, nil
	}

	if m.Part == 1 {
		a.last, a.payload = m, make([]byte, 0, m.Size)
	} else if !a.continues(&m) {
		a.drop()

		return Message{}, false, fmt.Errorf("part %d/%d of event %d at %s: %w", m.Part, m.Parts, m.Event, m.Position, ErrPartMissing)
	}

	collected := len(a.payload) + len(m.Payload)
	if collected > m.Size || (collected == m.Size) != m.IsLastPart() {
		a.drop()

		return Message{}, false, fmt.Errorf("part %d/%d of event %d at %s: %w: %d bytes with it, the event has %d",
			m.Part, m.Parts, m.Event, m.Position, ErrMalformed, collected, m.Size)
	}

	a.payload = append(a.payload, m.Payload...)

	if m.IsLastPart() {
		m.Payload = a.payload
		a.drop()

		return m, true, nil
	}

	m.Payload = nil // it would hold a whole NATS message
	a.last = m

	return Message{}, false, nil
}

// continues tells whether m is the part after the last one. The writer may
// differ: the id chain decides who may go on, not the reader.
func (a *Assembler) continues(m *Message) bool {
	return m.Part == a.last.Part+1 &&
		m.Parts == a.last.Parts &&
		m.Attempt == a.last.Attempt &&
		m.Size == a.last.Size &&
		m.Event == a.last.Event &&
		m.Count == a.last.Count &&
		m.Position == a.last.Position &&
		m.Generation == a.last.Generation &&
		m.StreamID == a.last.StreamID &&
		m.Kind == a.last.Kind &&
		m.Partition == a.last.Partition &&
		m.Namespace == a.last.Namespace
}

func (a *Assembler) drop() { *a = Assembler{} }

// Pending returns the message of the last part collected of an unfinished
// event, without its payload, and whether there is one.
func (a *Assembler) Pending() (Message, bool) { return a.last, a.last.Part > 0 }

// Size returns how many bytes the unfinished event will have in all; 0 when
// there is none. They are allocated with its first part.
func (a *Assembler) Size() int { return a.last.Size }
