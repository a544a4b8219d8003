package deadletter

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// A page of large events would be gigabytes.
func TestListReadsNoContent(t *testing.T) {
	t.Parallel()

	target := mongotest.Shared(t).Client(t)
	raw := bson.Raw{5, 0, 0, 0, 0}
	l := New("f-"+bson.NewObjectID().Hex(), target)

	_, err := parked.Records(target).InsertOne(t.Context(), parked.Record{
		ID: parked.ID(l.Flow(), "s", 0, 0, 1), Flow: l.Flow(), State: parked.Dead, Event: raw, DocumentKey: raw,
	})
	require.NoError(t, err)

	letters, next, err := l.List(t.Context(), &Query{States: []parked.State{parked.Dead}}, 10, "")
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, letters, 1)
	require.Nil(t, letters[0].Event)
	require.Nil(t, letters[0].DocumentKey)

	oldest, err := l.Oldest(t.Context(), parked.Dead)
	require.NoError(t, err)
	require.Equal(t, letters[0], *oldest)

	n, err := l.Count(t.Context(), parked.Dead)
	require.NoError(t, err)
	require.Equal(t, uint64(1), n)
}
