package mongomodel_test

import (
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/stepwise"
)

func TestMain(m *testing.M) { os.Exit(mongotest.Main(m).Run()) }

// subject is a target, real or a model, with one collection that has a validator and a
// unique index. What the suite asks of it is what a processor asks.
type subject struct {
	store   stepwise.Store
	applier func(t *testing.T) (stepwise.Applier, bson.Binary)
	find    func(t *testing.T, id int32) bson.Raw
	ns      event.Namespace
	flow    string
}

// flows numbers them: a real server keeps those of earlier tests.
var flows atomic.Int64

func newFlow() string { return "conform-" + strconv.FormatInt(flows.Add(1), 10) }

// instant is a link that takes no time.
type instant struct{}

func (instant) Call(_ context.Context, _ string, request func()) error { request(); return nil }

func newModel(_ *testing.T) *subject {
	database := mongomodel.NewDatabase(func() time.Time { return time.Unix(1000, 0) }, true)
	client := mongomodel.NewClient(database, instant{})
	ns := event.Namespace{DB: "d", Coll: "c"}
	sessions := 0

	return &subject{
		store: client, ns: ns, flow: newFlow(),
		applier: func(*testing.T) (stepwise.Applier, bson.Binary) {
			sessions++
			a := client.NewApplier(strconv.Itoa(sessions))

			return a, a.Session()
		},
		find: func(_ *testing.T, id int32) bson.Raw { return database.Find(ns, id) },
	}
}

func newReal(t *testing.T) *subject {
	t.Helper()

	db := mongotest.DB(t)
	ns := event.Namespace{DB: db.Name(), Coll: "c"}

	require.NoError(t, db.CreateCollection(t.Context(), ns.Coll, options.CreateCollection().
		SetValidator(bson.D{{Key: mongomodel.FieldBad, Value: bson.D{{Key: "$ne", Value: 1}}}})))
	_, err := db.Collection(ns.Coll).Indexes().CreateOne(t.Context(), mongo.IndexModel{
		Keys: bson.D{{Key: mongomodel.FieldUnique, Value: 1}}, Options: options.Index().SetUnique(true).
			SetPartialFilterExpression(bson.D{{Key: mongomodel.FieldUnique, Value: bson.D{{Key: "$gt", Value: 0}}}}),
	})
	require.NoError(t, err)

	return &subject{
		store: stepwise.StoreOf(db.Client()), ns: ns, flow: newFlow() + db.Name()[max(0, len(db.Name())-8):],
		applier: func(t *testing.T) (stepwise.Applier, bson.Binary) {
			t.Helper()

			a, session, end, err := stepwise.ApplierOf(db.Client())
			require.NoError(t, err)
			t.Cleanup(func() { end(context.WithoutCancel(t.Context())) })

			return a, session
		},
		find: func(t *testing.T, id int32) bson.Raw {
			t.Helper()

			raw, err := db.Collection(ns.Coll).FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
			if err != nil {
				require.ErrorIs(t, err, mongo.ErrNoDocuments)
			}

			return raw
		},
	}
}

// TestConformance runs the suite against both.
func TestConformance(t *testing.T) {
	t.Parallel()

	for name, begin := range map[string]func(*testing.T) *subject{"model": newModel, "server": newReal} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			for name, check := range map[string]func(*testing.T, *subject){
				"ownership": checkOwnership, "commit": checkCommit, "stale": checkStale, "went back": checkWentBack, "refused": checkRefused,
				"unique": checkUnique, "updates": checkUpdates, "records": checkRecords, "refetched": checkRefetched,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					check(t, begin(t))
				})
			}
		})
	}
}

// begin makes a first checkpoint.
func (s *subject) begin(t *testing.T) checkpoint.Document {
	t.Helper()

	d := checkpoint.Document{
		ID: checkpoint.ID(s.flow, 0), Flow: s.flow, Epoch: 1, Owner: 11,
		Place: checkpoint.Place{StreamID: "stream", ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Sequence: 1},
	}
	require.NoError(t, s.store.Insert(t.Context(), &d))

	return d
}

func next(last *checkpoint.Document) *checkpoint.Document {
	d := *last
	d.Commits++
	d.Sequence++
	d.Event++
	d.Counters.Processed++

	return &d
}

// change is one of the document with this id.
func (s *subject) change(t *testing.T, n uint64, operation event.Operation, id int32, fields ...bson.E) stepwise.Change {
	t.Helper()

	document := append(bson.D{{Key: "_id", Value: id}}, fields...)
	body := bson.E{Key: "fullDocument", Value: document}

	if operation == event.Update {
		body = bson.E{Key: "updateDescription", Value: bson.D{
			{Key: "updatedFields", Value: bson.D(fields)}, {Key: "removedFields", Value: bson.A{}}, {Key: "truncatedArrays", Value: bson.A{}},
		}}
	}

	raw, err := bson.Marshal(bson.D{
		{Key: "_id", Value: bson.D{{Key: "_data", Value: "x"}}},
		{Key: "operationType", Value: operation},
		{Key: "clusterTime", Value: bson.Timestamp{T: 1}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: s.ns.DB}, {Key: "coll", Value: s.ns.Coll}}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
		body,
	})
	require.NoError(t, err)

	e, err := event.Parse(raw)
	require.NoError(t, err)

	return stepwise.Change{Event: e, Number: n}
}

func plan(t *testing.T, changes ...stepwise.Change) *stepwise.Plan {
	t.Helper()

	p, err := stepwise.NewPlan(changes)
	require.NoError(t, err)

	return p
}

func v(n int32) bson.E { return bson.E{Key: "v", Value: n} }

func checkOwnership(t *testing.T, s *subject) {
	t.Helper()

	_, present, err := s.store.Checkpoint(t.Context(), s.flow, 0)
	require.NoError(t, err)
	require.False(t, present)

	held := s.begin(t)
	require.ErrorIs(t, s.store.Insert(t.Context(), &held), stepwise.ErrLostRace)

	owned := held
	owned.Epoch, owned.Owner = 5, 55
	require.NoError(t, s.store.Raise(t.Context(), &held, &owned, false))
	require.ErrorIs(t, s.store.Raise(t.Context(), &held, &owned, false), stepwise.ErrLostRace, "it was raised since it was read")

	now, present, err := s.store.Checkpoint(t.Context(), s.flow, 0)
	require.NoError(t, err)
	require.True(t, present)
	require.Equal(t, []int64{5, 55, 1}, []int64{now.Epoch, now.Owner, now.Sequence})

	all, err := s.store.Checkpoints(t.Context(), s.flow)
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func checkCommit(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	a, _ := s.applier(t)

	after := next(&last)
	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1)), s.change(t, 2, event.Insert, 2, v(2))), &last, after))
	require.NotNil(t, s.find(t, 1))

	end := next(after)
	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 3, event.Delete, 1), s.change(t, 4, event.Update, 2, v(4)), s.change(t, 5, event.Delete, 9)), after, end))
	require.Nil(t, s.find(t, 1))
	require.Equal(t, int32(4), s.find(t, 2).Lookup("v").Int32())

	held, _, err := s.store.Checkpoint(t.Context(), s.flow, 0)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 2}, []int64{held.Commits, held.Counters.Processed})
}

func checkStale(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	a, session := s.applier(t)

	owned := last
	owned.Epoch, owned.Owner = 2, 22
	require.NoError(t, s.store.EndTransactions(t.Context(), session))
	require.NoError(t, s.store.Raise(t.Context(), &last, &owned, false))

	require.ErrorIs(t, a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1))), &last, next(&last)), stepwise.ErrStale)
	require.Nil(t, s.find(t, 1), "nothing of it is written")
}

func checkWentBack(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	ahead := next(&last)
	a, _ := s.applier(t)

	require.ErrorIs(t, a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1))), ahead, next(ahead)), stepwise.ErrWentBack)
	require.Nil(t, s.find(t, 1))
}

func checkRefused(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	a, _ := s.applier(t)

	var refused *stepwise.EventError

	err := a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1)), s.change(t, 2, event.Insert, 2, bson.E{Key: mongomodel.FieldBad, Value: int32(1)})), &last, next(&last))
	require.ErrorAs(t, err, &refused)
	require.Equal(t, uint64(2), refused.Number)
	require.True(t, mongodb.IsDocumentError(err))
	require.False(t, mongodb.IsTransient(err))

	err = a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1)), s.change(t, 3, event.Update, 3, v(3))), &last, next(&last))
	require.ErrorAs(t, err, &refused)
	require.Equal(t, uint64(3), refused.Number)
	require.ErrorIs(t, err, stepwise.ErrMissingDocument)

	require.Nil(t, s.find(t, 1), "nothing of them is written")
	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1))), &last, next(&last)), "nor is the checkpoint moved")
}

func checkUnique(t *testing.T, s *subject) {
	t.Helper()

	u := func(n int32) bson.E { return bson.E{Key: mongomodel.FieldUnique, Value: n} }
	last := s.begin(t)
	a, _ := s.applier(t)

	after := next(&last)
	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, u(7)), s.change(t, 2, event.Insert, 2, u(0)), s.change(t, 3, event.Insert, 3, u(0))), &last, after))

	err := a.Commit(t.Context(), plan(t, s.change(t, 4, event.Insert, 4, u(7))), after, next(after))

	var refused *stepwise.EventError

	require.ErrorAs(t, err, &refused)
	require.True(t, mongodb.IsDuplicateKey(err))

	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 5, event.Delete, 1), s.change(t, 6, event.Insert, 4, u(7))), after, next(after)), "the batch itself has freed it")
}

func checkUpdates(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	a, _ := s.applier(t)

	after := next(&last)
	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 1, event.Insert, 1, v(1), bson.E{Key: "a", Value: int32(1)})), &last, after))
	require.NoError(t, a.Commit(t.Context(), plan(t, s.change(t, 2, event.Update, 1, v(2), bson.E{Key: "z", Value: "new"})), after, next(after)))

	want, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(1)}, v(2), {Key: "a", Value: int32(1)}, {Key: "z", Value: "new"}})
	require.NoError(t, err)
	require.Equal(t, bson.Raw(want), s.find(t, 1), "fields stay where they are, new ones come last")
}

// record is one that waits.
func (s *subject) record(id string, at uint32) *parked.Record {
	raw := bson.Raw{5, 0, 0, 0, 0}

	return &parked.Record{
		ID: s.flow + id, Rev: 1, Flow: s.flow, Number: int64(at), Position: event.Position{T: at}, State: parked.Waiting, Reason: parked.Failed,
		Event: raw, Size: int64(len(raw)), Key: bson.Binary{Data: []byte("k")}, Operation: event.Replace,
	}
}

func checkRecords(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	a, _ := s.applier(t)

	p := plan(t)
	p.Note(stepwise.InsertNote(parked.Collection, s.record("b", 2)), stepwise.InsertNote(parked.Collection, s.record("a", 1)))

	after := next(&last)
	require.NoError(t, a.Commit(t.Context(), p, &last, after))

	earliest, err := s.store.Earliest(t.Context(), s.flow, 10)
	require.NoError(t, err)
	require.Equal(t, []event.Position{{T: 1}, {T: 2}}, earliest)

	events, err := s.store.Events(t.Context(), []string{s.flow + "a"})
	require.NoError(t, err)
	require.Len(t, events, 1)

	_, err = s.store.Events(t.Context(), []string{s.flow + "none"})
	require.ErrorIs(t, err, parked.ErrRecords)

	change := func(rev int64) *stepwise.Plan {
		p := plan(t, s.change(t, 9, event.Insert, 9, v(9)))
		p.Note(stepwise.UpdateNote(parked.Collection, bson.D{{Key: "_id", Value: s.flow + "a"}, {Key: "rev", Value: rev}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "rev", Value: int64(1)}}}, {Key: "$set", Value: bson.D{{Key: "state", Value: parked.Dead}}}}),
			stepwise.DeleteNote(parked.Collection, bson.D{{Key: "_id", Value: s.flow + "b"}}))

		return p
	}

	require.ErrorIs(t, a.Commit(t.Context(), change(4), after, next(after)), stepwise.ErrRecords, "the record has another rev")
	require.Nil(t, s.find(t, 9))
	require.NoError(t, a.Commit(t.Context(), change(1), after, next(after)))

	var states []parked.State

	require.NoError(t, s.store.Headers(t.Context(), s.flow, 0, func(r *parked.Record) error {
		states = append(states, r.State)

		return nil
	}, parked.Waiting, parked.Dead))
	require.Equal(t, []parked.State{parked.Dead}, states)

	records, err := s.store.Records(t.Context(), []string{s.flow + "a", s.flow + "b"})
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.Equal(t, int64(2), records[0].Rev)

	twice := plan(t)
	twice.Note(stepwise.InsertNote(parked.Collection, s.record("a", 1)))

	end := next(after)
	require.ErrorIs(t, a.Commit(t.Context(), twice, end, next(end)), stepwise.ErrRecords, "there is one of that id")
}

func checkRefetched(t *testing.T, s *subject) {
	t.Helper()

	last := s.begin(t)
	a, _ := s.applier(t)
	id := bson.D{{Key: "_id", Value: s.flow + "/covered"}}

	for i := range 2 {
		p := plan(t)
		p.Note(stepwise.UpsertNote(parked.Refetched, id, bson.D{{Key: "$set", Value: parked.Covered{
			ID: s.flow + "/covered", Flow: s.flow, Key: bson.Binary{Data: []byte("k")}, Time: bson.Timestamp{T: uint32(i + 1)},
		}}}))

		after := next(&last)
		require.NoError(t, a.Commit(t.Context(), p, &last, after))

		last = *after
	}

	covered, err := s.store.Covered(t.Context(), s.flow, 0)
	require.NoError(t, err)
	require.Len(t, covered, 1)
	require.Equal(t, bson.Timestamp{T: 2}, covered[0].Time)
}
