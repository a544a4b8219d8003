package simulation

import (
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// together is the window in which the server knows a message by its id.
const together = 100 * time.Millisecond

// sight is what the stream says at one moment.
type sight struct {
	last     event.Message
	heads    []uint64 // count of the last event of each partition
	messages map[uint64]event.Message
}

// streamNow reads the whole stream; nil when it has no message.
func (j *judge) streamNow() *sight {
	s := &sight{heads: make([]uint64, j.plan.Partitions), messages: map[uint64]event.Message{}}

	for _, stored := range j.stream.Messages() {
		m := j.decoded(stored.Msg)
		s.messages[stored.Sequence] = m
		s.last = m

		switch {
		case m.Kind == event.KindMarker:
			var marker relayv1.Marker
			if err := proto.Unmarshal(m.Payload, &marker); err != nil {
				j.fail("a marker cannot be read: %w", err)
			}

			copy(s.heads, marker.GetHeads())
		case m.IsLastPart():
			s.heads[m.Partition] = m.Count
		default:
			s.heads[m.Partition] = m.Count - 1
		}
	}

	if len(s.messages) == 0 {
		return nil
	}

	return s
}

func (j *judge) decoded(msg *nats.Msg) event.Message {
	if m, known := j.messages[msg]; known {
		return m
	}

	m, err := event.Decode(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		j.fail("a message cannot be read: %w", err)
	}

	j.messages[msg] = m
	j.numbered(&m)

	return m
}

// numbered judges an event of the stream: it is one of the source's, and its number says how
// many changes the flow had to count up to it.
func (j *judge) numbered(m *event.Message) {
	if m.Kind != event.KindEvent || m.StreamID != firstStream {
		return
	}

	want := uint64(0)

	for i := range j.source.changes {
		c := &j.source.changes[i]
		if c.event.Namespace != internal {
			want++
		}

		if c.at != m.Position {
			continue
		}

		if m.Event != want {
			j.fail("numbers: the stream has the change at %s as event %d, it is number %d of the source", m.Position, m.Event, want)
		}

		return
	}

	j.fail("numbers: the stream has event %d at %s, which the source has not", m.Event, m.Position)
}

// crowded counts the messages that two listeners stored so soon after each other that the
// server still knew the ids of both.
func (j *judge) crowded() (n int) {
	messages := j.stream.Messages()

	for i := 2; i < len(messages); i++ { // the first one is of flow init
		a, b := messages[i-1], messages[i]
		if b.At.Sub(a.At) < together && j.decoded(a.Msg).Writer != j.decoded(b.Msg).Writer {
			n++
		}
	}

	return n
}

// has tells whether the stream has the message of a checkpoint where that says.
func (s *sight) has(d *checkpoint.Document) bool {
	m, ok := s.messages[d.StreamSequence()]

	return ok && d.Names(&m)
}
