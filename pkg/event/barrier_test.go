package event_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

func TestCopySaysWhatTheChangeSays(t *testing.T) {
	t.Parallel()

	old := event.Namespace{DB: "shop", Coll: "old"}

	for name, raw := range map[string]bson.Raw{
		"rename":       changeEvent(t, "rename", collectionUUID, bson.E{Key: "to", Value: bson.D{{Key: "db", Value: old.DB}, {Key: "coll", Value: old.Coll}}}),
		"drop":         changeEvent(t, "drop", collectionUUID),
		"dropDatabase": changeEvent(t, "dropDatabase"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			barrier := message(t, raw)
			barrier.Kind, barrier.Partition, barrier.Namespace = event.KindBarrier, 0, event.Namespace{}
			duplicate := copyOf(t, &barrier, 3)

			require.False(t, barrier.IsCopy())
			require.True(t, barrier.EndsEvent())
			require.True(t, duplicate.IsCopy())
			require.True(t, duplicate.IsLastPart())
			require.False(t, duplicate.EndsEvent(), "the change itself has not come yet")

			e, err := event.Parse(raw)
			require.NoError(t, err)
			require.True(t, e.Operation.IsSchemaChange())

			for _, m := range []event.Message{barrier, duplicate} {
				change, err := m.SchemaChange()
				require.NoError(t, err)
				require.Equal(t, e.SchemaChange(), change)
			}
		})
	}
}

func TestCopyRoundTrip(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String()
		change := event.SchemaChange{
			Operation: event.Operation(name.Draw(t, "operation")),
			Namespace: event.Namespace{DB: name.Draw(t, "db"), Coll: name.Draw(t, "coll")},
			To:        event.Namespace{DB: name.Draw(t, "to db"), Coll: name.Draw(t, "to coll")},
		}
		copy(change.Collection[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "collection"))

		payload, err := change.Marshal()
		require.NoError(t, err)

		m := event.Message{Kind: event.KindBarrier, Partition: 1, Payload: payload}
		got, err := m.SchemaChange()
		require.NoError(t, err)
		require.Equal(t, change, got)
	})
}

func TestSchemaChangeRefuses(t *testing.T) {
	t.Parallel()

	for name, m := range map[string]event.Message{
		"an event":      message(t, changeEvent(t, "drop")),
		"no protobuf":   {Kind: event.KindBarrier, Partition: 1, Payload: []byte("x")},
		"a short UUID":  {Kind: event.KindBarrier, Partition: 1, Payload: []byte{0x22, 1, 1}},
		"no event":      {Kind: event.KindBarrier, Payload: []byte("x")},
		"a marker's":    {Kind: event.KindMarker},
		"a copy's in 0": {Kind: event.KindBarrier, Payload: []byte{0x0a, 1, 'x'}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := m.SchemaChange()
			require.ErrorIs(t, err, event.ErrMalformed)
		})
	}

	latin1 := event.SchemaChange{Operation: event.Drop, Namespace: event.Namespace{DB: "shop", Coll: "\xe4"}}
	_, err := latin1.Marshal()
	require.ErrorIs(t, err, event.ErrMalformed)
}

func TestUUID(t *testing.T) {
	t.Parallel()

	u, err := event.ParseUUID([]byte("0123456789abcdef"))
	require.NoError(t, err)
	require.Equal(t, "30313233-3435-3637-3839-616263646566", u.String())
	require.Equal(t, []byte("0123456789abcdef"), u.Bytes())

	u, err = event.ParseUUID(nil)
	require.NoError(t, err)
	require.True(t, u.IsZero())
	require.Empty(t, u.String())
	require.Nil(t, u.Bytes())

	_, err = event.ParseUUID([]byte("short"))
	require.ErrorIs(t, err, event.ErrMalformed)
}

func TestPin(t *testing.T) {
	t.Parallel()

	for _, pin := range []event.Pin{event.PinNone, event.PinCollation, event.PinCapped} {
		got, err := event.ParsePin(pin.String())
		require.NoError(t, err)
		require.Equal(t, pin, got)
	}

	_, err := event.ParsePin("Capped")
	require.ErrorIs(t, err, event.ErrMalformed)
}
