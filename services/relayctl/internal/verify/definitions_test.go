package verify_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

func namesOf(r *verify.Report) []string {
	names := make([]string, len(r.Catalog))
	for i, d := range r.Catalog {
		names[i] = d.String()
	}

	return names
}

func (w *world) index(client *mongo.Client, name string, keys string, o *options.IndexOptionsBuilder) {
	w.t.Helper()

	_, err := w.of(client, "c").Indexes().CreateOne(w.t.Context(), mongo.IndexModel{Keys: bson.D{{Key: keys, Value: 1}}, Options: o.SetName(name)})
	require.NoError(w.t, err)
}

func validated(field string) *options.CreateCollectionOptionsBuilder {
	return options.CreateCollection().SetValidator(bson.D{{Key: field, Value: bson.D{{Key: "$gt", Value: 0}}}})
}

func TestDefinitions(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	source, target := w.source.Database(w.db), w.target.Database(w.db)

	require.NoError(t, source.CreateCollection(t.Context(), "c", validated("a")))
	require.NoError(t, target.CreateCollection(t.Context(), "c", validated("b")))

	for name, pipelines := range map[string][2]bson.A{
		"same": {{bson.D{{Key: "$match", Value: bson.D{{Key: "a", Value: 1}}}}}, {bson.D{{Key: "$match", Value: bson.D{{Key: "a", Value: 1.0}}}}}},
		"view": {{bson.D{{Key: "$match", Value: bson.D{{Key: "a", Value: 1}}}}}, {bson.D{{Key: "$match", Value: bson.D{{Key: "a", Value: 2}}}}}},
	} {
		require.NoError(t, source.CreateView(t.Context(), name, "c", pipelines[0]))
		require.NoError(t, target.CreateView(t.Context(), name, "c", pipelines[1]))
	}

	for _, client := range []*mongo.Client{w.source, w.target} {
		w.index(client, "same", "same", options.Index().SetUnique(true))
		w.index(client, "live", "l", options.Index().SetExpireAfterSeconds(30))
	}

	w.index(w.source, "missing", "m", options.Index())
	w.index(w.target, "extra", "e", options.Index())
	w.index(w.source, "unique", "u", options.Index().SetUnique(true))
	w.index(w.target, "unique", "u", options.Index())
	w.index(w.source, "key", "x", options.Index())
	w.index(w.target, "key", "y", options.Index())
	w.index(w.source, "held", "h", options.Index().SetExpireAfterSeconds(60))
	w.index(w.target, "held", "h", options.Index().SetExpireAfterSeconds(1<<31-1))
	w.index(w.source, "ttl", "t", options.Index().SetExpireAfterSeconds(60))
	w.index(w.target, "ttl", "t", options.Index().SetExpireAfterSeconds(61))

	report := w.run()
	require.Equal(t, verify.Unequal, report.Outcome)
	require.Empty(t, report.Differences)

	of := func(coll, what, name string, kind verify.Kind, field, source, target string) verify.CatalogDifference {
		return verify.CatalogDifference{
			Namespace: "shop." + coll, What: what, Name: name, Kind: kind, Field: field, Cause: verify.Unexplained, Source: source, Target: target,
		}
	}
	require.ElementsMatch(t, []verify.CatalogDifference{
		of("c", "option", "validator", verify.Different, "", `{"a":{"$gt":0}}`, `{"b":{"$gt":0}}`),
		of("c", "index", "extra", verify.Extra, "", "", `{"key":{"e":1},"name":"extra"}`),
		of("c", "index", "key", verify.Different, "key", `{"x":1}`, `{"y":1}`),
		of("c", "index", "missing", verify.Missing, "", `{"key":{"m":1},"name":"missing"}`, ""),
		of("c", "index", "ttl", verify.Different, "expireAfterSeconds", "60", "61"),
		of("c", "index", "unique", verify.Different, "unique", "true", ""),
		of("view", "option", "pipeline", verify.Different, "", `[{"$match":{"a":1}}]`, `[{"$match":{"a":2}}]`),
	}, report.Catalog)
	require.Subset(t, report.Notes, []string{
		"shop.c: index held: documents expire after 60 s on the source; on the target 2147483647 s are set, so that only the source's deletes delete",
		"shop.c: index live: documents expire after 30 s on both sides: the target deletes by itself, beside the source's deletes",
	})

	w.config.WithoutIndexes = true
	report = w.run()
	require.Equal(t, []string{"shop.c: option validator is different", "shop.view: option pipeline is different"}, namesOf(report))
	require.Contains(t, report.Notes, "indexes are not compared: the flow leaves the target's alone (INDEXES=none)")

	w.config.WithoutCatalog = true
	require.Equal(t, verify.Equal, w.run().Outcome)
}

// TestDefinitionsThatNobodyPromised are noted where schema changes are not replicated; a view is no collection even there.
func TestDefinitionsThatNobodyPromised(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.config.Stream.DDL = false
	w.both("c", doc(1))
	w.index(w.source, "a", "a", options.Index())

	report := w.run()
	require.Equal(t, verify.Equal, report.Outcome)
	require.Empty(t, report.Catalog)
	require.Equal(t, []string{
		"the flow does not replicate schema changes (DDL=off), so these are no differences of it: shop.c: index a is missing",
	}, report.Notes)

	require.NoError(t, w.source.Database(w.db).CreateCollection(t.Context(), "both"))
	require.NoError(t, w.target.Database(w.db).CreateView(t.Context(), "both", "c", bson.A{}))

	report = w.run()
	require.Equal(t, verify.Unequal, report.Outcome)
	require.Equal(t, []string{"shop.both: type is different"}, namesOf(report))
}

// TestDefinitionsInFlight: a flow that stands still says nothing; one that made what was missing meanwhile is equal.
func TestDefinitionsInFlight(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.both("c", doc(1))
	w.index(w.source, "a", "a", options.Index())
	w.standStill()
	w.config.Patience = 3 * time.Second

	report := w.run()
	require.Equal(t, verify.NotSettled, report.Outcome)
	require.Equal(t, verify.Unknown, report.Catalog[0].Cause)

	w.config.Patience = time.Minute

	looked := 0
	w.config.Watch = func(verify.Snapshot) {
		if looked++; looked == 2 { // it has seen the difference, or never will
			w.index(w.target, "a", "a", options.Index())
			w.apply()
		}
	}

	report = w.run()
	require.Equal(t, verify.Equal, report.Outcome, "%v", report.Catalog)
}
