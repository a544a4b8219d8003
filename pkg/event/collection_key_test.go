package event_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// TestKeyTellsItsNamespace: what is parked is found by the collection that a schema change concerns, and moved with it.
func TestKeyTellsItsNamespace(t *testing.T) {
	t.Parallel()

	names := rapid.Custom(func(t *rapid.T) event.Namespace {
		return event.Namespace{
			DB:   rapid.StringN(0, 70, 70).Draw(t, "db"),
			Coll: rapid.OneOf(rapid.StringN(0, 20, 40), rapid.Just(strings.Repeat("c", 200))).Draw(t, "coll"),
		}
	})

	rapid.Check(t, func(t *rapid.T) {
		ns, to := names.Draw(t, "ns"), names.Draw(t, "to")
		value := bson.RawValue{Type: bson.TypeInt32, Value: []byte{1, 2, 3, 4}}

		document, err := event.NewKey(ns, value)
		require.NoError(t, err)

		moved, err := event.NewKey(to, value)
		require.NoError(t, err)

		change := event.ChangeKey(ns, event.Position{T: 1, I: 2, Ordinal: 3})

		for _, key := range []event.Key{document, event.CollectionKey(ns, event.PinCollation), event.CollectionKey(ns, event.PinCapped), change} {
			require.Equal(t, ns, key.Namespace())
			require.Equal(t, to, key.In(to).Namespace())
			require.Equal(t, key, key.In(to).In(ns))
		}

		require.Equal(t, moved, document.In(to))
		require.True(t, document.IsDocument())
		require.False(t, event.CollectionKey(ns, event.PinCollation).IsDocument())
		require.False(t, change.IsDocument())
		require.True(t, change.IsChange())
		require.True(t, event.CollectionKey(ns, event.PinCapped).IsCapped())
		require.False(t, event.CollectionKey(ns, event.PinCollation).IsCapped())
		require.False(t, event.CollectionKey(ns, event.PinCapped).IsChange())
	})

	for _, damaged := range []event.Key{"", "\xff", "\x05ab", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		require.Equal(t, event.Namespace{}, damaged.Namespace())
		require.False(t, damaged.IsChange())
	}
}
