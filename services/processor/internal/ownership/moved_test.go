package ownership

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// TestParkedEventIsWrittenWhereItsRecordSays: the record has followed its collection to another name, which the event
// does not know.
func TestParkedEventIsWrittenWhereItsRecordSays(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		s.die(t)

		r, before := w.records(t)[0], w.ns
		w.ns = event.Namespace{DB: before.DB, Coll: before.Coll + "-archive"}
		w.edit(t, r.ID, "coll", w.ns.Coll)
		w.edit(t, r.ID, "key", bson.Binary{Data: []byte(event.Key(r.Key.Data).In(w.ns))})
		s.acquire(t, 0)

		w.replay(t, r.ID)
		s.see(t)
		s.retry(t)
		require.Equal(t, parked.Replayed, w.records(t)[0].State)
		require.NotNil(t, w.document(t, "a"))

		w.ns = before
		require.Nil(t, w.document(t, "a"))
	})
}
