package chain_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

const (
	partitions = 4
	partLimit  = 300 // bytes; some events of the model are larger
)

// sourceEvent is an event of the model's source with its resume token.
type sourceEvent struct {
	event event.Event
	token bson.Raw
}

func token(n int) bson.Raw {
	raw, _ := bson.Marshal(bson.D{{Key: "_data", Value: fmt.Sprintf("%08d", n)}})

	return raw
}

func makeEvent(t require.TestingT, n int, at bson.Timestamp, id any, padding int) sourceEvent {
	raw, err := bson.Marshal(bson.D{
		{Key: "_id", Value: token(n)},
		{Key: "operationType", Value: "insert"},
		{Key: "clusterTime", Value: at},
		{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
		{Key: "n", Value: int32(n)},
		{Key: "padding", Value: make([]byte, padding)},
	})
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	return sourceEvent{event: e, token: token(n)}
}

// history draws a source: events that often share a cluster time, some larger
// than a message.
func history(t *rapid.T) []sourceEvent {
	var (
		events []sourceEvent
		at     = bson.Timestamp{T: 1000}
	)

	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		if n == 0 || rapid.Bool().Draw(t, "later") {
			at.I++
		}

		padding := rapid.SampledFrom([]int{0, 0, 0, 400, 1000}).Draw(t, "padding")
		id := rapid.IntRange(0, 6).Draw(t, "id")
		events = append(events, makeEvent(t, n+1, at, id, padding))
	}

	return events
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
// last marker, whichever is later.
func (m *model) tail(heads map[int][]uint64) *chain.Tail {
	last := len(m.messages) - 1
	tail := &chain.Tail{
		Last:  topology.Stored{Message: m.messages[last], Sequence: uint64(last + 1)},
		Heads: make([]uint64, partitions),
	}

	for i, message := range m.messages {
		switch {
		case message.Kind == event.KindMarker && heads[i] != nil:
			tail.Heads = slices.Clone(heads[i])
		case message.Kind == event.KindEvent && message.IsLastPart():
			tail.Heads[message.Partition] = message.Count
		case message.Kind == event.KindEvent:
			tail.Heads[message.Partition] = message.Count - 1
		}
	}

	return tail
}

// TestLedgerSurvivesAnyCut publishes a random history into a stream that is cut
// at random messages, with filters that change at every restart, and reads the
// stream as a processor does: every event that was taken is there exactly once,
// in order, with gap-free counts, and every event was counted.
func TestLedgerSurvivesAnyCut(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		events := history(t)
		stream := newModel()
		markers := map[int][]uint64{} // index of a marker in the stream → its heads

		for restart := 0; ; restart++ {
			require.Less(t, restart, 1000, "the history does not come to an end")

			tail := stream.tail(markers)
			ledger := chain.NewLedger(tail, uint64(restart))
			next := slices.IndexFunc(events, func(e sourceEvent) bool { return string(e.token) > string(ledger.Token()) })

			if next < 0 {
				break
			}

			room := rapid.IntRange(1, 12).Draw(t, "messages until the cut")
			skips := rapid.SampledFrom([]int{0, 0, 2, 3}).Draw(t, "filter")
			publish(t, stream, ledger, markers, events[next:], room, skips)
		}

		check(t, stream, events)
	})
}

// publish runs one session of a listener until room messages were stored. It
// always leaves at least as much in the stream as it found.
func publish(t *rapid.T, stream *model, ledger *chain.Ledger, markers map[int][]uint64, events []sourceEvent, room, skips int) {
	store := func(m event.Message) bool {
		if room == 0 {
			return false
		}

		room--

		stream.messages = append(stream.messages, m)

		return true
	}

	// A reply without events comes first now and then; its token is no newer.
	if rapid.Bool().Draw(t, "idle at first") {
		ledger.Idle(ledger.Token())

		if ledger.MarkerDue(true) {
			heads := ledger.Heads()
			if !store(ledger.Marker(nil)) {
				return
			}

			markers[len(stream.messages)-1] = heads
		}
	}

	for _, e := range events {
		if n := int(e.event.Raw.Lookup("n").Int32()); skips > 0 && n%skips == 0 {
			require.NoError(t, ledger.Skip(&e.event, e.token))
		} else {
			messages, err := ledger.Take(&e.event, e.token, partLimit)
			require.NoError(t, err)

			for _, m := range messages {
				if !store(m) {
					return
				}
			}
		}

		if ledger.MarkerDue(rapid.IntRange(0, 9).Draw(t, "idle") == 0) {
			heads := ledger.Heads()
			if !store(ledger.Marker(nil)) {
				return
			}

			markers[len(stream.messages)-1] = heads
		}
	}

	// The end of the history: an idle marker makes what was skipped last.
	if ledger.MarkerDue(true) {
		heads := ledger.Heads()
		if store(ledger.Marker(nil)) {
			markers[len(stream.messages)-1] = heads
		}
	}
}

// check reads the stream as its consumers do.
func check(t require.TestingT, stream *model, events []sourceEvent) {
	var (
		assemblers [partitions]event.Assembler
		counts     [partitions]uint64
		taken      = map[int]int{} // event number of the source → times
		last       event.Position
		ids        = map[string]bool{}
	)

	for i := range stream.messages {
		m := stream.messages[i]

		require.False(t, ids[m.ID()], "message id stands twice")
		ids[m.ID()] = true

		if i > 0 {
			require.GreaterOrEqual(t, m.Event, stream.messages[i-1].Event, "event number went back")
		}

		if m.Kind == event.KindMarker {
			continue
		}

		whole, complete, err := assemblers[m.Partition].Add(m)
		require.NoError(t, err)

		if !complete {
			continue
		}

		require.Positive(t, whole.Position.Compare(last), "positions must grow")
		last = whole.Position

		counts[m.Partition]++
		require.Equal(t, counts[m.Partition], whole.Count, "count of partition %d has a gap", m.Partition)

		n := int(bson.Raw(whole.Payload).Lookup("n").Int32())
		require.Equal(t, uint64(n), whole.Event, "event number")
		require.Equal(t, []byte(events[n-1].event.Raw), whole.Payload)
		taken[n]++
		require.Equal(t, 1, taken[n], "event %d stands twice", n)
	}

	end := stream.messages[len(stream.messages)-1]
	require.Equal(t, uint64(len(events)), end.Event, "events counted")
	require.Equal(t, uint64(len(events)-len(taken)), end.Skipped, "events skipped")
}

func TestLedgerRefusesAnotherHistory(t *testing.T) {
	t.Parallel()

	large := makeEvent(t, 1, bson.Timestamp{T: 1000, I: 1}, 1, 1000)
	other := makeEvent(t, 1, bson.Timestamp{T: 1000, I: 2}, 1, 1000)

	stream := newModel()
	messages, err := chain.NewLedger(stream.tail(nil), 1).Take(&large.event, large.token, partLimit)
	require.NoError(t, err)
	require.Greater(t, len(messages), 1)

	stream.messages = append(stream.messages, messages[0])

	_, err = chain.NewLedger(stream.tail(nil), 1).Take(&other.event, other.token, partLimit)
	require.ErrorIs(t, err, chain.ErrHistoryChanged)
}

// TestMarkerNeverRepeats keeps the rule that a marker may not follow a message
// with the same content: the server would answer success without storing it.
func TestMarkerNeverRepeats(t *testing.T) {
	t.Parallel()

	ledger := chain.NewLedger(newModel().tail(nil), 1)
	require.False(t, ledger.MarkerDue(true), "the tail is a marker with this token")

	ledger.Idle(token(1))
	require.True(t, ledger.MarkerDue(true))
	require.False(t, ledger.MarkerDue(false))
	ledger.Marker(nil)
	require.False(t, ledger.MarkerDue(true))

	ledger.RequestMarker()
	require.False(t, ledger.MarkerDue(false), "the token has not moved")
	ledger.Idle(token(2))
	require.True(t, ledger.MarkerDue(false))
}

func TestMarkerIsDueAfterManyMessages(t *testing.T) {
	t.Parallel()

	ledger := chain.NewLedger(newModel().tail(nil), 1)

	for n := 1; n < chain.MarkerEvery; n++ {
		e := makeEvent(t, n, bson.Timestamp{T: 1000, I: uint32(n)}, n, 0)
		_, err := ledger.Take(&e.event, e.token, 1<<20)
		require.NoError(t, err)
		require.False(t, ledger.MarkerDue(false))
	}

	e := makeEvent(t, chain.MarkerEvery, bson.Timestamp{T: 2000}, 1, 0)
	_, err := ledger.Take(&e.event, e.token, 1<<20)
	require.NoError(t, err)
	require.True(t, ledger.MarkerDue(false))
}
