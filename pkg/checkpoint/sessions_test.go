package checkpoint_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func session(n int) bson.Binary {
	return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(n))}
}

// TestSessions are those of the flows that were asked for, the latest of each partition.
func TestSessions(t *testing.T) {
	t.Parallel()

	const many = 510

	client := mongotest.New(t, mongotest.Options{}).DB(t).Client()

	for n := range many {
		require.NoError(t, checkpoint.RememberSession(t.Context(), client, "a", 1, session(n)))
	}

	require.NoError(t, checkpoint.RememberSession(t.Context(), client, "a", 2, session(many)))
	require.NoError(t, checkpoint.RememberSession(t.Context(), client, "b", 2, session(many+1)))
	require.NoError(t, checkpoint.RememberSession(t.Context(), client, "c", 2, session(many+2)))

	flows, err := checkpoint.LoadSessions(t.Context(), client, []string{"a", "c"})
	require.NoError(t, err)
	require.Len(t, flows, 502)

	for n, flow := range map[int]string{0: "", 9: "", 10: "a", many - 1: "a", many: "a", many + 1: "", many + 2: "c"} {
		require.Equal(t, flow, flows[string(session(n).Data)], "session %d", n)
	}
}
