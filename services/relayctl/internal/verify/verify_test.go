package verify_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

func doc(id any, fields ...bson.E) bson.D { return append(bson.D{{Key: "_id", Value: id}}, fields...) }

func field(name string, v any) bson.E { return bson.E{Key: name, Value: v} }

// TestEveryTypeOfID: equal documents are equal, and of each one that is damaged exactly that is told.
func TestEveryTypeOfID(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	var documents []any

	for n, group := range ascending(t) {
		d := doc(group[n%len(group)], field("n", n), field("a", bson.A{n, bson.D{{Key: "deep", Value: true}}}))

		if _, err := w.of(w.source, "types").InsertOne(t.Context(), d); err == nil { // stand-ins do not take all types
			documents = append(documents, d)
		}
	}

	require.Greater(t, len(documents), 60)

	_, err := w.of(w.target, "types").InsertMany(t.Context(), documents)
	require.NoError(t, err)

	report := w.run()
	require.Equal(t, verify.Equal, report.Outcome, "%v", report)
	require.Equal(t, int64(len(documents)), report.Totals.Documents)
	require.Empty(t, w.found)

	_, err = w.of(w.target, "types").UpdateMany(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "a.1.deep", Value: false}}}})
	require.NoError(t, err)

	report = w.run()
	require.Equal(t, verify.Unequal, report.Outcome)
	require.Len(t, report.Differences, len(documents))

	for _, d := range report.Differences {
		require.Equal(t, verify.Different, d.Kind, "%s", d.ID)
		require.Equal(t, "a.1.deep", d.Field)
		require.Equal(t, verify.Unexplained, d.Cause)
		require.Empty(t, d.Source+d.Target, "values were not asked for")
	}
}

func TestEachKindOfDifference(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.config.ShowValues = true
	w.both("orders", doc(1), doc(2), doc(3))
	w.both("other", doc(1))

	source, target := w.of(w.source, "orders"), w.of(w.target, "orders")
	for _, d := range []bson.D{doc(0), doc(10, field("a", 1), field("b", 2)), doc(11, field("a", 1)), doc(12), doc(13, field("big", strings.Repeat("x", 2<<20)), field("v", 1))} {
		_, err := source.InsertOne(t.Context(), d)
		require.NoError(t, err)
	}

	for _, d := range []bson.D{doc(10, field("b", 2), field("a", 1)), doc(11, field("a", 2)), doc(12.0), doc("extra"), doc(13, field("big", strings.Repeat("x", 2<<20)), field("v", 2))} {
		_, err := target.InsertOne(t.Context(), d)
		require.NoError(t, err)
	}

	report := w.run()
	require.Equal(t, verify.Unequal, report.Outcome)
	require.Equal(t, verify.Totals{Namespaces: 2, Documents: 10, Bytes: report.Totals.Bytes, Suspects: 6, Differences: 6}, report.Totals)
	require.True(t, report.Complete)
	require.ElementsMatch(t, report.Differences, w.found, "printed as they come")

	told := map[string]verify.Difference{}
	for _, d := range report.Differences {
		told[string(d.ID)] = d
	}

	one := func(id string, kind verify.Kind, field, source, target string) {
		require.Equal(t, verify.Difference{
			Namespace: "shop.orders", ID: []byte(id), Kind: kind, Field: field, Cause: verify.Unexplained, Source: source, Target: target,
		}, told[id])
	}

	one(`{"$numberInt":"0"}`, verify.Missing, "", `{"_id": {"$numberInt":"0"}}`, "")
	one(`"extra"`, verify.Extra, "", "", `{"_id": "extra"}`)
	one(`{"$numberInt":"11"}`, verify.Different, "a", `{"$numberInt":"1"}`, `{"$numberInt":"2"}`)
	one(`{"$numberInt":"12"}`, verify.Different, "_id", `{"$numberInt":"12"}`, `{"$numberDouble":"12.0"}`)
	one(`{"$numberInt":"13"}`, verify.Different, "v", "", "")
	require.Equal(t, verify.FieldOrder, told[`{"$numberInt":"10"}`].Kind)
}

func TestCollectionsOnOneSideAndOutOfScope(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.both("same", doc(1))

	for coll, client := range map[string]*mongo.Client{"gone": w.source, "more": w.target} {
		_, err := w.of(client, coll).InsertMany(t.Context(), []any{doc(1), doc(2)})
		require.NoError(t, err)
	}

	require.NoError(t, w.source.Database(w.db).CreateCollection(t.Context(), "empty"))
	require.NoError(t, w.source.Database(w.db).CreateView(t.Context(), "view", "same", bson.A{}))

	_, err := w.source.Database("elsewhere").Collection("c").InsertOne(t.Context(), doc(1))
	require.NoError(t, err)

	report := w.run()
	require.Equal(t, int64(4), report.Totals.Differences)
	require.Equal(t, []string{
		"shop.empty: collection is missing", "shop.gone: collection is missing", "shop.more: collection is extra", "shop.view: view is missing",
	}, namesOf(report))
	require.Len(t, report.Notes, 1)
	require.Contains(t, report.Notes[0], "shop.view")

	w.config.Only = []event.Namespace{{DB: "shop", Coll: "same"}}
	require.Equal(t, verify.Equal, w.run().Outcome)

	w.config.Only = []event.Namespace{{DB: "shop", Coll: "nowhere"}}
	_, err = verify.Run(t.Context(), w.config)
	require.ErrorIs(t, err, verify.ErrNothing)
}

// TestParkedChangesExplain a difference by their name; the document of another one stays unexplained.
func TestParkedChangesExplain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.both("c", doc("same"))

	ns := event.Namespace{DB: "shop", Coll: "c"}
	states := map[string]parked.State{"waiting": parked.Waiting, "dead": parked.Dead, "discarded": parked.Discarded, "replayed": parked.Replayed}
	count := int64(0)

	for id, state := range states {
		_, err := w.of(w.source, "c").InsertOne(t.Context(), doc(id))
		require.NoError(t, err)

		key, err := event.NewKey(ns, raw(t, doc(id)).Lookup("_id"))
		require.NoError(t, err)

		count++
		_, err = parked.Records(w.target).InsertOne(t.Context(), parked.Record{
			ID: "letter of " + id, Flow: flowName, Partition: key.Partition(partitions), Key: bson.Binary{Data: []byte(key)}, State: state,
			DocumentKey: raw(t, doc(id)), Count: count, DB: "shop", Coll: "c",
		})
		require.NoError(t, err)
	}

	report := w.run()
	require.Equal(t, int64(4), report.Totals.Differences)
	require.Equal(t, int64(3), report.Totals.Explained)

	causes := map[string]string{}
	for _, d := range report.Differences {
		causes[string(d.ID)] = string(d.Cause) + "/" + d.Letter
	}

	require.Equal(t, map[string]string{
		`"waiting"`: "parked/letter of waiting", `"dead"`: "dead letter/letter of dead",
		`"discarded"`: "dead letter/letter of discarded", `"replayed"`: "unexplained/",
	}, causes)
}

func TestAFlowThatStandsStillIsNotSettled(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.both("c", doc(1))
	w.standStill()
	w.config.Patience = 3 * time.Second

	_, err := w.of(w.source, "c").InsertOne(t.Context(), doc(2))
	require.NoError(t, err)

	report := w.run()
	require.Equal(t, verify.NotSettled, report.Outcome)
	require.Zero(t, report.Totals.Differences)
	require.Equal(t, int64(1), report.Totals.NotSettled)
	require.Equal(t, verify.Unknown, report.Differences[0].Cause)
}

// TestASuspectThatArrivesIsNone: the target gets the document while it is waited for.
func TestASuspectThatArrivesIsNone(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.both("c", doc(1))

	_, err := w.of(w.source, "c").InsertOne(t.Context(), doc(2))
	require.NoError(t, err)

	w.config.Rounds = 10
	waiting := make(chan struct{})
	w.config.Watch = func(s verify.Snapshot) {
		if s.Waiting > 0 {
			select {
			case <-waiting:
			default:
				close(waiting)
			}
		}
	}

	arrived := make(chan error, 1)

	go func() {
		<-waiting
		_, err := w.of(w.target, "c").InsertOne(t.Context(), doc(2))
		arrived <- err
	}()

	report := w.run()
	require.NoError(t, <-arrived)
	require.Equal(t, verify.Equal, report.Outcome, "%v", report.Differences)
	require.Equal(t, int64(1), report.Totals.Suspects)
}

func TestEnoughDifferences(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.config.Most = 7

	documents := make([]any, 5000)
	for n := range documents {
		documents[n] = doc(n)
	}

	_, err := w.of(w.source, "c").InsertMany(t.Context(), documents)
	require.NoError(t, err)

	report := w.run()
	require.Equal(t, verify.Unequal, report.Outcome)
	require.False(t, report.Complete)
	require.Len(t, report.Differences, 7)
}

// mixed are documents of three types of _id, in the order of none.
func mixed(count int) []any {
	documents := make([]any, count)
	for n := range documents {
		switch n % 3 {
		case 0:
			documents[n] = doc(n)
		case 1:
			documents[n] = doc(strconv.Itoa(n))
		default:
			documents[n] = doc(bson.D{{Key: "n", Value: n}})
		}
	}

	return documents
}

// partly puts the documents into a collection of both sides, less three of the target and one of the source.
func (w *world) partly(documents []any) {
	w.t.Helper()
	w.config.Part, w.config.Jobs = 100, 4
	w.both("c", documents...)

	_, err := w.of(w.target, "c").DeleteMany(w.t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{0, "1", 999}}}}})
	require.NoError(w.t, err)

	_, err = w.of(w.source, "c").DeleteOne(w.t.Context(), bson.D{{Key: "_id", Value: "4"}})
	require.NoError(w.t, err)
}

// TestParts: a collection that is cut gives the same result, with _ids of several types.
func TestParts(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	documents := mixed(1000)

	slices.SortFunc(documents, func(a, b any) int { // so that every server has them in order (Features.SortsBounded)
		return verify.Compare(raw(t, a).Lookup("_id"), raw(t, b).Lookup("_id"))
	})
	w.partly(documents)

	parts := 0
	w.config.Watch = func(s verify.Snapshot) { parts = max(parts, s.Ranges) }

	report := w.run()
	require.Equal(t, verify.Totals{Namespaces: 1, Documents: 1000, Bytes: report.Totals.Bytes, Suspects: 4, Differences: 4}, report.Totals)
	require.Empty(t, report.Notes)
	require.Greater(t, parts, 1)
}

// TestServersThatDoNotSortParts may leave anything out: the collection is read by one cursor then, and that is told.
func TestServersThatDoNotSortParts(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.partly(mixed(1000))

	report := w.run()
	require.Equal(t, int64(1000), report.Totals.Documents)
	require.Equal(t, int64(4), report.Totals.Differences)
	require.Len(t, report.Differences, 4, "each once, although some were found twice")

	if mongotest.Shared(t).Features(t).SortsBounded {
		require.Empty(t, report.Notes)
	} else {
		require.NotEmpty(t, report.Notes)
		require.Contains(t, report.Notes[0], "shop.c: ")
		require.Contains(t, report.Notes[0], "it is compared in one part")
	}
}

// TestResume goes on after an interruption, with the differences and suspects from before it.
func TestResume(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.config.Rate = 2000

	documents := make([]any, 6000)
	for n := range documents {
		documents[n] = doc(n)
	}

	w.both("a", documents...)
	w.both("b", documents[:10]...)

	for _, id := range []int{0, 5, 2999, 5999} {
		_, err := w.of(w.target, "a").DeleteOne(t.Context(), doc(id))
		require.NoError(t, err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("Ctrl-C")
	w.config.Watch = func(s verify.Snapshot) {
		if s.Documents > 1000 {
			cancel(stopped)
		}
	}

	_, err := verify.Run(ctx, w.config)
	require.ErrorIs(t, err, stopped)

	path := filepath.Join(t.TempDir(), "folder", "state")
	require.NoError(t, w.kept.Save(path))

	state, err := verify.LoadState(path)
	require.NoError(t, err)
	require.Equal(t, w.kept.Totals, state.Totals)
	require.Greater(t, state.Totals.Documents, int64(1000))
	require.Less(t, state.Totals.Documents, int64(6010))

	w.config.From, w.config.Rate, w.config.Watch = state, 0, func(verify.Snapshot) {}

	report := w.run()
	require.Equal(t, int64(4), report.Totals.Differences, "%v", report.Differences)
	require.Equal(t, int64(6010), report.Totals.Documents)
	require.True(t, report.Complete)
}

func TestStateOfAnythingElseIsRefused(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, (&verify.State{Version: 99}).Save(path))

	_, err := verify.LoadState(path)
	require.ErrorIs(t, err, verify.ErrState)
}
