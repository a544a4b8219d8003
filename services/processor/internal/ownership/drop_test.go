package ownership

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func TestOldDeadLettersLoseTheirEvents(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)

		large := bson.E{Key: "blob", Value: bson.Binary{Data: make([]byte, parked.MaxInline)}}

		w.put(t, 0, "old", bad(1))
		w.put(t, 0, "large", bad(1), large)
		w.put(t, 0, "young", bad(1))

		s := w.partitions[0]
		s.deliver(t, 3)

		for w.sum(t).Parked > 0 {
			s.retry(t)
		}

		before := w.sum(t).ParkedBytes

		for n, r := range w.records(t) {
			w.edit(t, r.ID, "changed", time.Now().Add(-[]time.Duration{keepLetters, keepLetters, keepLetters - time.Hour}[n]))
		}

		w.drop(t)

		letters := w.records(t)
		require.Equal(t, []string{"1 dead failed 3", "2 dead failed 3", "3 dead failed 3"}, w.parkedStates(t), "the marks stay")

		for _, r := range letters[:2] {
			require.WithinDuration(t, time.Now(), r.Dropped, time.Hour)

			_, err := parked.LoadEvent(t.Context(), w.client, &r)
			require.ErrorIs(t, err, parked.ErrNoEvent)
			require.ErrorContains(t, err, "it was dropped at")
		}

		require.True(t, letters[2].Dropped.IsZero())
		require.NotEmpty(t, letters[2].Event)

		chunks, err := w.client.Database(checkpoint.Database).Collection(parked.Chunks).
			CountDocuments(t.Context(), bson.D{{Key: "record", Value: letters[1].ID}})
		require.NoError(t, err)
		require.Zero(t, chunks)
		require.Greater(t, before, int64(parked.MaxInline))
		require.Less(t, w.sum(t).ParkedBytes, int64(parked.MaxInline), "it makes room")
		require.Equal(t, w.sum(t).ParkedBytes, s.parked.Bytes())

		s.acquire(t, 0)
		require.Equal(t, w.sum(t).ParkedBytes, s.parked.Bytes(), "a new owner counts the same")

		rev := letters[0].Rev
		w.drop(t)
		require.Equal(t, rev, w.records(t)[0].Rev, "once")

		// The source has mended it since; nothing but its document can take the event's place.
		w.put(t, 0, "other", v(1)) // the image is of now
		w.states[len(w.states)-1]["old"] = bson.D{{Key: "_id", Value: "old"}, {Key: "v", Value: 7}}
		w.replay(t, letters[0].ID)
		s.see(t)
		s.retry(t)
		require.Equal(t, bson.D{v32(7)}, w.document(t, "old"))
		require.Equal(t, parked.Superseded, w.records(t)[0].State)
	})
}

// drop is what a partition does now and then.
func (w *world) drop(t *testing.T) {
	t.Helper()

	s := w.partitions[0]
	s.see(t)
	require.NoError(t, s.dropOld(s.ctx, s.ctx))
}

// TestAgeIsThatOfBothClocks: a host whose clock is ahead drops nothing.
func TestAgeIsThatOfBothClocks(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1))

		s := w.partitions[0]
		s.deliver(t, 1)

		for w.sum(t).Parked > 0 {
			s.retry(t)
		}

		now, err := mongodb.LocalTime(t.Context(), w.client)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), now, 24*time.Hour, "the target says what time it is")

		s.old = expired(w.records(t), time.Now().Add(2*keepLetters))
		require.Len(t, s.old, 1)
		require.NoError(t, s.dropOld(s.ctx, s.ctx))
		require.True(t, w.records(t)[0].IsKept())
		require.Empty(t, s.old)
	})
}
