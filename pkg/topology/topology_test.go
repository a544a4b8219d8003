package topology_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	flow     = "f"
	maxBytes = 64 << 20
)

func settings() topology.Settings {
	return topology.Settings{
		StreamID: topology.NewStreamID(), Partitions: 4, DDL: true, SkipOrigins: []string{"a", "b"},
		Source: "replica set rs0", FirstToken: "BQAAAAA=",
	}
}

func create(t *testing.T) (jetstream.JetStream, *topology.Stream) {
	t.Helper()

	js := natstest.New(t).JetStream(t)
	stream, err := topology.Create(t.Context(), js, flow, settings(), maxBytes)
	require.NoError(t, err)

	return js, stream
}

func marker(streamID string) *event.Message {
	return &event.Message{
		Kind: event.KindMarker, StreamID: streamID, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Part: 1, Parts: 1, Attempt: 1, Payload: []byte{},
	}
}

func eventOf(streamID string, partition int, number uint64) *event.Message {
	m := marker(streamID)
	m.Kind, m.Partition, m.Namespace = event.KindEvent, partition, event.Namespace{DB: "db", Coll: "c"}
	m.Event, m.Count, m.Payload = number, number, []byte("event")

	return m
}

func TestOpenFindsWhatCreateMade(t *testing.T) {
	t.Parallel()

	js, made := create(t)

	opened, err := topology.Open(t.Context(), js, flow)
	require.NoError(t, err)
	require.Equal(t, made.Settings, opened.Settings)
	require.Equal(t, flow, opened.Flow())
	require.Equal(t, "CDC_f", opened.Name())

	state, config, err := opened.State(t.Context())
	require.NoError(t, err)
	require.Zero(t, state.LastSeq)
	require.Equal(t, int64(maxBytes), config.MaxBytes)
}

func TestCreateIsRepeatableButNeverOverwrites(t *testing.T) {
	t.Parallel()

	js, made := create(t)

	_, err := topology.Create(t.Context(), js, flow, made.Settings, maxBytes)
	require.NoError(t, err)

	_, err = topology.Create(t.Context(), js, flow, settings(), maxBytes) // another id
	require.ErrorIs(t, err, jetstream.ErrStreamNameAlreadyInUse)
}

func TestOpenWithoutStream(t *testing.T) {
	t.Parallel()

	_, err := topology.Open(t.Context(), natstest.New(t).JetStream(t), flow)
	require.ErrorIs(t, err, topology.ErrNoStream)
}

func TestOpenRefusesForeignStreams(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(map[string]string){
		"no metadata":         func(m map[string]string) { clear(m) },
		"no stream id":        func(m map[string]string) { delete(m, "relay.stream_id") },
		"no partitions":       func(m map[string]string) { m["relay.partitions"] = "0" },
		"too many partitions": func(m map[string]string) { m["relay.partitions"] = "257" },
		"unknown ddl":         func(m map[string]string) { m["relay.ddl"] = "sometimes" },
		"unknown publishing":  func(m map[string]string) { m["relay.publish"] = "pigeon" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			js := natstest.New(t).JetStream(t)
			config := topology.StreamConfig(flow, settings(), maxBytes)
			change(config.Metadata)

			_, err := js.CreateStream(t.Context(), config)
			require.NoError(t, err)

			_, err = topology.Open(t.Context(), js, flow)
			require.ErrorIs(t, err, topology.ErrForeignStream)
		})
	}
}

// Each setting that a promise rests on is checked; what an operator may tune is
// not.
func TestOpenComparesTheLiveConfiguration(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		change  func(*jetstream.StreamConfig)
		differs bool
	}{
		"subjects":     {func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "other.>") }, true},
		"retention":    {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, true},
		"discard":      {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, true},
		"max age":      {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, true},
		"max messages": {func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 }, true},
		"per subject":  {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, true},
		"storage":      {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, true},
		"duplicates":   {func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }, true},
		"deny delete":  {func(c *jetstream.StreamConfig) { c.DenyDelete = false }, true},
		"deny purge":   {func(c *jetstream.StreamConfig) { c.DenyPurge = true }, true},
		"rollup":       {func(c *jetstream.StreamConfig) { c.AllowRollup = true }, true},
		"direct":       {func(c *jetstream.StreamConfig) { c.AllowDirect = true }, true},
		"no ack":       {func(c *jetstream.StreamConfig) { c.NoAck = true; c.AllowAtomicPublish = false }, true},
		"size":         {func(c *jetstream.StreamConfig) { c.MaxBytes *= 2 }, false},
		"description":  {func(c *jetstream.StreamConfig) { c.Description = "mine" }, false},
		"compression":  {func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			js := natstest.New(t).JetStream(t)
			config := topology.StreamConfig(flow, settings(), maxBytes)
			test.change(&config)

			_, err := js.CreateStream(t.Context(), config)
			require.NoError(t, err)

			_, err = topology.Open(t.Context(), js, flow)
			if test.differs {
				require.ErrorIs(t, err, topology.ErrConfigDiffers)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestMessageOneIsOnlyOne(t *testing.T) {
	t.Parallel()

	js, stream := create(t)

	_, err := stream.Tail(t.Context())
	require.ErrorIs(t, err, topology.ErrNoMessage)

	first := marker(stream.StreamID)
	require.NoError(t, stream.PublishFirst(t.Context(), js, first))

	second := marker(stream.StreamID)
	second.Event = 1 // another message id, so that the sequence decides
	require.Error(t, stream.PublishFirst(t.Context(), js, second))

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), tail.Sequence)
	require.Equal(t, first.ID(), tail.ID)
	require.WithinDuration(t, time.Now(), tail.Time, time.Minute)
}

func TestReadingMessages(t *testing.T) {
	t.Parallel()

	js, stream := create(t)
	ctx := t.Context()

	require.NoError(t, stream.PublishFirst(ctx, js, marker(stream.StreamID))) // 1

	for i, partition := range []int{0, 1, 0, 1, 1} { // 2 to 6
		_, err := js.PublishMsg(ctx, event.Encode(flow, eventOf(stream.StreamID, partition, uint64(i+1)), ""))
		require.NoError(t, err)
	}

	sequence := func(stored topology.Stored, err error) uint64 {
		require.NoError(t, err)

		return stored.Sequence
	}

	require.Equal(t, uint64(6), sequence(stream.Tail(ctx)))
	require.Equal(t, uint64(1), sequence(stream.LastMarker(ctx)))
	require.Equal(t, uint64(4), sequence(stream.LastOf(ctx, 0)))
	require.Equal(t, uint64(6), sequence(stream.LastOf(ctx, 1)))
	require.Equal(t, uint64(3), sequence(stream.At(ctx, 3)))
	require.Equal(t, uint64(4), sequence(stream.NextOf(ctx, 0, 3)))
	require.Equal(t, uint64(4), sequence(stream.NextOf(ctx, 0, 4)))
	require.Equal(t, uint64(3), sequence(stream.NextOf(ctx, 1, 1)))

	for _, err := range []error{
		errOf(stream.LastOf(ctx, 2)), errOf(stream.At(ctx, 99)), errOf(stream.NextOf(ctx, 0, 5)), errOf(stream.NextOf(ctx, 2, 1)),
	} {
		require.ErrorIs(t, err, topology.ErrNoMessage)
	}

	_, err := js.PublishMsg(ctx, &nats.Msg{Subject: "cdc.f.00.db.c", Data: []byte("a stranger's")})
	require.NoError(t, err)
	require.ErrorIs(t, errOf(stream.Tail(ctx)), event.ErrMalformed)

	require.NoError(t, js.DeleteStream(ctx, stream.Name()))
	require.ErrorIs(t, errOf(stream.Tail(ctx)), topology.ErrNoStream)

	_, _, err = stream.State(ctx)
	require.ErrorIs(t, err, topology.ErrNoStream)
}

func errOf(_ topology.Stored, err error) error { return err }

func TestConsumersOfEpochs(t *testing.T) {
	t.Parallel()

	js, stream := create(t)
	ctx := t.Context()

	for _, epoch := range []uint64{12, 3} {
		_, err := stream.CreateConsumer(ctx, 1, epoch, 0)
		require.NoError(t, err)
	}

	_, err := js.CreateConsumer(ctx, stream.Name(), jetstream.ConsumerConfig{Durable: "somebody-else"})
	require.NoError(t, err)

	epochs, err := stream.ConsumerEpochs(ctx)
	require.NoError(t, err)
	require.Equal(t, map[int][]uint64{1: {3, 12}}, epochs)

	for range 2 { // one that is gone is no error
		require.NoError(t, stream.DeleteConsumer(ctx, topology.ConsumerName(1, 3)))
	}

	epochs, err = stream.ConsumerEpochs(ctx)
	require.NoError(t, err)
	require.Equal(t, map[int][]uint64{1: {12}}, epochs)
}

func TestConsumerBeginsBehindTheCheckpoint(t *testing.T) {
	t.Parallel()

	js, stream := create(t)
	ctx := t.Context()

	for i := range uint64(3) {
		_, err := js.PublishMsg(ctx, event.Encode(flow, eventOf(stream.StreamID, 1, i+1), ""))
		require.NoError(t, err)
	}

	consumer, err := stream.CreateConsumer(ctx, 1, 1, 2)
	require.NoError(t, err)

	msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
	require.NoError(t, err)

	metadata, err := msg.Metadata()
	require.NoError(t, err)
	require.Equal(t, uint64(3), metadata.Sequence.Stream)
}

func TestConsumerNames(t *testing.T) {
	t.Parallel()

	require.Equal(t, "p03_17", topology.ConsumerName(3, 17))

	partition, epoch, ok := topology.ParseConsumerName("p03_17")
	require.True(t, ok)
	require.Equal(t, 3, partition)
	require.Equal(t, uint64(17), epoch)

	for _, name := range []string{"", "03_17", "p03", "p03_", "p_17", "p03_-1", "p-3_17", "markers"} {
		_, _, ok := topology.ParseConsumerName(name)
		require.False(t, ok, name)
	}
}

func TestDeleteLeavesOtherFlowsAlone(t *testing.T) {
	t.Parallel()

	js, _ := create(t)
	ctx := t.Context()

	_, err := topology.Create(ctx, js, "f-2", settings(), maxBytes)
	require.NoError(t, err)

	bucket, err := js.KeyValue(ctx, topology.StatsBucket)
	require.NoError(t, err)

	mine, theirs := topology.ListenerReportKey(flow, "x"), topology.ListenerReportKey("f-2", "x")
	for _, key := range []string{mine, theirs} {
		_, err := bucket.Put(ctx, key, []byte("x"))
		require.NoError(t, err)
	}

	deleted, err := topology.Delete(ctx, js, flow)
	require.NoError(t, err)
	require.Equal(t, []string{"stream CDC_f", "key RELAY_STATS " + mine}, deleted)

	_, err = topology.Open(ctx, js, "f-2")
	require.NoError(t, err)
	_, err = bucket.Get(ctx, theirs)
	require.NoError(t, err)

	deleted, err = topology.Delete(ctx, js, flow)
	require.NoError(t, err)
	require.Empty(t, deleted)
}

func TestDefaultMaxBytesIsAShareOfWhatIsFree(t *testing.T) {
	t.Parallel()

	js := natstest.Start(t, natstest.Options{MaxStore: 1 << 30}).JetStream(t)

	limit, err := topology.DefaultMaxBytes(t.Context(), js, 1)
	require.NoError(t, err)

	// The account of the test server states no limit of its own.
	require.Positive(t, limit)
	t.Logf("default of a server with a store of 1 GiB: %d bytes", limit)
}
