package chain_test

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// history draws a source: events that often share a cluster time, some larger
// than a message, and schema changes of a capped collection between them.
func history(t *rapid.T) []sourceEvent {
	var (
		events []sourceEvent
		at     = bson.Timestamp{T: 1000}
		logs   capped
	)

	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		if n == 0 || rapid.Bool().Draw(t, "later") {
			at.I++
		}

		padding := rapid.SampledFrom([]int{0, 0, 0, 400, 1000}).Draw(t, "padding")

		if rapid.IntRange(0, 2).Draw(t, "plain") > 0 {
			id := rapid.IntRange(0, 6).Draw(t, "id")
			events = append(events, makeEvent(t, n+1, at, id, padding))
		} else {
			events = append(events, logs.next(t, n+1, at, padding))
		}
	}

	return events
}

// capped is a collection of the source that is made, renamed and dropped.
type capped struct {
	name string // empty: it does not exist
	uuid byte   // of the last one
}

func (c *capped) next(t *rapid.T, n int, at bson.Timestamp, padding int) sourceEvent {
	operation := event.Create
	if c.name != "" {
		operation = rapid.SampledFrom([]event.Operation{event.Insert, event.Insert, event.Rename, event.Drop, event.CreateIndexes}).Draw(t, "operation")
	}

	fields := bson.D{}

	switch operation {
	case event.Create:
		c.name, c.uuid = rapid.SampledFrom([]string{"logs", "audit"}).Draw(t, "name"), c.uuid+1
		fields = bson.D{{Key: "operationDescription", Value: bson.D{{Key: "capped", Value: true}}}}
	case event.Insert:
		fields = bson.D{{Key: "documentKey", Value: bson.D{{Key: "_id", Value: n}}}}
	case event.Rename:
		fields = bson.D{{Key: "to", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: fmt.Sprint("old", n)}}}}
	default:
	}

	e := rawEvent(t, n, at, operation, c.name, padding, append(fields,
		bson.E{Key: "collectionUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: slices.Repeat([]byte{c.uuid}, 16)}}))

	switch operation {
	case event.Rename:
		c.name = e.event.To.Coll
	case event.Drop:
		c.name = ""
	default:
	}

	return e
}

// take counts an event and returns its messages.
func take(t require.TestingT, ledger *chain.Ledger, e *sourceEvent) []event.Message {
	number := ledger.Take
	if routing.IsBarrier(&e.event) {
		number = ledger.Barrier
	}

	messages, err := number(&e.event, e.token, partLimit)
	require.NoError(t, err)

	return messages
}

// markerOf returns the marker that a listener publishes.
func markerOf(ledger *chain.Ledger) event.Message {
	marker := &relayv1.Marker{Heads: ledger.Heads()}
	ledger.Schema(marker)

	payload, _ := proto.Marshal(marker) // of numbers and names of this test

	return ledger.Marker(payload)
}

// model is a stream in memory, with what a reader of the tail needs.
type model struct {
	messages []event.Message
}

func newModel() *model {
	return &model{messages: []event.Message{{
		Kind: event.KindMarker, StreamID: "s", ResumeToken: token(0), Part: 1, Parts: 1, Attempt: 1,
	}}}
}

// tail does what ReadTail does: heads from each partition's last message or the
// last marker, whichever is later, and the table from the last marker and the
// barriers behind it.
func (m *model) tail() *chain.Tail {
	last := len(m.messages) - 1
	tail := &chain.Tail{
		Last:  topology.Stored{Message: m.messages[last], Sequence: uint64(last + 1)},
		Heads: make([]uint64, partitions),
		Table: routing.New(partitions),
	}

	var parts event.Assembler

	for _, message := range m.messages {
		switch {
		case message.Kind == event.KindMarker && len(message.Payload) > 0:
			var marker relayv1.Marker

			_ = proto.Unmarshal(message.Payload, &marker) // markerOf wrote it
			tail.Heads, tail.LastBarrier = marker.GetHeads(), marker.GetLastBarrier()
			tail.Table, _ = routing.FromMarker(&marker, partitions)
		case message.Kind == event.KindMarker:
		case message.IsLastPart():
			tail.Heads[message.Partition] = message.Count
		default:
			tail.Heads[message.Partition] = message.Count - 1
		}

		if message.Kind == event.KindBarrier && !message.IsCopy() {
			if whole, complete, _ := parts.Add(message); complete {
				e, _ := event.Parse(whole.Payload)
				tail.Table.Apply(&e)
				tail.LastBarrier = whole.Event
			}
		}
	}

	return tail
}

// reading is what the consumers of all partitions have seen.
type reading struct {
	assemblers  [partitions]event.Assembler
	counts      [partitions]uint64
	taken       map[int]int // event number of the source → times
	last        event.Position
	pinned      map[event.UUID]int // partition of a pinned collection
	lastBarrier uint64
}

// check reads the stream as its consumers do.
func check(t require.TestingT, stream *model, events []sourceEvent) {
	r := &reading{taken: map[int]int{}, pinned: map[event.UUID]int{}}
	ids := map[string]bool{}

	for _, e := range events {
		if e.event.Operation == event.Create {
			r.pinned[e.event.Collection] = event.PartitionOf(e.event.Namespace, partitions)
		}
	}

	for i := range stream.messages {
		m := stream.messages[i]

		require.False(t, ids[m.ID()], "message id stands twice")
		ids[m.ID()] = true

		if i > 0 {
			require.GreaterOrEqual(t, m.Event, stream.messages[i-1].Event, "event number went back")
		}

		switch {
		case m.Kind == event.KindMarker:
			r.marker(t, &m)
		case m.IsCopy():
			require.Positive(t, m.Position.Compare(r.last), "a copy stands before its barrier")
			require.Equal(t, r.counts[m.Partition], m.Count, "the copy repeats the count of partition %d", m.Partition)
		default:
			r.message(t, stream.messages[:i], m, events)
		}
	}

	end := stream.messages[len(stream.messages)-1]
	require.Equal(t, uint64(len(events)), end.Event, "events counted")
	require.Equal(t, uint64(len(events)-len(r.taken)), end.Skipped, "events skipped")
}

func (r *reading) marker(t require.TestingT, m *event.Message) {
	var marker relayv1.Marker

	require.NoError(t, proto.Unmarshal(m.Payload, &marker))
	require.Equal(t, r.lastBarrier, marker.GetLastBarrier(), "last barrier")

	if len(m.Payload) > 0 {
		require.Equal(t, r.counts[:], marker.GetHeads(), "heads")
	}
}

// message takes in one of an event, or of the schema change itself.
func (r *reading) message(t require.TestingT, before []event.Message, m event.Message, events []sourceEvent) {
	if m.Kind == event.KindBarrier && m.Part == 1 {
		checkCopies(t, before, &m)
	}

	whole, complete, err := r.assemblers[m.Partition].Add(m)
	require.NoError(t, err)

	if !complete {
		return
	}

	require.Positive(t, whole.Position.Compare(r.last), "positions must grow")
	r.last = whole.Position

	r.counts[m.Partition]++
	require.Equal(t, r.counts[m.Partition], whole.Count, "count of partition %d has a gap", m.Partition)

	n := int(bson.Raw(whole.Payload).Lookup("n").Int32())
	require.Equal(t, uint64(n), whole.Event, "event number")
	require.Equal(t, []byte(events[n-1].event.Raw), whole.Payload)

	r.taken[n]++
	require.Equal(t, 1, r.taken[n], "event %d stands twice", n)

	e := &events[n-1].event
	require.Equal(t, e.Operation.IsSchemaChange(), whole.Kind == event.KindBarrier)

	if whole.Kind == event.KindBarrier {
		require.Zero(t, whole.Partition)

		r.lastBarrier = whole.Event

		return
	}

	partition, pin := partitionOf(t, e), event.PinNone
	if p, ok := r.pinned[e.Collection]; ok {
		partition, pin = p, event.PinCapped
	}

	require.Equal(t, partition, whole.Partition, "partition of event %d", n)
	require.Equal(t, pin, whole.Pin, "pin of event %d", n)
}

// checkCopies: right before the change itself, every other partition has been told
// of it, by the same attempt.
func checkCopies(t require.TestingT, before []event.Message, change *event.Message) {
	for p := 1; p < partitions; p++ {
		m := before[len(before)-p]
		require.True(t, m.IsCopy())
		require.Equal(t, p, m.Partition)
		require.Equal(t, change.Position, m.Position)
		require.Equal(t, change.Event, m.Event)
		require.Equal(t, change.Attempt, m.Attempt)
		require.NotEqual(t, token(int(change.Event)), m.ResumeToken, "a copy at the tail must be published again")

		told, err := m.SchemaChange()
		require.NoError(t, err)
		require.NotEmpty(t, told.Operation)
	}
}

func partitionOf(t require.TestingT, e *event.Event) int {
	key, err := event.NewKey(e.Namespace, e.ID())
	require.NoError(t, err)

	return key.Partition(partitions)
}
