package deadletter

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// FuzzPageToken: what anybody sends for a token is refused, or is a place that the driver can ask the target for.
func FuzzPageToken(f *testing.F) {
	query := Query{Filter: Filter{DB: "shop", Coll: "orders"}}
	own := query.fingerprint("f")

	f.Add((&token{Query: own, T: 1, I: 2, Ordinal: 3, ID: "f/s/0/00/1"}).String())
	f.Add("e30")
	f.Add("eyJxIjpudWxsLCJ0IjoxZTk5fQ")
	f.Add("!")

	f.Fuzz(func(t *testing.T, text string) {
		place, err := parseToken(text, own)
		if err != nil {
			require.ErrorIs(t, err, ErrPageToken)

			return
		}

		raw, err := bson.Marshal(place.after())
		require.NoError(t, err)
		require.NoError(t, event.CheckDocument(raw))

		again, err := parseToken(place.String(), own)
		require.NoError(t, err)
		require.Equal(t, place, again)
	})
}

// FuzzRecord shows a record as somebody may have edited it.
func FuzzRecord(f *testing.F) {
	for _, d := range []bson.D{{}, {{Key: "_id", Value: "a"}, {Key: "rev", Value: "x"}}, {{Key: "position", Value: bson.D{{Key: "t", Value: 1}}}}} {
		raw, err := bson.Marshal(d)
		require.NoError(f, err)
		f.Add(raw)
	}

	f.Fuzz(func(_ *testing.T, raw []byte) {
		if event.CheckDocument(raw) != nil {
			return
		}

		_ = decode(raw)
		_ = tokenOf([]bson.Raw{raw}, nil).String()
	})
}
