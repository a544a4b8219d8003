package parked_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// FuzzRecord reads records as somebody may have edited them, and joins two chunks of them.
func FuzzRecord(f *testing.F) {
	raw, err := bson.Marshal(bson.D{{Key: "operationType", Value: "drop"}})
	require.NoError(f, err)

	for _, r := range []parked.Record{
		{ID: "f/s/0/00/1", Event: raw, Size: int64(len(raw)), State: parked.Waiting, DocumentKey: raw},
		{ID: "f/s/0/00/2", Chunks: 2, Size: int64(len(raw)), State: parked.Dead, Trail: []parked.Action{{Action: "replay"}}},
		{ID: "f/s/0/00/3", Chunks: 2, Size: -1, Events: -7},
	} {
		record, err := bson.Marshal(r)
		require.NoError(f, err)
		f.Add(record, raw[:7], raw[7:])
	}

	f.Fuzz(func(t *testing.T, record, first, second []byte) {
		if event.CheckDocument(record) != nil {
			return
		}

		var r parked.Record
		if bson.Unmarshal(record, &r) != nil {
			return
		}

		joined, err := parked.Join(&r, []parked.Chunk{
			{Record: r.ID, N: 1, Data: bson.Binary{Data: second}}, {Record: r.ID, N: 0, Data: bson.Binary{Data: first}},
		})
		if err != nil {
			require.ErrorIs(t, err, parked.ErrDamaged)
		} else {
			require.Len(t, joined, int(r.Size))
		}

		for _, raw := range []bson.Raw{r.Event, joined} {
			if _, err := event.Parse(raw); err != nil {
				require.ErrorIs(t, err, event.ErrMalformed)
			}
		}
	})
}
