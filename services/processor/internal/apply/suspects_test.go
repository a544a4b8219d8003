package apply_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// TestAValueThatIsRefusedAgainAndAgainIsASign: the values that documents have which are taken are none, and neither is
// the shape of all.
func TestAValueThatIsRefusedAgainAndAgainIsASign(t *testing.T) {
	t.Parallel()

	w := &world{ns: event.Namespace{DB: "shop", Coll: "orders"}}

	document := func(id int, status string) apply.Change {
		return w.insert(t, bson.D{{Key: "_id", Value: id}, {Key: "kind", Value: 1}, {Key: "status", Value: status}})
	}

	plan := func(changes ...apply.Change) *apply.Plan {
		p, err := apply.NewPlan(changes)
		require.NoError(t, err)

		return p
	}

	var suspects apply.Suspects

	scouted := func(changes ...apply.Change) bool {
		p := plan(changes...)
		p.Scout(&suspects)

		return p.Scouted()
	}

	refused := document(1, "evil")
	suspects.Remember(&refused, true)
	require.True(t, scouted(document(2, "good"), document(3, "good")), "they look like the refused one, as far as is known")

	suspects.Acquit(plan(document(2, "good"), document(3, "good")))
	require.False(t, scouted(document(4, "good"), document(5, "evil")), "once may be by chance")

	refused = document(5, "evil")
	suspects.Remember(&refused, true)
	require.True(t, scouted(document(6, "good"), document(7, "evil")))
	require.False(t, scouted(document(6, "good"), document(8, "good")))
	require.True(t, scouted(document(6, "good"), w.update(t, 9, set(bson.E{Key: "status", Value: "evil"}))))

	suspects.Acquit(plan(document(10, "evil"), document(11, "good"))) // the validator was changed
	require.False(t, scouted(document(6, "good"), document(12, "evil")))

	for id := range 10_000 { // of other values, each its own
		refused := w.insert(t, bson.D{{Key: "_id", Value: id}, {Key: "kind", Value: 1}, {Key: "price", Value: id}})
		suspects.Remember(&refused, true)
	}

	require.LessOrEqual(t, suspects.Known(), 2048)
}

// TestOnlyManyLastingRefusalsMakeCertain: refusals that other documents may end are none, and one document that is taken
// ends it.
func TestOnlyManyLastingRefusalsMakeCertain(t *testing.T) {
	t.Parallel()

	w := &world{ns: event.Namespace{DB: "shop", Coll: "orders"}}

	plan := func(status string) (*apply.Plan, uint64) {
		c := w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "status", Value: status}})
		p, err := apply.NewPlan([]apply.Change{w.insert(t, bson.D{{Key: "_id", Value: 2}, {Key: "status", Value: "good"}}), c})
		require.NoError(t, err)

		return p, c.Number
	}

	for _, lasting := range []bool{false, true} {
		var suspects apply.Suspects

		for n := range 8 {
			p, _ := plan("evil")
			require.Empty(t, p.Scout(&suspects), "after %d refusals", n)
			require.Equal(t, n > 1, p.Scouted())

			refused := w.insert(t, bson.D{{Key: "_id", Value: 10 + n}, {Key: "status", Value: "evil"}})
			suspects.Remember(&refused, lasting)

			taken, _ := plan("good")
			suspects.Acquit(taken)
		}

		p, number := plan("evil")
		certain := p.Scout(&suspects)

		if !lasting {
			require.Empty(t, certain)

			continue
		}

		require.Equal(t, []uint64{number}, certain)
		require.False(t, p.Scouted(), "it is not to be sent")

		suspects.Acquit(p)

		p, _ = plan("evil")
		require.Empty(t, p.Scout(&suspects))
		require.False(t, p.Scouted())
	}
}
