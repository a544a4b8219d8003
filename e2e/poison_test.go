package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// poisonVariable is among how many changes the bad documents are hidden; the default keeps the test short.
const poisonVariable = "E2E_POISON_CHANGES"

const (
	poisonChanges = 20_000
	poisonEach    = 4 // documents of each kind
)

// poison is one of the ways in which a target refuses what the source took: a rule that only the target has. Each kind
// has a collection of its own.
type poison struct {
	coll     string
	rule     func(ctx context.Context, coll *mongo.Collection) error // makes the target refuse
	lift     func(ctx context.Context, coll *mongo.Collection) error // takes the rule away
	document bson.D                                                  // what is refused, without its _id
	delta    bool                                                    // refused as an update of a document that is fine
}

func poisons() []poison {
	index := func(keys bson.D, o *options.IndexOptionsBuilder) func(context.Context, *mongo.Collection) error {
		return func(ctx context.Context, coll *mongo.Collection) error {
			_, err := coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys, Options: o.SetName("rule")})

			return err
		}
	}
	unindex := func(ctx context.Context, coll *mongo.Collection) error { return coll.Indexes().DropOne(ctx, "rule") }
	validator := func(rule bson.D) func(context.Context, *mongo.Collection) error {
		return func(ctx context.Context, coll *mongo.Collection) error {
			return coll.Database().RunCommand(ctx, bson.D{{Key: "collMod", Value: coll.Name()}, {Key: "validator", Value: rule}}).Err()
		}
	}
	strict := validator(bson.D{{Key: "bad", Value: bson.D{{Key: "$exists", Value: false}}}})
	bad := bson.D{{Key: "bad", Value: true}}

	return []poison{
		{coll: "insert", rule: strict, lift: validator(bson.D{}), document: bad},
		{coll: "update", rule: strict, lift: validator(bson.D{}), document: bad, delta: true},
		{coll: "sphere", rule: index(bson.D{{Key: "at", Value: "2dsphere"}}, options.Index()), lift: unindex, document: bson.D{{Key: "at", Value: "nowhere"}}},
		{coll: "plane", rule: index(bson.D{{Key: "at", Value: "2d"}}, options.Index()), lift: unindex, document: bson.D{{Key: "at", Value: bson.A{1000, 2000}}}},
		{coll: "unique", rule: foreign, lift: unforeign, document: bson.D{{Key: "name", Value: "taken"}}},
	}
}

// foreign gives the target a document of its own that holds a unique value.
func foreign(ctx context.Context, coll *mongo.Collection) error {
	o := options.Index().SetName("rule").SetUnique(true).SetSparse(true)
	if _, err := coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "name", Value: 1}}, Options: o}); err != nil {
		return err
	}

	_, err := coll.InsertOne(ctx, bson.D{{Key: "_id", Value: "foreign"}, {Key: "name", Value: "taken"}})

	return err
}

func unforeign(ctx context.Context, coll *mongo.Collection) error {
	if _, err := coll.DeleteOne(ctx, bson.D{{Key: "_id", Value: "foreign"}}); err != nil {
		return err
	}

	return coll.Indexes().DropOne(ctx, "rule")
}

// write sends document n of the kind to the source and returns how many changes it made.
func (p *poison) write(ctx context.Context, db *mongo.Database, n int) (uint64, error) {
	coll := db.Collection(p.coll)
	id := bson.E{Key: "_id", Value: n}

	if !p.delta {
		_, err := coll.InsertOne(ctx, append(bson.D{id}, p.document...))

		return 1, err
	}

	if _, err := coll.InsertOne(ctx, bson.D{id}); err != nil {
		return 0, err
	}

	_, err := coll.UpdateByID(ctx, n, bson.D{{Key: "$set", Value: p.document}})

	return 2, err
}

// TestPoisonStopsNobody hides documents that the target refuses among many others: exactly they become dead letters,
// everything else is applied, and a replay after their causes are gone makes both sides equal.
func TestPoisonStopsNobody(t *testing.T) {
	changes := number(t, poisonVariable, poisonChanges)
	s := openWith(t, map[string]string{
		"BYPASS_VALIDATION": "false", "RETRY_DELAYS": "100ms", "MAX_RETRIES": "1",
	})
	source, target := s.world.Source.Client.Database(s.beside()), s.world.Target.Client.Database(s.beside())

	for _, p := range poisons() {
		require.NoError(t, source.CreateCollection(t.Context(), p.coll))
	}

	s.made = func() { // flow init refuses a target that differs
		for _, p := range poisons() {
			require.NoError(t, p.rule(t.Context(), target.Collection(p.coll)))
		}
	}

	s.rate, s.alien = 3*steady, true
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 2))

	poisoned := uint64(0)

	for n := range poisonEach {
		for _, p := range poisons() {
			s.progress(changes / (2 * poisonEach * uint64(len(poisons()))))

			made, err := p.write(t.Context(), source, n)
			require.NoError(t, err)

			poisoned, s.others = poisoned+1, s.others+made
		}
	}

	// A conflict counts as a failure only while the flow goes on: until then another document may free the value.
	s.await("all the poison in dead letters", func(sample *relayv1.Stats) bool { return sample.GetFailedChanges() == poisoned })
	require.Eventually(t, func() bool { return s.traffic.Journal().Changes() >= changes }, patience, 50*time.Millisecond)
	s.failed = poisoned
	s.finish()

	dead, err := s.relay.DeadLetters(t.Context())
	require.NoError(t, err)
	require.Len(t, dead, int(poisoned))

	byCollection := map[string]int{}
	for _, d := range dead {
		byCollection[d.GetNamespace().GetCollection()]++
	}

	for _, p := range poisons() {
		require.Equal(t, poisonEach, byCollection[p.coll], p.coll)
		require.NoError(t, p.lift(t.Context(), target.Collection(p.coll)))
	}

	out, code, err := s.relay.Ctl(t.Context(), "dead-letters", "replay", "--all", "--yes", "--reason", "the rules are gone")
	require.NoError(t, err)
	require.Zero(t, code, out)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	require.NoError(t, harness.Await(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		replayed, err := s.relay.DeadLetters(ctx, relayv1.ParkedState_PARKED_STATE_REPLAYED)

		return uint64(len(replayed)) == poisoned, err
	}))

	sample := s.await("an answer", func(*relayv1.Stats) bool { return true })
	require.Zero(t, sample.GetDeadLetters())
	require.Zero(t, sample.GetParkedChanges())
	require.Equal(t, poisoned, sample.GetFailedChanges(), "an event's class is its first end")

	result, err := live.Compare(t.Context(), source, target)
	require.NoError(t, err)
	require.True(t, result.Equal(), "%v", result.Differences)
	require.Equal(t, poisoned, uint64(result.Documents))

	t.Log(harness.Line(sample))
}
