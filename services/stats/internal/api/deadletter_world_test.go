package api_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/grpc"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// letterWorld is a flow whose records a test writes itself.
type letterWorld struct {
	flow   string
	target *mongo.Client
	conn   *grpc.ClientConn
	client relayv1.DeadLetterServiceClient
}

func newLetterWorld(t *testing.T) *letterWorld {
	t.Helper()

	w := &letterWorld{flow: "f-" + bson.NewObjectID().Hex(), target: mongotest.Shared(t).Client(t)}
	t.Cleanup(func() { _, _ = parked.Delete(context.WithoutCancel(t.Context()), w.target, w.flow) })

	require.NoError(t, parked.EnsureIndexes(t.Context(), w.target))

	w.conn, _ = serveLetters(t, nil, []*deadletter.Letters{deadletter.New(w.flow, w.target)})
	w.client = relayv1.NewDeadLetterServiceClient(w.conn)

	return w
}

// died is when the tests' letters died.
func died() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

// record is a dead letter, the n-th event of its flow.
func (w *letterWorld) record(n int64) parked.Record {
	raw := marshal(bson.D{{Key: "operationType", Value: "insert"}, {Key: "fullDocument", Value: bson.D{{Key: "_id", Value: n}}}})
	partition := int(n % 16)

	return parked.Record{
		ID: parked.ID(w.flow, "s", 0, partition, n), Rev: 7, Flow: w.flow, Partition: partition, StreamID: "s", Count: n, Number: n,
		Position: event.Position{T: uint32(1000 + n/10), I: uint32(n % 10)},
		DB:       "shop", Coll: "orders", Operation: event.Insert, Key: bson.Binary{Data: fmt.Append(nil, n)},
		DocumentKey: marshal(bson.D{{Key: "_id", Value: n}}), Event: raw, Size: int64(len(raw)),
		State: parked.Dead, Reason: parked.Failed, Attempts: 6, Counted: true, Code: 121, Error: "Document failed validation",
		First: died().Add(-2 * time.Minute), Last: died(), Changed: died(),
	}
}

func marshal(document any) bson.Raw {
	raw, err := bson.Marshal(document)
	if err != nil {
		panic(err)
	}

	return raw
}

func (w *letterWorld) insert(t *testing.T, records ...any) {
	t.Helper()

	for batch := range slices.Chunk(records, 1000) {
		_, err := parked.Records(w.target).InsertMany(t.Context(), batch)
		require.NoError(t, err)
	}
}

// insertDead writes the dead letters 1 to n.
func (w *letterWorld) insertDead(t *testing.T, n int64) (names []string) {
	t.Helper()

	var records []any

	for i := range n {
		r := w.record(i + 1)
		records, names = append(records, r), append(names, r.ID)
	}

	w.insert(t, records...)

	return names
}

func (w *letterWorld) insertChunks(t *testing.T, chunks []parked.Chunk) {
	t.Helper()

	for i := range chunks {
		_, err := w.target.Database(checkpoint.Database).Collection(parked.Chunks).InsertOne(t.Context(), chunks[i])
		require.NoError(t, err)
	}
}

func (w *letterWorld) load(t *testing.T, name string) parked.Record {
	t.Helper()

	var r parked.Record
	require.NoError(t, parked.Records(w.target).FindOne(t.Context(), bson.D{{Key: "_id", Value: name}}).Decode(&r))

	return r
}

func (w *letterWorld) list(t *testing.T, request *relayv1.ListDeadLettersRequest) *relayv1.ListDeadLettersResponse {
	t.Helper()

	response, err := w.client.ListDeadLetters(t.Context(), request)
	require.NoError(t, err)

	return response
}

func (w *letterWorld) replay(t *testing.T, selection *relayv1.DeadLetterSelection) *relayv1.DeadLetterOutcome {
	t.Helper()

	response, err := w.client.ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{
		Selection: selection, RequestedBy: "ann", Reason: "the validator was wrong",
	})
	require.NoError(t, err)

	return response.GetOutcome()
}

func (w *letterWorld) discard(t *testing.T, selection *relayv1.DeadLetterSelection) *relayv1.DeadLetterOutcome {
	t.Helper()

	response, err := w.client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{Selection: selection, RequestedBy: "ann"})
	require.NoError(t, err)

	return response.GetOutcome()
}

func named(names ...string) *relayv1.DeadLetterSelection {
	return &relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Names{Names: &relayv1.DeadLetterNames{Names: names}}}
}

func matching(f *relayv1.DeadLetterFilter) *relayv1.DeadLetterSelection {
	return &relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Filter{Filter: f}}
}

func namesOf(letters []*relayv1.DeadLetter) (names []string) {
	for _, l := range letters {
		names = append(names, l.GetName())
	}

	return names
}

func allStates() []relayv1.ParkedState {
	return []relayv1.ParkedState{
		relayv1.ParkedState_PARKED_STATE_WAITING, relayv1.ParkedState_PARKED_STATE_DEAD, relayv1.ParkedState_PARKED_STATE_SUPERSEDED,
		relayv1.ParkedState_PARKED_STATE_DISCARDED, relayv1.ParkedState_PARKED_STATE_REPLAYED, relayv1.ParkedState_PARKED_STATE_REFETCHED,
	}
}
