package collect_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func TestSampleOfAFlow(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)

	now := time.Now()
	w.event(t, 0, now)                   // sequence 2
	w.event(t, 1, now.Add(-time.Hour))   // 3
	w.event(t, 1, now.Add(-time.Minute)) // 4: the oldest that is pending
	w.event(t, 1, now)                   // 5
	w.settle(t, 0, 2)
	w.settle(t, 1, 3)
	w.reportHealthy(t)

	s := await(t, w.flow(t), isOK)

	require.Equal(t, uint64(4), *s.Total)
	require.Equal(t, uint64(2), *s.Processed)
	require.Equal(t, uint64(2), *s.Pending)
	require.Equal(t, uint64(2), *s.Batches)
	require.True(t, s.Consistent)
	require.True(t, *s.AddsUp)
	require.InDelta(t, 59, s.Lag.Seconds(), 5)
	require.Equal(t, uint64(5), s.Stream.LastSequence)
	require.Equal(t, w.stream.StreamID, s.Stream.ID)
	require.Equal(t, "p", s.Partitions[3].Owner)
}

// What waits is counted by the checkpoint, what is dead by the records.
func TestParkedEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.createHealthy(t)

	f := w.flow(t)
	s := await(t, f, isOK)
	require.Equal(t, uint64(0), *s.DeadLetters)

	_, err := checkpoint.Checkpoints(w.target).UpdateByID(t.Context(), checkpoint.ID(w.name, 0),
		bson.D{{Key: "$set", Value: bson.D{{Key: "parked", Value: 1}, {Key: "counters.processed", Value: 0}}}})
	require.NoError(t, err)

	for count, state := range map[int64]parked.State{1: parked.Waiting, 2: parked.Dead, 3: parked.Dead, 4: parked.Discarded} {
		_, err := parked.Records(w.target).InsertOne(t.Context(), parked.Record{
			ID: parked.ID(w.name, w.stream.StreamID, 0, 0, count), Flow: w.name, State: state, Position: event.Position{T: uint32(count)},
			DB: "shop", Coll: "c" + string(rune('0'+count)), Code: 121, Error: "refused", DocumentKey: emptyDocument(),
		})
		require.NoError(t, err)
	}

	s = await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Diverged })
	require.Equal(t, uint64(2), *s.DeadLetters)
	require.Equal(t, uint64(1), *s.Parked)
	require.Equal(t, uint64(1), *s.Pending)
	require.True(t, *s.AddsUp)
	require.Equal(t, []string{
		"dead letters: 2; the oldest is in shop.c2: refused (code 121)",
		"changes set aside and retried: 1; the oldest is in shop.c1: refused (code 121)",
	}, s.Reasons)
}

func TestHeadsComeFromTheMarkerAfterAPurge(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.event(t, 2, time.Now())
	w.settle(t, 2, 2)
	w.publish(t, w.marker(t)) // 3

	live, err := w.js.Stream(t.Context(), topology.StreamName(w.name))
	require.NoError(t, err)
	require.NoError(t, live.Purge(t.Context(), jetstream.WithPurgeSequence(3)))
	w.reportHealthy(t)

	s := await(t, w.flow(t), isOK)
	require.Equal(t, uint64(0), *s.Pending)
	require.True(t, *s.AddsUp)
}

// A schema change of which there are but copies has not happened, however long its
// listener is away.
func TestUnfinishedBarrier(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.event(t, 2, time.Now())
	w.reportHealthy(t)

	barrier := func(partition int, count uint64) *event.Message {
		return &event.Message{
			Kind: event.KindBarrier, Partition: partition, StreamID: w.stream.StreamID, ResumeToken: emptyDocument(),
			Event: 2, Count: count, Position: event.Position{T: uint32(time.Now().Unix()), I: 2}, Part: 1, Parts: 1, Attempt: 1, Payload: []byte("change"),
		}
	}

	w.publish(t, barrier(2, 1)) // 3

	s := await(t, w.flow(t), isOK)
	require.Equal(t, uint64(1), *s.Pending)
	require.Equal(t, uint64(1), *s.Total)
	require.True(t, *s.AddsUp)

	w.publish(t, barrier(1, 0))
	w.publish(t, barrier(0, 1)) // 5

	s = await(t, w.flow(t), func(s *tally.Stats) bool { return s.Stream != nil && s.Stream.LastSequence == 5 })
	require.Equal(t, uint64(2), *s.Pending)
	require.True(t, *s.AddsUp)
}

// An event whose parts are not all there is pending. When it is dropped, the
// marker after it says that its count was given back.
func TestUnfinishedEvent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	w.number, w.heads[3] = 1, 1
	w.publish(t, &event.Message{
		Kind: event.KindEvent, Partition: 3, Namespace: event.Namespace{DB: "db", Coll: "c"}, StreamID: w.stream.StreamID,
		ResumeToken: emptyDocument(), Event: 1, Count: 1, Position: event.Position{T: uint32(time.Now().Unix())},
		Part: 1, Parts: 2, Size: 100, Attempt: 1, Payload: []byte("half"),
	})

	f := w.flow(t)
	s := await(t, f, isOK)
	require.Equal(t, uint64(1), *s.Pending)
	require.True(t, *s.AddsUp)

	w.heads[3] = 0
	dropped := w.marker(t)
	dropped.Skipped = 1
	w.publish(t, dropped)

	s = await(t, f, func(s *tally.Stats) bool { return s.Stream != nil && s.Stream.LastSequence == 3 })
	require.Equal(t, uint64(0), *s.Pending)
	require.Equal(t, uint64(1), *s.Skipped)
	require.True(t, *s.AddsUp)
}

func TestCallersShareASample(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)

	f := w.flow(t)
	first, err := f.Sample(t.Context())
	require.NoError(t, err)
	second, err := f.Sample(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.Time, second.Time)

	await(t, f, func(s *tally.Stats) bool { return s.Time.After(first.Time) })
}

func TestMissingAndEmptyStream(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	f := w.flow(t)

	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Down })
	require.Contains(t, s.Reasons[0], "there is no stream")
	require.Contains(t, s.NextStep, "relayctl flow init")
	require.Nil(t, s.Total)

	_, err := topology.Create(t.Context(), w.js, w.name, topology.Settings{StreamID: "x", Partitions: partitions}, 64<<20)
	require.NoError(t, err)

	s = await(t, f, func(s *tally.Stats) bool {
		return s.Status == tally.Down && s.Reasons[0] != "there is no stream "+topology.StreamName(w.name)
	})
	require.Contains(t, s.Reasons[0], "is empty")
}

func TestForeignMessageIsDown(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)

	_, err := w.js.Publish(t.Context(), "cdc."+w.name+".00.db.c", []byte("not ours"))
	require.NoError(t, err)

	s := await(t, w.flow(t), func(s *tally.Stats) bool { return s.Status == tally.Down })
	require.Contains(t, s.Reasons[0], "malformed")
}

func TestRecreatedStreamIsSeen(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.createHealthy(t)

	f := w.flow(t)
	await(t, f, isOK)

	require.NoError(t, w.js.DeleteStream(t.Context(), topology.StreamName(w.name)))
	w.create(t)

	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Down && s.Stream != nil })
	require.Contains(t, s.Reasons[0], "belongs to stream id")
	require.Nil(t, s.Pending)
	require.Nil(t, s.AddsUp)
}

func TestTargetAwayAndBack(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	target, err := mongodb.Connect(server.URI(), mongodb.Options{ServerSelectionTimeout: 200 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), target) })

	w := newWorld(t)
	w.target = target
	w.createHealthy(t)

	f := w.flowOn(t, target)
	await(t, f, isOK)

	require.NoError(t, server.Kill())

	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Unknown })
	require.Equal(t, uint64(1), *s.Total)
	require.Nil(t, s.Processed)
	require.Contains(t, s.Unknown[0], "target: ")

	require.NoError(t, server.Restart(t.Context()))
	w.reportHealthy(t)

	s = await(t, f, isOK)
	require.Equal(t, uint64(1), *s.Processed)
}

func TestNATSAwayAndBack(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.createHealthy(t)

	f := w.flow(t)
	await(t, f, isOK)

	w.nats.Stop()

	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Unknown })
	require.Nil(t, s.Total)
	require.Nil(t, s.CaptureLag)
	require.Equal(t, uint64(1), *s.Processed)
	require.Contains(t, s.Unknown[0], "NATS: ")

	require.NoError(t, w.nats.Resume())
	await(t, f, isOK)
}

// What somebody did to the flow's document by hand makes nothing else unknown.
func TestDamagedPauseHidesNoNumber(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.createHealthy(t)

	f := w.flow(t)
	await(t, f, isOK)

	flows := w.target.Database(checkpoint.Database).Collection(pause.Collection)
	_, err := flows.InsertOne(t.Context(), bson.D{{Key: "_id", Value: w.name}, {Key: "pause", Value: "yes"}})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = pause.Delete(context.WithoutCancel(t.Context()), w.target, w.name) })

	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Unknown })
	require.Contains(t, s.Reasons[0], "what is paused: document "+w.name+" of atlas_relay.flows of the target does not say")
	require.Contains(t, s.NextStep, "mend document "+w.name)
	require.Contains(t, s.Unknown[0], "what is paused: ")
	require.Equal(t, uint64(1), *s.Processed)
	require.True(t, *s.AddsUp)
	require.False(t, s.PauseKnown)

	_, err = pause.Delete(t.Context(), w.target, w.name)
	require.NoError(t, err)
	require.True(t, new(await(t, f, isOK)).PauseKnown)
}

// A listener and a processor are missed by what their reports promise, and are there again with their next report.
func TestInstancesAreMissedByTheirLease(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.createHealthy(t)
	w.report(t, topology.ListenerReportKey(w.name, "m"), &relayv1.ListenerReport{
		Flow: w.name, Instance: &relayv1.Instance{Id: "m", Host: "h", Pid: 7}, State: relayv1.ListenerState_LISTENER_STATE_STANDBY, LeaseTtl: durationpb.New(time.Millisecond),
	})

	f := w.flow(t)
	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Degraded })
	require.Equal(t, []string{"listener on h (process 7) has said nothing for 0s"}, s.Reasons, "the others have not promised that")
	require.True(t, s.Members()[1].Missed)

	w.report(t, topology.ListenerReportKey(w.name, "m"), &relayv1.ListenerReport{
		Flow: w.name, Instance: &relayv1.Instance{Id: "m", Host: "h"}, State: relayv1.ListenerState_LISTENER_STATE_STANDBY, LeaseTtl: durationpb.New(time.Hour),
	})
	await(t, f, isOK)
}

func TestReportsVanishWithTheirInstance(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	f := w.flow(t)
	await(t, f, isOK)

	bucket, err := w.js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)
	require.NoError(t, bucket.Delete(t.Context(), topology.ListenerReportKey(w.name, "l"))) // a clean stop

	s := await(t, f, func(s *tally.Stats) bool { return s.Status == tally.Down })
	require.Equal(t, "no listener reports", s.Reasons[0])
	require.Empty(t, s.Listeners)
	require.Len(t, s.Processors, 1)
}

func TestSampleEndsWithItsCaller(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	f := w.flow(t)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := f.Sample(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
