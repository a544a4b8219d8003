package changestream_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// TestDriverDoesNotResume: a cursor that is lost before anything was read would be opened again by the driver, behind the
// token of the reply that opened it. The stand-in answers an older one than it was given, and the event before is read twice.
func TestDriverDoesNotResume(t *testing.T) {
	t.Parallel()

	source := newSource(t, mongotest.Options{})
	token := present(t, source)

	insert(t, source, 10)

	read := func(s *changestream.Stream) changestream.Change {
		t.Helper()

		for {
			change, err := s.Next(t.Context())
			require.NoError(t, err)

			if change.Event != nil && change.Event.Operation == "insert" {
				return change
			}
		}
	}

	first := open(t, source, token)
	read(first)
	second := read(first)

	lost := open(t, source, second.Token)
	require.NoError(t, source.Database("admin").RunCommand(t.Context(),
		bson.D{{Key: "killCursors", Value: "$cmd.aggregate"}, {Key: "cursors", Value: bson.A{lost.CursorID()}}}).Err())

	_, err := lost.Next(t.Context())
	require.ErrorIs(t, err, changestream.ErrReopened)

	require.Equal(t, read(first).Event.Raw, read(open(t, source, second.Token)).Event.Raw, "the next one, and no other")
}
