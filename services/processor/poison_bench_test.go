package main

import (
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// BenchmarkPoison prints what 1 % of documents that the target refuses, retries by the default schedule included, costs
// the others.
func BenchmarkPoison(b *testing.B) {
	var (
		clean, poisoned time.Duration
		lowest          = math.Inf(1)
	)

	for b.Loop() {
		c, p := drainWithPoison(b, 0), drainWithPoison(b, 100)
		clean, poisoned = clean+c, poisoned+p
		lowest = min(lowest, 100*c.Seconds()/p.Seconds())
	}

	b.ReportMetric(float64(b.N)*backlog/clean.Seconds(), "clean_docs/s")
	b.ReportMetric(float64(b.N)*backlog/poisoned.Seconds(), "docs/s")
	b.ReportMetric(100*clean.Seconds()/poisoned.Seconds(), "%")
	b.ReportMetric(lowest, "lowest_%")
}

// drainWithPoison returns how long the healthy documents of a backlog take, of which one of every n more is refused.
func drainWithPoison(b *testing.B, every int) time.Duration {
	b.Helper()

	server := mongotest.New(b, mongotest.Options{})
	w := newWorldOn(b, server.URI().Reveal(), server.DB(b))
	w.init(b)

	require.NoError(b, w.target.Database(w.ns.DB).CreateCollection(b.Context(), w.ns.Coll,
		options.CreateCollection().SetValidator(bson.D{{Key: "bad", Value: bson.D{{Key: "$ne", Value: 1}}}})))

	js := w.nats.JetStream(b)

	publish := func(id any, more ...bson.E) {
		msg := w.next(b, event.Insert, id, bson.E{Key: "fullDocument", Value: append(bson.D{{Key: "_id", Value: id}, body()}, more...)})
		_, err := js.PublishMsgAsync(event.Encode(w.flow, &msg, ""), jetstream.WithRetryAttempts(0))
		require.NoError(b, err)
	}

	for id := range backlog {
		publish(id)

		if every > 0 && id%every == 0 {
			publish(-id-1, bson.E{Key: "bad", Value: 1})
		}
	}

	<-js.PublishAsyncComplete()

	p := w.start(b, map[string]string{"BYPASS_VALIDATION": "false"})

	require.Eventually(b, func() bool { return w.settled(b).Processed > 0 }, patience, time.Millisecond)

	started, before := time.Now(), w.settled(b).Processed

	require.Eventually(b, func() bool { return w.settled(b).Processed == backlog }, patience, glance)

	took := time.Since(started)

	require.NoError(b, p.end())

	return time.Duration(float64(took) * backlog / float64(backlog-before))
}
