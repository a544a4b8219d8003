package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// MarkerEvery is how many messages may follow a marker before the next one is
// due: a restart reads the partitions' heads from it.
const MarkerEvery = 10_000

// BarriersEvery is how many schema changes may: a restart asks for each of them.
const BarriersEvery = 100

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

	table       *routing.Table // nil: every event goes its document's way
	lastBarrier uint64         // event number of the last schema change with a barrier

	heads   []uint64 // count of the last complete event, per partition
	event   uint64   // events counted so far
	skipped uint64   // how many of them were skipped
	token   bson.Raw // of the last event or batch read

	// Cluster time of the last event read, and the ordinal that the next event
	// of the same cluster time gets.
	clusterTime bson.Timestamp
	ordinal     uint32

	// The last message at the tail of an event whose other parts, or copies, are
	// missing; nil when there is none. The next event counted must be this one.
	unfinished *event.Message

	published     bson.Raw // token of the last message
	sinceMarker   int      // messages after the last marker
	barriers      int      // schema changes among them
	markerPending bool     // a marker is due as soon as the token has moved
}

// NewLedger returns the ledger that continues the tail, and takes its table over.
// writer is the random number of this process.
func NewLedger(tail *Tail, writer uint64) *Ledger {
	last := &tail.Last

	l := &Ledger{
		streamID:    last.StreamID,
		generation:  last.Generation,
		writer:      writer,
		table:       tail.Table,
		lastBarrier: tail.LastBarrier,
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

	if !last.EndsEvent() {
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
	p := l.next(at)
	l.clusterTime, l.ordinal = at, p.Ordinal+1

	return p
}

// next returns the position that place will give.
func (l *Ledger) next(at bson.Timestamp) event.Position {
	p := event.Position{T: at.T, I: at.I}
	if at == l.clusterTime {
		p.Ordinal = l.ordinal
	}

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
	l.follow(e)

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
	partition, pin, err := l.route(e)
	if err != nil {
		return nil, err
	}

	first, err := l.count(e, token)
	if err != nil {
		return nil, err
	}

	first.Kind, first.Partition, first.Namespace, first.Pin = event.KindEvent, partition, e.Namespace, pin

	l.follow(e)

	return l.publish(nil, l.parts(first, e.Raw, limit), token), nil
}

// Barrier counts a schema change like Take, and returns its copies for all other
// partitions before its own messages: a listener that stops amid them leaves an
// unfinished event, which is published again as a whole. Errors as of Take, or a
// name that is not UTF-8.
func (l *Ledger) Barrier(e *event.Event, token bson.Raw, limit int) ([]event.Message, error) {
	change := e.SchemaChange()

	payload, err := change.Marshal()
	if err != nil {
		return nil, err
	}

	first, err := l.count(e, token)
	if err != nil {
		return nil, err
	}

	first.Kind = event.KindBarrier
	messages := make([]event.Message, 0, len(l.heads))

	for partition := len(l.heads) - 1; partition > 0; partition-- {
		m := first
		m.Partition, m.Count = partition, l.heads[partition]
		m.Part, m.Parts, m.Size, m.Payload = 1, 1, len(payload), payload
		messages = append(messages, m)
	}

	l.lastBarrier = first.Event
	l.follow(e)

	if l.barriers++; l.barriers >= BarriersEvery {
		l.markerPending = true
	}

	return l.publish(messages, l.parts(first, e.Raw, limit), token), nil
}

// count gives the next event its numbers, as the message that is the first of it.
// Its token is that of the event before.
func (l *Ledger) count(e *event.Event, token bson.Raw) (event.Message, error) {
	position := l.place(e.ClusterTime)

	attempt, err := l.settleUnfinished(position)
	if err != nil {
		return event.Message{}, err
	}

	before := l.token
	l.event++
	l.token, l.published = token, token

	return event.Message{
		StreamID: l.streamID, Generation: l.generation, Writer: l.writer,
		Position: position, ResumeToken: before,
		Event: l.event, Skipped: l.skipped, Attempt: attempt,
	}, nil
}

// parts returns the messages of the event itself in its partition.
func (l *Ledger) parts(first event.Message, raw bson.Raw, limit int) []event.Message {
	l.heads[first.Partition]++

	payloads := event.Split(raw, limit)
	messages := make([]event.Message, len(payloads))

	for i, payload := range payloads {
		m := first
		m.Count = l.heads[first.Partition]
		m.Part, m.Parts, m.Size, m.Payload = i+1, len(payloads), len(raw), payload
		messages[i] = m
	}

	return messages
}

// publish puts an event's messages together; the last one has its token.
func (l *Ledger) publish(copies, parts []event.Message, token bson.Raw) []event.Message {
	parts[len(parts)-1].ResumeToken = token
	l.sinceMarker += len(copies) + len(parts)

	if len(copies) == 0 {
		return parts
	}

	return append(copies, parts...)
}

// route returns the event's partition, and why it is that of its collection where
// it is. Events without a document are rare and concern all partitions; the first
// one carries them.
func (l *Ledger) route(e *event.Event) (int, event.Pin, error) {
	if !e.Operation.IsDocument() {
		return 0, event.PinNone, nil
	}

	if table := l.tableAt(l.next(e.ClusterTime)); table != nil {
		if entry, ok := table.Find(e); ok {
			return entry.Partition, entry.Pin, nil
		}
	}

	key, err := event.NewKey(e.Namespace, e.ID())
	if err != nil {
		return 0, event.PinNone, fmt.Errorf("route %s on %s: %w", e.Operation, e.Namespace, err)
	}

	return key.Partition(len(l.heads)), event.PinNone, nil
}

// follow has the table follow a schema change. A marker with the new table then
// comes right behind the event, before any other: of what is not published, a
// listener that goes on from the tail would know nothing.
func (l *Ledger) follow(e *event.Event) {
	if table := l.tableAt(l.Position()); table != nil && table.Apply(e) {
		l.markerPending = true
	}
}

// tableAt returns the table for the event at this place; nil where there is none.
func (l *Ledger) tableAt(place event.Position) *routing.Table {
	if l.table != nil {
		l.table.Reach(place)
	}

	return l.table
}

// IsSkipped is routing.Table.IsSkipped of the table at this place.
func (l *Ledger) IsSkipped(e *event.Event) (why string, skipped bool) {
	table := l.tableAt(l.next(e.ClusterTime))
	if table == nil {
		return "", false
	}

	return table.IsSkipped(e)
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
// messages or BarriersEvery schema changes passed, because a reader has to know
// something (see RequestMarker), or because the stream is idle, of which the caller
// judges.
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
	l.sinceMarker, l.barriers = 0, 0
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

// Schema writes into a marker what is known of schema changes: the table, and the
// number of the last barrier.
func (l *Ledger) Schema(marker *relayv1.Marker) {
	marker.LastBarrier = l.lastBarrier
	if l.table != nil {
		l.table.Encode(marker)
	}
}

// Heads returns the count of the last event of each partition.
func (l *Ledger) Heads() []uint64 { return slices.Clone(l.heads) }
