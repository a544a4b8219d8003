package ownership

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// bounded notes whether the last change had a deadline.
type bounded struct {
	executor
	deadline bool
}

func (b *bounded) Execute(ctx context.Context, _ *schema.Change, _ bson.Raw) error {
	_, b.deadline = ctx.Deadline()

	return nil
}

// TestConversionToUniqueMayOutlastTheLease: the server looks at every entry of the index, which takes as long as the
// collection is large. Each attempt that a lease's end cuts would begin anew, and the flow stand at the barrier for ever.
func TestConversionToUniqueMayOutlastTheLease(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)
	require.NoError(t, topology.CreateBuckets(t.Context(), js, 1))

	held, err := lease.NewBucket(js, topology.OwnersBucket).Acquire(t.Context(), topology.PartitionKey("f", 0), "test", time.Hour)
	require.NoError(t, err)

	for name, test := range map[string]struct {
		change   bson.D
		deadline bool
	}{
		"to unique":     {bson.D{{Key: "name", Value: "v_1"}, {Key: "unique", Value: true}}, false},
		"about to be":   {bson.D{{Key: "name", Value: "v_1"}, {Key: "prepareUnique", Value: true}}, true},
		"not to unique": {bson.D{{Key: "name", Value: "v_1"}, {Key: "unique", Value: false}}, true},
		"to hidden":     {bson.D{{Key: "name", Value: "v_1"}, {Key: "hidden", Value: true}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			raw, err := bson.Marshal(bson.D{
				{Key: "operationType", Value: event.Modify},
				{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
				{Key: "operationDescription", Value: bson.D{{Key: "index", Value: test.change}}},
			})
			require.NoError(t, err)

			e, err := event.Parse(raw)
			require.NoError(t, err)

			c, err := schema.Parse(&e)
			require.NoError(t, err)

			run := &bounded{deadline: !test.deadline}
			l := &lane{partition: &partition{Owner: &Owner{options: Options{Schema: run}, pausing: newPausing()}, lease: held}}

			require.NoError(t, l.make(t.Context(), t.Context(), t.Context(), &c, nil))
			require.Equal(t, test.deadline, run.deadline)
		})
	}
}
