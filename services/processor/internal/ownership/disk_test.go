package ownership

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// disk is a stream whose messages may vanish: message n is at index n-1, nil
// where it is gone.
type disk struct {
	messages []*event.Message
	first    uint64 // sequence of the first one; higher ones may be gone too
}

func (d *disk) State(context.Context) (jetstream.StreamState, jetstream.StreamConfig, error) {
	return jetstream.StreamState{FirstSeq: d.first, LastSeq: uint64(len(d.messages))}, jetstream.StreamConfig{}, nil
}

func (d *disk) find(from uint64, is func(*event.Message) bool) (topology.Stored, error) {
	for sequence := max(from, d.first); sequence <= uint64(len(d.messages)); sequence++ {
		if m := d.messages[sequence-1]; m != nil && is(m) {
			return topology.Stored{Message: *m, Sequence: sequence}, nil
		}
	}

	return topology.Stored{}, topology.ErrNoMessage
}

func (d *disk) At(_ context.Context, sequence uint64) (topology.Stored, error) {
	m, err := d.find(sequence, func(*event.Message) bool { return true })
	if err == nil && m.Sequence != sequence {
		err = topology.ErrNoMessage
	}

	return m, err
}

func (d *disk) NextOf(_ context.Context, partition int, sequence uint64) (topology.Stored, error) {
	return d.find(sequence, func(m *event.Message) bool { return m.Kind == event.KindEvent && m.Partition == partition })
}

func isMarker(m *event.Message) bool { return m.Kind == event.KindMarker }

func (d *disk) NextMarker(_ context.Context, sequence uint64) (topology.Stored, error) {
	return d.find(sequence, isMarker)
}

func (d *disk) LastMarker(context.Context) (topology.Stored, error) {
	for i := len(d.messages) - 1; i >= int(d.first)-1; i-- {
		if m := d.messages[i]; m != nil && isMarker(m) {
			return topology.Stored{Message: *m, Sequence: uint64(i + 1)}, nil
		}
	}

	return topology.Stored{}, topology.ErrNoMessage
}
