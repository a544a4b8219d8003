package verify_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

// TestServersThatRestart take the cursors with them: it goes on behind the last document, and sees each once.
func TestServersThatRestart(t *testing.T) {
	t.Parallel()

	source := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	target := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	w := newWorldOf(t, source, target)
	w.config.Rate = 2000

	documents := make([]any, 12_000)
	for n := range documents {
		documents[n] = doc(n, field("padding", strings.Repeat("x", 500)))
	}

	w.both("c", documents...)

	_, err := w.of(w.target, "c").DeleteOne(t.Context(), doc(11_000))
	require.NoError(t, err)

	compared := make(chan int64, 1000)
	w.config.Watch = func(s verify.Snapshot) { compared <- s.Documents }

	restarted := make(chan error, 1)

	go func() {
		for _, server := range []*mongotest.Server{source, target} {
			begin := <-compared
			for <-compared < begin+500 {
				continue
			}

			if err := server.Kill(); err != nil {
				restarted <- err

				return
			}

			if err := server.Restart(context.WithoutCancel(t.Context())); err != nil {
				restarted <- err

				return
			}
		}

		restarted <- nil
	}()

	report := w.run()
	require.NoError(t, <-restarted)
	require.Equal(t, int64(1), report.Totals.Differences, "%v", report.Differences)
	require.Equal(t, int64(12_000), report.Totals.Documents)
}

// TestSuspectsOutliveARun: one that had been found is not found twice, though its range had not come so far in the state.
func TestSuspectsOutliveARun(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.both("c", doc(1), doc(3))
	w.standStill()

	_, err := w.of(w.source, "c").InsertOne(t.Context(), doc(2))
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	w.config.Watch = func(s verify.Snapshot) {
		if s.Waiting > 0 {
			cancel()
		}
	}

	_, err = verify.Run(ctx, w.config)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, w.kept.Suspects, 1)

	w.apply()

	w.config.From = w.kept
	w.config.From.Ranges[0].Last, w.config.From.Ranges[0].Done = nil, false

	report := w.run()
	require.Equal(t, int64(1), report.Totals.Differences, "%v", report.Differences)
	require.Equal(t, int64(1), report.Totals.Suspects)
}

// TestACollationOfItsOwn: the _id index has another order, so the server sorts.
func TestACollationOfItsOwn(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.config.WithoutCatalog = true
	create := options.CreateCollection().SetCollation(&options.Collation{Locale: "en", Strength: 2})

	for _, client := range []*mongo.Client{w.source, w.target} {
		require.NoError(t, client.Database(w.db).CreateCollection(t.Context(), "c", create))
	}

	var documents []any
	for n := range 300 {
		documents = append(documents, doc(fmt.Sprintf("%c%d", "aBcD"[n%4], n)))
	}

	w.both("c", documents...)
	require.Equal(t, verify.Equal, w.run().Outcome)

	_, err := w.of(w.target, "c").DeleteMany(t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{"a0", "B1", "c298", "c98"}}}}})
	require.NoError(t, err)

	report := w.run()
	require.Equal(t, int64(4), report.Totals.Differences, "%v", report.Differences)
	require.Equal(t, int64(300), report.Totals.Documents)
	require.Equal(t, int64(4), report.Totals.Suspects, "the orders agree: c98 is the last with a c")

	// A new cursor begins behind the last document in that order too.
	ctx, cancel := context.WithCancel(t.Context())
	w.config.Rate, w.config.Watch = 50, func(s verify.Snapshot) {
		if s.Documents > 60 {
			cancel()
		}
	}

	_, err = verify.Run(ctx, w.config)
	require.ErrorIs(t, err, context.Canceled)

	w.config.Rate, w.config.From = 0, w.kept
	report = w.run()
	require.Equal(t, int64(4), report.Totals.Differences, "%v", report.Differences)
	require.Equal(t, int64(300), report.Totals.Documents)
}

// TestMemoryWithLargeDocuments: what is in use at a time does not grow with the documents' number, nor with the jobs.
func TestMemoryWithLargeDocuments(t *testing.T) { //nolint:paralleltest // it measures the heap of the process
	const (
		documents = 4         // in each collection
		bound     = 128 << 20 // four ranges without a token hold twice as much
	)

	w := newWorld(t)
	w.config.Jobs = 4

	for _, coll := range []string{"a", "b", "c", "d"} {
		for n := range documents {
			large := doc(n, field("padding", make([]byte, 15<<20)))
			for _, client := range []*mongo.Client{w.source, w.target} {
				_, err := w.of(client, coll).InsertOne(t.Context(), large)
				require.NoError(t, err)
			}
		}
	}

	_, err := w.of(w.target, "b").UpdateByID(t.Context(), 2, bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: 1}}}})
	require.NoError(t, err)

	debug.FreeOSMemory()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20)) // as relayctl does

	stop, peak := make(chan struct{}), make(chan uint64, 1)

	go func() {
		var highest uint64

		for {
			select {
			case <-stop:
				peak <- highest

				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats

				runtime.ReadMemStats(&m)
				highest = max(highest, m.HeapInuse)
			}
		}
	}()

	report := w.run()
	close(stop)

	highest := <-peak
	require.Equal(t, int64(1), report.Totals.Differences)
	require.Equal(t, "n", report.Differences[0].Field)
	require.Less(t, highest, uint64(bound), "%d MiB", highest>>20)
	t.Logf("%d MiB of heap", highest>>20)
}
