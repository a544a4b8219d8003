package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// MarkerEvery is how many messages may follow a marker before the next one is
// due: a restart reads the partitions' heads from it.
const MarkerEvery = 10_000

// ErrHistoryChanged says that the source gave another event than the one that
// stands unfinished at the stream's tail, after the same token. The source is
// not the one that the stream was made from, or was restored from a backup.
var ErrHistoryChanged = errors.New("the source's history differs from the stream's")

// Ledger numbers the events of the source and turns them into messages that
// continue a tail. It is a state machine without I/O, built anew from the
// stream's tail after every interruption. Not safe for concurrent use.
type Ledger struct {
	streamID   string
	generation uint64
	writer     uint64

	heads   []uint64 // count of the last complete event, per partition
	event   uint64   // events counted so far
	skipped uint64   // how many of them were skipped
	token   bson.Raw // of the last event or batch read

	// Cluster time of the last event read, and the ordinal that the next event
	// of the same cluster time gets.
	clusterTime bson.Timestamp
	ordinal     uint32

	// The last part at the tail of an event whose other parts are missing; nil
	// when there is none. The next event counted must be this one.
	unfinished *event.Message

	published     bson.Raw // token of the last message
	sinceMarker   int      // messages after the last marker
	markerPending bool     // a marker is due as soon as the token has moved
}

// NewLedger returns the ledger that continues the tail. writer is the random
// number of this process.
func NewLedger(tail *Tail, writer uint64) *Ledger {
	last := &tail.Last

	l := &Ledger{
		streamID:    last.StreamID,
		generation:  last.Generation,
		writer:      writer,
		heads:       slices.Clone(tail.Heads),
		event:       last.Event,
		skipped:     last.Skipped,
		token:       last.ResumeToken,
		clusterTime: bson.Timestamp{T: last.Position.T, I: last.Position.I},
		ordinal:     last.Position.Ordinal + 1,
		published:   last.ResumeToken,
		sinceMarker: MarkerEvery,
	}

	if last.Kind == event.KindMarker {
		l.sinceMarker = 0
	}

	if last.Kind == event.KindEvent && !last.IsLastPart() {
		unfinished := last.Message
		unfinished.Payload = nil
		l.unfinished = &unfinished
		l.event--
		l.ordinal--
	}

	return l
}

// Token returns the token of the last event or batch read; the change stream
// resumes after it.
func (l *Ledger) Token() bson.Raw { return l.token }

// Generation returns the number of the stream's last rewind.
func (l *Ledger) Generation() uint64 { return l.generation }

// Totals returns how many events were counted and how many of them skipped.
func (l *Ledger) Totals() (total, skipped uint64) { return l.event, l.skipped }

// Position returns the position of the last event read.
func (l *Ledger) Position() event.Position {
	p := event.Position{T: l.clusterTime.T, I: l.clusterTime.I}
	if l.ordinal > 0 {
		p.Ordinal = l.ordinal - 1
	}

	return p
}

// place gives the event its position: the ordinal runs over all events of the
// same cluster time, whatever becomes of them.
func (l *Ledger) place(at bson.Timestamp) event.Position {
	if at != l.clusterTime {
		l.clusterTime, l.ordinal = at, 0
	}

	p := event.Position{T: at.T, I: at.I, Ordinal: l.ordinal}
	l.ordinal++

	return p
}

// Ignore takes note of an event that is neither replicated nor counted.
func (l *Ledger) Ignore(e *event.Event, token bson.Raw) {
	l.place(e.ClusterTime)
	l.token = token
}

// Idle takes note of a token that came without an event.
func (l *Ledger) Idle(token bson.Raw) { l.token = token }

// Skip counts an event that is not published. Errors: ErrHistoryChanged.
func (l *Ledger) Skip(e *event.Event, token bson.Raw) error {
	attempt, err := l.settleUnfinished(l.place(e.ClusterTime))
	if err != nil {
		return err
	}

	l.event++
	l.skipped++
	l.token = token

	if attempt > 1 {
		// The filter has removed the unfinished event. A marker tells readers
		// of the partition's head that its count was given back.
		l.markerPending = true
	}

	return nil
}

// Take counts an event and returns its messages, cut so that each payload has
// at most limit bytes (see event.PartLimit). Errors: ErrHistoryChanged, or an
// _id that has no key.
func (l *Ledger) Take(e *event.Event, token bson.Raw, limit int) ([]event.Message, error) {
	partition, err := l.route(e)
	if err != nil {
		return nil, err
	}

	position := l.place(e.ClusterTime)

	attempt, err := l.settleUnfinished(position)
	if err != nil {
		return nil, err
	}

	before := l.token
	l.event++
	l.heads[partition]++
	l.token, l.published = token, token

	parts := event.Split(e.Raw, limit)
	messages := make([]event.Message, len(parts))

	for i, part := range parts {
		messages[i] = event.Message{
			Kind:        event.KindEvent,
			Partition:   partition,
			Namespace:   e.Namespace,
			StreamID:    l.streamID,
			Generation:  l.generation,
			Writer:      l.writer,
			Position:    position,
			ResumeToken: before,
			Event:       l.event,
			Skipped:     l.skipped,
			Count:       l.heads[partition],
			Part:        i + 1,
			Parts:       len(parts),
			Size:        len(e.Raw),
			Attempt:     attempt,
			Payload:     part,
		}
	}

	messages[len(parts)-1].ResumeToken = token
	l.sinceMarker += len(parts)

	return messages, nil
}

// route returns the event's partition. Events without a document are rare and
// concern all partitions; the first one carries them.
func (l *Ledger) route(e *event.Event) (int, error) {
	if !e.Operation.IsDocument() {
		return 0, nil
	}

	key, err := event.NewKey(e.Namespace, e.ID())
	if err != nil {
		return 0, fmt.Errorf("route %s on %s: %w", e.Operation, e.Namespace, err)
	}

	return key.Partition(len(l.heads)), nil
}

// settleUnfinished returns the attempt that the event at this position is: 1
// unless it stands unfinished at the tail.
func (l *Ledger) settleUnfinished(position event.Position) (int, error) {
	unfinished := l.unfinished
	if unfinished == nil {
		return 1, nil
	}

	if position != unfinished.Position || l.event+1 != unfinished.Event {
		return 0, fmt.Errorf("%w: event %d at %s stands unfinished at the tail, the source gave %s after the same token",
			ErrHistoryChanged, unfinished.Event, unfinished.Position, position)
	}

	l.unfinished = nil

	return unfinished.Attempt + 1, nil
}

// MarkerDue tells whether a marker should be published now: because MarkerEvery
// messages passed, because a reader has to know something (see RequestMarker),
// or because the stream is idle, of which the caller judges.
func (l *Ledger) MarkerDue(idle bool) bool {
	return (idle || l.markerPending || l.sinceMarker >= MarkerEvery) && l.markerAllowed()
}

// RequestMarker makes a marker due as soon as the token has moved.
func (l *Ledger) RequestMarker() { l.markerPending = true }

// markerAllowed keeps a marker from following a message with the same token:
// after a marker it would have the same message id, which the server answers
// with success without storing it. While an unfinished event stands at the
// tail, no marker could say what has been read.
func (l *Ledger) markerAllowed() bool {
	return l.unfinished == nil && (!bytes.Equal(l.token, l.published) || l.sinceMarker > 0)
}

// Marker returns a marker with this payload that says what was read so far.
func (l *Ledger) Marker(payload []byte) event.Message {
	l.published = l.token
	l.sinceMarker = 0
	l.markerPending = false

	return event.Message{
		Kind:        event.KindMarker,
		StreamID:    l.streamID,
		Generation:  l.generation,
		Writer:      l.writer,
		Position:    l.Position(),
		ResumeToken: l.token,
		Event:       l.event,
		Skipped:     l.skipped,
		Part:        1,
		Parts:       1,
		Size:        len(payload),
		Attempt:     1,
		Payload:     payload,
	}
}

// Heads returns the count of the last event of each partition.
func (l *Ledger) Heads() []uint64 { return slices.Clone(l.heads) }
