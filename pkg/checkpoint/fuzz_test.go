package checkpoint_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// FuzzDocument reads checkpoints as somebody may have edited them: an error, or a document that is written and read again
// as it is.
func FuzzDocument(f *testing.F) {
	whole, err := bson.Marshal(document("f", 3))
	require.NoError(f, err)
	f.Add(whole)

	for _, d := range []bson.D{{}, {{Key: "epoch", Value: "x"}}, {{Key: "seq", Value: int64(-1)}, {Key: "resume_token", Value: bson.D{}}}} {
		raw, err := bson.Marshal(d)
		require.NoError(f, err)
		f.Add(raw)
	}

	f.Fuzz(func(t *testing.T, raw []byte) {
		if event.CheckDocument(raw) != nil {
			return
		}

		var d, again checkpoint.Document
		if bson.Unmarshal(raw, &d) != nil {
			return
		}

		written, err := bson.Marshal(d)
		if err != nil {
			return // a document that is missing
		}

		require.NoError(t, bson.Unmarshal(written, &again))

		rewritten, err := bson.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, written, rewritten)
	})
}
