package api_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// docs is a database of the target that is this test's alone.
func (w *letterWorld) docs(t *testing.T, documents ...any) (db string) {
	t.Helper()

	db = "d" + bson.NewObjectID().Hex()
	t.Cleanup(func() { _ = w.target.Database(db).Drop(t.Context()) })

	if len(documents) > 0 {
		_, err := w.target.Database(db).Collection("orders").InsertMany(t.Context(), documents)
		require.NoError(t, err)
	}

	return db
}

func (w *letterWorld) get(t *testing.T, name string, view relayv1.DeadLetterView) *relayv1.GetDeadLetterResponse {
	t.Helper()

	got, err := w.client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: name, View: view}, grpc.MaxCallRecvMsgSize(72<<20))
	require.NoError(t, err)

	_, err = protojson.Marshal(got)
	require.NoError(t, err)

	return got
}

// The target's document stands beside the event, with what is not as the event says.
func TestTheTargetsDocument(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	image := bson.D{{Key: "_id", Value: int64(1)}, {Key: "a", Value: 1}, {Key: "b", Value: bson.D{{Key: "c", Value: "x"}, {Key: "d", Value: 2}}}}
	db := w.docs(t, bson.D{{Key: "_id", Value: int64(1)}, {Key: "a", Value: 1}, {Key: "b", Value: bson.D{{Key: "c", Value: "<b>"}}}, {Key: "more", Value: true}})

	delta := bson.D{
		{Key: "updatedFields", Value: bson.D{{Key: "a", Value: 1}, {Key: "b.c", Value: "y"}, {Key: "z.0", Value: 1}}},
		{Key: "removedFields", Value: bson.A{"more", "gone"}},
	}

	for i, test := range []struct {
		operation event.Operation
		fields    bson.D
		id        any
		differing []string
		missing   string
	}{
		{event.Insert, bson.D{{Key: "fullDocument", Value: image}}, int64(1), []string{"b.c", "b.d", "more"}, ""},
		{event.Update, bson.D{{Key: "updateDescription", Value: delta}}, int64(1), []string{"b.c", "z.0", "more"}, ""},
		{event.Delete, nil, int64(1), nil, ""},
		{event.Insert, bson.D{{Key: "fullDocument", Value: image}}, int64(2), nil, "the target has no such document"},
		{event.Insert, bson.D{{Key: "fullDocument", Value: image}}, bson.Regex{Pattern: "."}, nil, "the target has no such document"},
		{event.CreateIndexes, nil, nil, nil, "the event concerns no single document"},
	} {
		r := w.record(int64(i + 1))
		r.DB, r.Operation, r.DocumentKey = db, test.operation, nil
		r.Event = marshal(append(bson.D{{Key: "operationType", Value: test.operation}}, test.fields...))
		r.Size = int64(len(r.Event))

		if test.id != nil {
			r.DocumentKey = marshal(bson.D{{Key: "_id", Value: test.id}})
		}

		w.insert(t, r)

		got := w.get(t, r.ID, relayv1.DeadLetterView_DEAD_LETTER_VIEW_FULL)
		require.Equal(t, test.differing, got.GetDifferingPaths(), "%d", i)
		require.Equal(t, test.missing, got.GetTargetJsonMissingBecause())
		require.Equal(t, test.missing == "", got.GetTargetJson() != "")

		basic := w.get(t, r.ID, relayv1.DeadLetterView_DEAD_LETTER_VIEW_BASIC)
		require.Empty(t, basic.GetTargetJson()+basic.GetTargetJsonMissingBecause()+basic.GetDocumentKeyJson(), "no content")
		require.Empty(t, basic.GetDifferingPaths())
	}
}

// Whatever the target's document is, there is an answer that protobuf and JSON hold.
func TestWeirdDocumentsOfTheTarget(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	id := func(n int64) bson.E { return bson.E{Key: "_id", Value: n} }

	wide := bson.D{id(6)}
	for range 2000 {
		wide = append(wide, bson.E{Key: bson.NewObjectID().Hex(), Value: 1})
	}

	db := w.docs(t,
		bson.D{id(1), {Key: "v", Value: math.NaN()}},
		bson.D{id(2), {Key: "v", Value: bson.DateTime(math.MaxInt64)}},
		bson.D{id(3), {Key: "v", Value: bson.Binary{Subtype: 0x80, Data: []byte{0, 0xff}}}},
		bson.D{id(4), {Key: `<img src=x onerror="alert(1)">`, Value: "<script>alert(1)</script>"}},
		bson.D{id(5), {Key: "v", Value: bson.Binary{Data: make([]byte, 16<<20-100)}}},
		wide,
	)

	for n, want := range map[int64]string{
		1: `"v":{"$numberDouble":"NaN"}`, 2: `"v":{"$date":{"$numberLong":"9223372036854775807"}}`, 3: `"base64":"AP8="`,
		4: `"<img src=x onerror=\"alert(1)\">":"<script>alert(1)</script>"`, 6: `"_id":6`,
	} {
		r := w.record(n)
		r.DB = db
		w.insert(t, r)

		got := w.get(t, r.ID, relayv1.DeadLetterView_DEAD_LETTER_VIEW_FULL)
		require.Contains(t, got.GetTargetJson(), want)
		require.LessOrEqual(t, len(got.GetDifferingPaths()), 100)
		require.NotEmpty(t, got.GetDifferingPaths())
	}

	large := w.record(5)
	large.DB = db
	w.insert(t, large)

	got := w.get(t, large.ID, relayv1.DeadLetterView_DEAD_LETTER_VIEW_FULL)
	require.Empty(t, got.GetTargetJson())
	require.Contains(t, got.GetTargetJsonMissingBecause(), "more than 1048576 are not shown as JSON")
	require.Equal(t, []string{"v"}, got.GetDifferingPaths())
}
