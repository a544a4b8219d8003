package main

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Of the benchmark: a backlog of inserts of about 500 bytes.
const (
	backlog     = 40_000
	batchSize   = 100
	concurrency = 8 // the default of APPLY_CONCURRENCY
)

// BenchmarkDrain prints how many documents a second the processor writes, and the
// bare driver with the same documents in transactions of the same size.
func BenchmarkDrain(b *testing.B) {
	var (
		bare, relay time.Duration
		lowest      = math.Inf(1)
		highest     float64
	)

	// In turn, and summed: a busy machine slows whoever runs at the moment, so a
	// single round proves nothing. The spread tells how much the sum does.
	for b.Loop() {
		d, r := bareDriver(b), drain(b)
		bare, relay = bare+d, relay+r
		ratio := 100 * d.Seconds() / r.Seconds()
		lowest, highest = min(lowest, ratio), max(highest, ratio)
	}

	documents := float64(b.N) * backlog
	b.ReportMetric(documents/bare.Seconds(), "driver_docs/s")
	b.ReportMetric(documents/relay.Seconds(), "docs/s")
	b.ReportMetric(100*bare.Seconds()/relay.Seconds(), "%")
	b.ReportMetric(lowest, "lowest_%")
	b.ReportMetric(highest, "highest_%")
}

func body() bson.E { return bson.E{Key: "b", Value: strings.Repeat("x", 430)} }

// drain returns what the whole backlog takes at the rate after the first commit.
func drain(b *testing.B) time.Duration {
	b.Helper()

	server := mongotest.New(b, mongotest.Options{})
	w := newWorldOn(b, server.URI().Reveal(), server.DB(b))
	w.init(b)

	js := w.nats.JetStream(b)

	for id := range backlog {
		msg := w.next(b, event.Insert, id, bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: id}, body()}})
		_, err := js.PublishMsgAsync(event.Encode(w.flow, &msg, ""), jetstream.WithRetryAttempts(0))
		require.NoError(b, err)
	}

	<-js.PublishAsyncComplete()

	p := w.start(b, nil)

	// From the first commit on: connecting is not what is measured.
	require.Eventually(b, func() bool { return w.settled(b).Processed > 0 }, patience, time.Millisecond)

	started, before := time.Now(), w.settled(b).Processed

	w.awaitSettled(b, checkpoint.Counters{Processed: backlog})

	took := time.Since(started)

	require.NoError(b, p.end())

	all, err := checkpoint.Load(b.Context(), w.target, w.flow)
	require.NoError(b, err)

	batches := int64(0)
	for _, d := range all {
		batches += d.Counters.Batches
	}

	b.ReportMetric(float64(backlog)/float64(batches), "docs/batch")

	return time.Duration(float64(took) * backlog / float64(backlog-before))
}

// bareDriver is what nobody can be faster than with this driver and server.
func bareDriver(b *testing.B) time.Duration {
	b.Helper()

	server := mongotest.New(b, mongotest.Options{})

	client, err := mongodb.Connect(settings.NewURI(server.URI().Reveal()), mongodb.Options{})
	require.NoError(b, err)

	defer func() { require.NoError(b, mongodb.Disconnect(b.Context(), client)) }()

	db := client.Database("bare")
	require.NoError(b, db.CreateCollection(b.Context(), "orders"))
	require.NoError(b, db.CreateCollection(b.Context(), "checkpoints"))

	started := time.Now()

	var wg sync.WaitGroup

	for lane := range concurrency {
		wg.Go(func() {
			for first := lane * batchSize; first < backlog; first += concurrency * batchSize {
				if err := bareTransaction(b, client, lane, first); err != nil {
					b.Error(err)

					return
				}
			}
		})
	}

	wg.Wait()

	return time.Since(started)
}

func bareTransaction(b *testing.B, client *mongo.Client, lane, first int) error {
	b.Helper()

	models := []mongo.ClientBulkWrite{{Database: "bare", Collection: "checkpoints", Model: mongo.NewClientUpdateOneModel().
		SetFilter(bson.D{{Key: "_id", Value: lane}}).SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "at", Value: first}}}}).SetUpsert(true)}}

	for id := first; id < first+batchSize; id++ {
		models = append(models, mongo.ClientBulkWrite{Database: "bare", Collection: "orders", Model: mongo.NewClientReplaceOneModel().
			SetFilter(bson.D{{Key: "_id", Value: id}}).SetReplacement(bson.D{{Key: "_id", Value: id}, body()}).SetUpsert(true)})
	}

	session, err := client.StartSession(options.Session().SetCausalConsistency(false))
	if err != nil {
		return err
	}
	defer session.EndSession(b.Context())

	if err := session.StartTransaction(options.Transaction().SetReadConcern(&readconcern.ReadConcern{}).SetWriteConcern(writeconcern.Majority())); err != nil {
		return err
	}

	if _, err := client.BulkWrite(mongo.NewSessionContext(b.Context(), session), models); err != nil {
		return err
	}

	return session.CommitTransaction(b.Context())
}
