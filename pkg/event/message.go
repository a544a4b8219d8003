package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Kind tells what a message carries.
type Kind uint8

// The kinds of messages in a flow's stream.
const (
	KindEvent  Kind = 1 // an event or a part of one
	KindMarker Kind = 2 // a relayv1.Marker
	// KindBarrier is a schema change that every partition has to stop at. It is
	// published as a copy (a relayv1.Barrier) in each partition from the last down
	// to 1, and then as itself, or in parts, in partition 0: only there it is an
	// event, which raises the partition's count.
	KindBarrier Kind = 3
)

// Message is one message of a flow's stream, decoded. Header names stand in
// codec.go.
type Message struct {
	Kind      Kind
	Partition int       // of an event or a barrier; 0 in markers
	Namespace Namespace // of an event; zero in markers and barriers
	Pin       Pin       // of an event's collection

	StreamID   string // random identity of the stream; differs after a recreation
	Generation uint64 // number of the stream's last rewind
	Writer     uint64 // random number of the process that published it

	Position Position // of the event, or of the last event read before a marker
	// ResumeToken is the token to resume after if this message were the
	// stream's tail. So only the last message of an event carries the event's own;
	// earlier parts, and the copies of a barrier, carry that of the event before.
	ResumeToken bson.Raw

	Event   uint64 // events of the source counted so far, this one included
	Skipped uint64 // how many of them were skipped
	// Count is the running number of the event in its partition, gap-free from
	// 1 in each generation; all parts and attempts of an event share it. A copy
	// repeats that of its partition's last event.
	Count uint64

	Part    int // from 1; 1 of 1 when the event fits a message
	Parts   int
	Size    int // bytes of the whole event
	Attempt int // from 1; higher when an unfinished event is published again

	TraceParent string // W3C trace context; empty unless sampled

	Payload []byte // the event's raw BSON or a part of it; protobuf of a marker or a copy
}

// IsCopy tells whether the message stands for a schema change in another
// partition than the one that carries it.
func (m *Message) IsCopy() bool { return m.Kind == KindBarrier && m.Partition != 0 }

// IsLastPart tells whether what the message carries is complete with it. A copy
// is, although its event is not: see EndsEvent.
func (m *Message) IsLastPart() bool { return m.Part == m.Parts }

// EndsEvent tells whether no event stands unfinished if this message is the
// stream's tail: its own has all parts and, if it is a barrier, all copies.
func (m *Message) EndsEvent() bool { return m.IsLastPart() && !m.IsCopy() }

// ID returns the Nats-Msg-Id: unique per message of a stream, equal for equal
// content whoever publishes it. The writer is not part of it, so that a message
// published by two listeners is one.
func (m *Message) ID() string { return string(m.appendID(nil)) }

func (m *Message) appendID(b []byte) []byte {
	const fixed = 1 + 7*8

	var buffer [fixed + 512]byte // most tokens fit, and nothing is allocated

	content := append(buffer[:0], byte(m.Kind))
	for _, n := range [...]uint64{
		m.Generation, uint64(m.Partition), uint64(m.Part), //nolint:gosec // never negative
		uint64(m.Attempt), m.Event, m.Count, uint64(m.Parts), //nolint:gosec // never negative
	} {
		content = binary.BigEndian.AppendUint64(content, n)
	}

	sum := sha256.Sum256(append(content, m.ResumeToken...))

	return hex.AppendEncode(b, sum[:16])
}
