package capture

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

const (
	// markerShare of the stream's capacity may pass without a marker. The head
	// can be purged up to the newest marker only, and a full stream takes no new
	// one: far from its end, no marker would come any more.
	markerShare = 8
	// roomShare of the capacity has to be free before a listener that met a full
	// stream tries again.
	roomShare = 16
	// messageOverhead is about what headers and the server's records add to a
	// message.
	messageOverhead = 600
)

// room is how many bytes may be published until a marker is due.
type room struct {
	every uint64 // 0: the stream is unlimited
	since uint64 // the last marker
}

// Mark asks for a marker soon. Safe for concurrent use.
func (c *Capture) Mark() { c.marked.Store(true) }

// take counts a published message and tells whether a marker is due.
func (r *room) take(m *event.Message) bool {
	if m.Kind == event.KindMarker {
		r.since = 0

		return false
	}

	r.since += uint64(len(m.Payload)) + messageOverhead

	return r.every > 0 && r.since >= r.every
}

// roomOf estimates what was published since the last marker by the stream's
// average message.
func roomOf(state *jetstream.StreamState, config *jetstream.StreamConfig, marked uint64) room {
	r := room{every: uint64(max(config.MaxBytes, 0)) / markerShare}
	if state.Msgs > 0 && state.LastSeq > marked {
		r.since = uint64(float64(state.LastSeq-marked) / float64(state.Msgs) * float64(state.Bytes))
	}

	return r
}

// findRoom looks whether there is room in a stream that was full: each try would
// read the source and send it to a server that refuses it.
func (c *Capture) findRoom(ctx context.Context, stream *topology.Stream, tail *chain.Tail) (room, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	state, config, err := stream.State(ctx)
	if err != nil {
		return room{}, streamTrouble(err, c.options.Flow, true)
	}

	if limit := uint64(max(config.MaxBytes, 0)); c.full && limit > 0 && state.Bytes > limit-limit/roomShare {
		return room{}, streamTrouble(chain.ErrStreamFull, c.options.Flow, true)
	}

	return roomOf(&state, &config, tail.Marked), nil
}
