package chain_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
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
	return rawEvent(t, n, at, event.Insert, "orders", padding, bson.D{{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}}})
}

func rawEvent(t require.TestingT, n int, at bson.Timestamp, operation event.Operation, coll string, padding int, fields bson.D) sourceEvent {
	raw, err := bson.Marshal(append(bson.D{
		{Key: "_id", Value: token(n)},
		{Key: "operationType", Value: operation},
		{Key: "clusterTime", Value: at},
		{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: coll}}},
		{Key: "n", Value: int32(n)},
		{Key: "padding", Value: make([]byte, padding)},
	}, fields...))
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	return sourceEvent{event: e, token: token(n)}
}

// TestLedgerSurvivesAnyCut publishes a random history into a stream that is cut
// at random messages, with filters that change at every restart, and reads the
// stream as a processor does: every event that was taken is there exactly once,
// in order, with gap-free counts, and every event was counted; schema changes have
// their barriers, and pinned collections their partition.
func TestLedgerSurvivesAnyCut(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		events := history(t)
		stream := newModel()
		for restart := 0; ; restart++ {
			require.Less(t, restart, 1000, "the history does not come to an end")

			tail := stream.tail()
			ledger := chain.NewLedger(tail, uint64(restart))
			next := slices.IndexFunc(events, func(e sourceEvent) bool { return string(e.token) > string(ledger.Token()) })

			if next < 0 {
				break
			}

			room := rapid.IntRange(1, 12).Draw(t, "messages until the cut")
			skips := rapid.SampledFrom([]int{0, 0, 2, 3}).Draw(t, "filter")
			publish(t, stream, ledger, events[next:], room, skips)
		}

		check(t, stream, events)
	})
}

// publish runs one session of a listener until room messages were stored. It
// always leaves at least as much in the stream as it found.
func publish(t *rapid.T, stream *model, ledger *chain.Ledger, events []sourceEvent, room, skips int) {
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

		if ledger.MarkerDue(true) && !store(markerOf(ledger)) {
			return
		}
	}

	for _, e := range events {
		if n := int(e.event.Raw.Lookup("n").Int32()); skips > 0 && n%skips == 0 {
			require.NoError(t, ledger.Skip(&e.event, e.token))
		} else {
			for _, m := range take(t, ledger, &e) {
				if !store(m) {
					return
				}
			}
		}

		if ledger.MarkerDue(rapid.IntRange(0, 9).Draw(t, "idle") == 0) && !store(markerOf(ledger)) {
			return
		}
	}

	// The end of the history: an idle marker makes what was skipped last.
	if ledger.MarkerDue(true) {
		store(markerOf(ledger))
	}
}

func TestLedgerRefusesAnotherHistory(t *testing.T) {
	t.Parallel()

	large := makeEvent(t, 1, bson.Timestamp{T: 1000, I: 1}, 1, 1000)
	other := makeEvent(t, 1, bson.Timestamp{T: 1000, I: 2}, 1, 1000)

	stream := newModel()
	messages, err := chain.NewLedger(stream.tail(), 1).Take(&large.event, large.token, partLimit)
	require.NoError(t, err)
	require.Greater(t, len(messages), 1)

	stream.messages = append(stream.messages, messages[0])

	_, err = chain.NewLedger(stream.tail(), 1).Take(&other.event, other.token, partLimit)
	require.ErrorIs(t, err, chain.ErrHistoryChanged)
}

// TestMarkerNeverRepeats keeps the rule that a marker may not follow a message
// with the same content: the server would answer success without storing it.
func TestMarkerNeverRepeats(t *testing.T) {
	t.Parallel()

	ledger := chain.NewLedger(newModel().tail(), 1)
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

	ledger := chain.NewLedger(newModel().tail(), 1)

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

// TestMarkerIsDueAfterSomeSchemaChanges: those that leave the table as it is may be thousands between two markers, and who
// reads the tail asks for each of them.
func TestMarkerIsDueAfterSomeSchemaChanges(t *testing.T) {
	t.Parallel()

	ledger := chain.NewLedger(newModel().tail(), 1)

	for n := 1; n < 5*chain.BarriersEvery; n++ {
		e := rawEvent(t, n, bson.Timestamp{T: uint32(1000 + n)}, event.CreateIndexes, "orders", 0, nil)
		take(t, ledger, &e)

		due := ledger.MarkerDue(false)
		require.Equal(t, n%chain.BarriersEvery == 0, due, "behind %d schema changes", n)

		if due {
			markerOf(ledger)
		}
	}
}
