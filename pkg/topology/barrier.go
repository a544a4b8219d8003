package topology

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// BarriersAfter returns the schema changes that are complete behind the message
// with this sequence, in their order and put together: those of partition 0, of
// which all other partitions have but copies. What an interrupted listener left
// unfinished is not among them, nor is one that lost a part. Errors as of Tail.
func (s *Stream) BarriersAfter(ctx context.Context, sequence uint64) ([]Stored, error) {
	var (
		barriers []Stored
		parts    event.Assembler
	)

	for {
		m, err := s.nextBarrier(ctx, sequence+1)
		if errors.Is(err, ErrNoMessage) {
			return barriers, nil
		}

		if err != nil {
			return nil, err
		}

		sequence = m.Sequence

		// A part whose first one is gone is no error here: whoever reads counts finds
		// the hole, and the stream is rewound.
		if whole, complete, _ := parts.Add(m.Message); complete {
			m.Message = whole
			barriers = append(barriers, m)
		}
	}
}

func (s *Stream) nextBarrier(ctx context.Context, sequence uint64) (Stored, error) {
	subject := event.BarrierSubject(s.flow, 0)
	raw, err := s.js.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(subject))

	return s.decode(raw, err, fmt.Sprintf("first message of %s from %d", subject, sequence))
}
