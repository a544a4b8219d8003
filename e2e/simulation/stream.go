package simulation

import (
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

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

	return m
}

// has tells whether the stream has the message of a checkpoint where that says.
func (s *sight) has(d *checkpoint.Document) bool {
	m, ok := s.messages[d.StreamSequence()]

	return ok && d.Names(&m)
}
