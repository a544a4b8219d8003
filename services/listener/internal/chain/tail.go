package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Tail is the end of the stream: everything a listener needs to go on.
type Tail struct {
	Last   topology.Stored
	Heads  []uint64        // count of the last complete event, per partition
	Marker *relayv1.Marker // the last marker; it knows the filter

	// Table is the routing table at this place: that of the marker, and the schema
	// changes behind it. Nil where the stream has none: schema changes are not
	// replicated.
	Table       *routing.Table
	LastBarrier uint64 // event number of the last schema change that has a barrier

	// Sequence is the last one that the server has given: that of Last, or a higher
	// one of messages that it remembers and has lost.
	Sequence uint64

	Publish topology.PublishMode // how what follows has to be published
	Marked  uint64               // the marker's sequence

	missing int64 // see Missing
}

// Missing returns how many events the stream has counted since its last marker
// that are in no partition's head: their messages are gone from amid the stream.
// Whoever went on would use their counts again, and their readers would find
// nothing missing. Every event that is not skipped raises one head by one.
func (t *Tail) Missing() int64 { return t.missing }

// ErrForeignTail says that the stream's last message was not written by a
// listener of this stream.
var ErrForeignTail = errors.New("the stream's last message is not one of its listener")

// ErrTailMoves says that another listener publishes so fast that the stream's end
// could not be read.
var ErrTailMoves = errors.New("another listener publishes to the stream")

// tailReadings bounds how often a tail that moves is read.
const tailReadings = 20

// ReadTail reads the stream's end, as it was at one moment: it takes many requests, and what is
// stored in between belongs to some of their answers only. Who went on from heads that know more
// than the last message would make the same messages as the listener that stored it, which
// the server takes for duplicates, and behind them others whose counts leave a gap.
//
// Messages of this connection that the server has not stored yet may still be appended
// afterwards; the server then refuses whatever is built on this tail, and it is read again.
// Errors: topology.ErrNoMessage if the stream is empty, ErrForeignTail, ErrTailMoves,
// event.ErrMalformed, or those of the connection.
func ReadTail(ctx context.Context, stream *topology.Stream) (*Tail, error) {
	before, _, err := stream.State(ctx)
	if err != nil {
		return nil, err
	}

	for range tailReadings {
		tail, err := Glance(ctx, stream)
		if err != nil {
			return nil, err
		}

		after, _, err := stream.State(ctx)
		if err != nil {
			return nil, err
		}

		// The time tells a message from one that took its number: a server that restarts may lose the
		// last messages, and another listener publish as many.
		if after.LastSeq == before.LastSeq && after.LastTime.Equal(before.LastTime) {
			tail.Sequence = after.LastSeq

			return tail, nil
		}

		before = after
	}

	return nil, fmt.Errorf("read the end of stream %s %d times: %w", stream.Name(), tailReadings, ErrTailMoves)
}

// Glance reads the stream's end once: enough to see that one could go on from it, which
// a standby does while another listener publishes. What it returns may be of different moments,
// and lacks Sequence: only ReadTail's is to go on from. Errors as of ReadTail, but for ErrTailMoves.
func Glance(ctx context.Context, stream *topology.Stream) (*Tail, error) {
	last, err := stream.Tail(ctx)
	if err != nil {
		return nil, err
	}

	if last.StreamID != stream.StreamID || last.ID == "" || last.ResumeToken == nil {
		return nil, fmt.Errorf("message %d of stream %s: %w", last.Sequence, stream.Name(), ErrForeignTail)
	}

	marker, err := stream.LastMarker(ctx)
	if err != nil {
		return nil, err
	}

	payload, err := stream.ParseMarker(&marker)
	if err != nil {
		return nil, err
	}

	heads, err := stream.Heads(ctx, &marker, payload.GetHeads())
	if err != nil {
		return nil, err
	}

	tail := &Tail{
		Last: last, Heads: heads, Marker: payload, Marked: marker.Sequence, Publish: stream.Publish,
		missing: topology.MissingEvents(&last.Message, &marker.Message, heads, payload.GetHeads()),
	}

	if stream.DDL {
		err = tail.readSchema(ctx, stream)
	}

	return tail, err
}
