package origin_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/origin"
)

// step is an event of the source, or a token without one, and what must become of it.
type step struct {
	event *event.Event // nil: idle
	token bson.Raw
	skip  bool
}

func token(n int) bson.Raw { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func document(t require.TestingT, d bson.D) bson.Raw {
	raw, err := bson.Marshal(d)
	require.NoError(t, err)

	return raw
}

// history draws transactions of a skipped flow, of another one and of nobody, and writes outside of any; a session's
// number is used again and again.
func history(t *rapid.T) []step {
	var steps []step

	add := func(ns event.Namespace, id string, txn event.Transaction, skip bool) {
		steps = append(steps, step{
			event: &event.Event{
				Operation: event.Update, Namespace: ns, DocumentKey: document(t, bson.D{{Key: "_id", Value: id}}), Transaction: txn,
			},
			token: token(len(steps) + 1), skip: skip,
		})
	}

	orders := event.Namespace{DB: "shop", Coll: "orders"}

	for number := range rapid.IntRange(1, 12).Draw(t, "transactions") {
		txn := event.Transaction{
			LSID:   document(t, bson.D{{Key: "id", Value: rapid.IntRange(1, 2).Draw(t, "session")}}),
			Number: int64(rapid.IntRange(0, 1).Draw(t, "raise") + 2*number),
		}
		owner := rapid.SampledFrom([]string{"skipped", "other", "skipped-not", ""}).Draw(t, "owner")

		if owner != "" {
			add(event.Namespace{DB: "atlas_relay", Coll: "checkpoints"}, owner+"/03", txn, false)
		}

		for range rapid.IntRange(0, 3).Draw(t, "events") {
			if rapid.Bool().Draw(t, "note") {
				add(event.Namespace{DB: "atlas_relay", Coll: "parked"}, "x", txn, false)
			}

			add(orders, "x", txn, owner == "skipped")
		}

		for range rapid.IntRange(0, 2).Draw(t, "single") {
			add(orders, "x", event.Transaction{}, false)
			// A checkpoint that is committed outside of a transaction begins none.
			add(event.Namespace{DB: "atlas_relay", Coll: "checkpoints"}, "skipped/00", event.Transaction{}, false)
		}

		switch rapid.IntRange(0, 3).Draw(t, "idle") {
		case 0:
			steps = append(steps, step{token: token(len(steps) + 1)})
		case 1:
			if len(steps) > 0 { // the source says again what the last event said
				steps = append(steps, step{token: steps[len(steps)-1].token})
			}
		}
	}

	return steps
}

func (s *step) feed(tracker *origin.Tracker) bool {
	if s.event == nil {
		tracker.Idle(s.token)

		return false
	}

	return tracker.Arrive(s.event, s.token)
}

// TestEveryPlaceToBegin ends a session after every step and begins another there: outside of skipped transactions with
// nothing but the token, as from an event, a checkpoint or a rewind; within one with what a marker would say.
func TestEveryPlaceToBegin(t *testing.T) {
	t.Parallel()

	flows := []string{"skipped"}

	rapid.Check(t, func(t *rapid.T) {
		steps := history(t)
		tracker := origin.NewTracker(flows, token(0), nil)

		for i := range steps {
			// The place before an event that shows the end of a transaction is as good as any outside of one.
			if e := steps[i].event; e != nil && tracker.Leaves(e) {
				require.True(t, tracker.Within())
				resume(t, origin.NewTracker(flows, token(i), nil), steps[i:], i)
			}

			require.Equal(t, steps[i].skip, steps[i].feed(tracker), "step %d", i)
			resume(t, origin.NewTracker(flows, steps[i].token, tracker.Open()), steps[i+1:], i)

			if !tracker.Within() {
				resume(t, origin.NewTracker(flows, steps[i].token, nil), steps[i+1:], i)
			}
		}
	})
}

func resume(t require.TestingT, tracker *origin.Tracker, rest []step, at int) {
	for i := range rest {
		require.Equal(t, rest[i].skip, rest[i].feed(tracker), "begun after step %d: %d more", at, i)
	}
}

// TestMarkersWait tells when a marker may be published.
func TestMarkersWait(t *testing.T) {
	t.Parallel()

	tracker := origin.NewTracker([]string{"back"}, token(0), nil)
	txn := event.Transaction{LSID: document(t, bson.D{{Key: "id", Value: 1}}), Number: 7}
	open := &event.Event{
		Operation: event.Update, Namespace: event.Namespace{DB: "atlas_relay", Coll: "checkpoints"},
		DocumentKey: document(t, bson.D{{Key: "_id", Value: "back/00"}}), Transaction: txn,
	}
	data := &event.Event{Operation: event.Insert, Namespace: event.Namespace{DB: "shop", Coll: "orders"}, Transaction: txn}

	require.False(t, tracker.Arrive(open, token(1)))
	require.True(t, tracker.Within())
	tracker.Idle(token(1)) // a reply that cut the transaction in two, and one without events
	require.True(t, tracker.Within())
	require.True(t, tracker.Arrive(data, token(2)))
	require.Equal(t, "back", tracker.Open().Flow)
	tracker.Idle(token(3))
	require.False(t, tracker.Within(), "the token lies behind the transaction")
	require.NotNil(t, tracker.Open())
	require.True(t, tracker.Arrive(data, token(4)), "a server may err; the number does not")
	require.True(t, tracker.Within())

	data.Transaction.Number++
	require.True(t, tracker.Leaves(data))
	require.False(t, tracker.Arrive(data, token(5)))
	require.Nil(t, tracker.Open())
}

// TestNothingToSkip costs nothing and remembers nothing.
func TestNothingToSkip(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		tracker := origin.NewTracker(nil, token(0), nil)
		for i, s := range history(t) {
			require.False(t, s.feed(tracker), "step %d", i)
			require.False(t, tracker.Within())
		}
	})
}

// TestOthersInBetween mixes the events of transactions and single writes, each session's in its order, as a mongos and
// the stand-ins do: a tracker that has seen the beginnings knows each event, and so does one that begins anywhere and
// knows the sessions.
func TestOthersInBetween(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		steps, sessions := interleaved(t)
		tracker := origin.NewTracker([]string{"skipped"}, token(0), nil)

		for i := range steps {
			require.Equal(t, steps[i].skip, steps[i].feed(tracker), "step %d", i)

			later := origin.NewTracker([]string{"skipped"}, steps[i].token, nil)
			later.Know(sessions)
			resume(t, later, steps[i+1:], i)
		}
	})
}

// interleaved draws sessions of a skipped flow, of another one and of nobody, and the order of what happens in them.
func interleaved(t *rapid.T) (mixed []step, sessions map[string]string) {
	sessions = map[string]string{}
	queues := make([][]step, rapid.IntRange(1, 4).Draw(t, "sessions"))

	for i := range queues {
		owner := rapid.SampledFrom([]string{"skipped", "other", ""}).Draw(t, "owner")
		id := []byte{byte(i), 15: 0}

		if owner == "skipped" {
			sessions[string(id)] = owner
		}

		for number := range rapid.Int64Range(1, 4).Draw(t, "transactions") {
			txn := event.Transaction{LSID: document(t, bson.D{{Key: "id", Value: bson.Binary{Subtype: 4, Data: id}}}), Number: number}
			add := func(ns event.Namespace, key string, skip bool) {
				queues[i] = append(queues[i], step{skip: skip, event: &event.Event{
					Operation: event.Update, Namespace: ns, DocumentKey: document(t, bson.D{{Key: "_id", Value: key}}), Transaction: txn,
				}})
			}

			if owner != "" {
				add(event.Namespace{DB: "atlas_relay", Coll: "checkpoints"}, owner+"/01", false)
			}

			for range rapid.IntRange(1, 3).Draw(t, "events") {
				add(event.Namespace{DB: "shop", Coll: "orders"}, "x", owner == "skipped")
			}
		}
	}

	for len(queues) > 0 {
		at := rapid.IntRange(0, len(queues)-1).Draw(t, "next")
		next := queues[at][0]
		next.token = token(len(mixed) + 1)
		mixed = append(mixed, next)

		if queues[at] = queues[at][1:]; len(queues[at]) == 0 {
			queues = append(queues[:at], queues[at+1:]...)
		}
	}

	return mixed, sessions
}
