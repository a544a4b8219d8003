package topology_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func settingsOf(mode topology.PublishMode, replicas int) topology.Settings {
	s := settings()
	s.Publish, s.Replicas = mode, replicas

	return s
}

func TestPublishModeIsPartOfTheStream(t *testing.T) {
	t.Parallel()

	for given, want := range map[topology.PublishMode]topology.PublishMode{
		"": topology.PublishChain, topology.PublishChain: topology.PublishChain, topology.PublishBatch: topology.PublishBatch,
	} {
		t.Run("given "+string(given), func(t *testing.T) {
			t.Parallel()

			js := natstest.New(t).JetStream(t)
			made, err := topology.Create(t.Context(), js, flow, settingsOf(given, 0), maxBytes)
			require.NoError(t, err)

			opened, err := topology.Open(t.Context(), js, flow)
			require.NoError(t, err)
			require.Equal(t, want, opened.Publish)
			require.Equal(t, 1, opened.Replicas)
			require.Equal(t, made.Settings, opened.Settings)
		})
	}
}

// rememberIDs makes the server know messages by their ids for longer than any machine takes.
func rememberIDs(t *testing.T, js jetstream.JetStream, stream *topology.Stream) {
	t.Helper()

	handle, err := js.Stream(t.Context(), stream.Name())
	require.NoError(t, err)

	config := handle.CachedInfo().Config
	config.Duplicates = time.Hour
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
}

func TestPublishAfterFollowsTheLastMessageOnly(t *testing.T) {
	t.Parallel()

	for _, mode := range []topology.PublishMode{topology.PublishChain, topology.PublishBatch} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()

			js := natstest.New(t).JetStream(t)
			ctx := t.Context()
			stream, err := topology.Create(ctx, js, flow, settingsOf(mode, 1), maxBytes)
			require.NoError(t, err)
			require.NoError(t, stream.PublishFirst(ctx, js, marker(stream.StreamID)))
			rememberIDs(t, js, stream)

			first, err := stream.Tail(ctx)
			require.NoError(t, err)

			next := marker(stream.StreamID)
			next.Event = 1
			sequence, err := stream.PublishAfter(ctx, js, first, next)
			require.NoError(t, err)
			require.Equal(t, uint64(2), sequence)

			_, err = stream.PublishAfter(ctx, js, first, next)
			require.ErrorIs(t, err, topology.ErrNotLast)

			// Behind itself: the server answers success, and stores nothing.
			tail, err := stream.Tail(ctx)
			require.NoError(t, err)

			_, err = stream.PublishAfter(ctx, js, tail, next)
			require.ErrorIs(t, err, topology.ErrNotLast)
			require.ErrorContains(t, err, "message 2 is the same")

			other := marker(stream.StreamID)
			other.Event = 2
			_, err = stream.PublishAfter(ctx, js, first, other)
			require.ErrorIs(t, err, topology.ErrNotLast)

			tail, err = stream.Tail(ctx)
			require.NoError(t, err)
			require.Equal(t, uint64(2), tail.Sequence)
		})
	}
}

// TestPublishAfterGoesOnBehindLostMessages: the server remembers what it has lost, and refuses
// whatever names the last message that is left.
func TestPublishAfterGoesOnBehindLostMessages(t *testing.T) {
	t.Parallel()

	for _, mode := range []topology.PublishMode{topology.PublishChain, topology.PublishBatch} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()

			server := natstest.New(t)
			js := server.JetStream(t)
			stream, err := topology.Create(t.Context(), js, flow, settingsOf(mode, 1), 64<<20)
			require.NoError(t, err)

			var last topology.Stored

			for n := range 25 {
				m := marker(stream.StreamID)
				m.Event, m.Payload = uint64(n), make([]byte, 500_000)
				m.Size = len(m.Payload)

				_, err := stream.PublishAfter(t.Context(), js, last, m)
				require.NoError(t, err)

				last, err = stream.Tail(t.Context())
				require.NoError(t, err)
			}

			server.Stop()
			server.LoseLastBlock(t, stream.Name())
			require.NoError(t, server.Resume())

			js = server.JetStream(t)
			stream, err = topology.Open(t.Context(), js, flow)
			require.NoError(t, err)

			left, err := stream.Tail(t.Context())
			require.NoError(t, err)
			require.Less(t, left.Sequence, last.Sequence)

			next := marker(stream.StreamID)
			next.Event = 100

			if mode == topology.PublishChain { // the only one that asks for the message itself
				_, err = stream.PublishAfter(t.Context(), js, last, next)
				require.ErrorIs(t, err, topology.ErrNotLast, "behind one that is lost")
			}

			sequence, err := stream.PublishAfter(t.Context(), js, left, next)
			require.NoError(t, err)
			require.Equal(t, last.Sequence+1, sequence)

			next.Event = 101
			_, err = stream.PublishAfter(t.Context(), js, left, next)
			require.ErrorIs(t, err, topology.ErrNotLast, "another one has come")
		})
	}
}

func TestOpenRefusesBatchesWithoutAtomicPublish(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)
	config := topology.StreamConfig(flow, settingsOf(topology.PublishBatch, 1), maxBytes)
	config.AllowAtomicPublish = false

	_, err := js.CreateStream(t.Context(), config)
	require.NoError(t, err)

	_, err = topology.Open(t.Context(), js, flow)
	require.ErrorIs(t, err, topology.ErrConfigDiffers)
}

// TestReplicas makes streams on a cluster: a chain may have one replica, what is
// published in batches any number, which an operator may change.
func TestReplicas(t *testing.T) {
	t.Parallel()

	js := natstest.StartCluster(t, 3, natstest.Options{}).JetStream(t)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	_, err := topology.Create(ctx, js, flow, settingsOf(topology.PublishChain, 3), maxBytes)
	require.ErrorIs(t, err, topology.ErrChainOfReplicas)

	_, err = topology.Create(ctx, js, "one", settingsOf(topology.PublishChain, 1), maxBytes)
	require.NoError(t, err)
	require.Equal(t, 1, replicasOf(t, js, topology.OwnersBucket))

	stream, err := topology.Create(ctx, js, flow, settingsOf(topology.PublishBatch, 3), maxBytes)
	require.NoError(t, err)
	require.NoError(t, stream.PublishFirst(ctx, js, marker(stream.StreamID)))

	for _, bucket := range []string{topology.OwnersBucket, topology.StatsBucket} {
		require.Equal(t, 3, replicasOf(t, js, bucket))
	}

	// Another flow with fewer takes none away.
	require.NoError(t, topology.CreateBuckets(ctx, js, 1))
	require.Equal(t, 3, replicasOf(t, js, topology.OwnersBucket))

	_, live, err := stream.State(ctx)
	require.NoError(t, err)

	live.Replicas = 1
	_, err = js.UpdateStream(ctx, live)
	require.NoError(t, err)

	opened, err := topology.Open(ctx, js, flow)
	require.NoError(t, err)
	require.Equal(t, 1, opened.Replicas)

	chained, err := js.Stream(ctx, topology.StreamName("one"))
	require.NoError(t, err)

	live = chained.CachedInfo().Config
	live.Replicas = 3
	_, err = js.UpdateStream(ctx, live)
	require.NoError(t, err)

	_, err = topology.Open(ctx, js, "one")
	require.ErrorIs(t, err, topology.ErrChainOfReplicas)
	require.ErrorIs(t, err, topology.ErrConfigDiffers)
}

func replicasOf(t *testing.T, js jetstream.JetStream, bucket string) int {
	t.Helper()

	stream, err := js.Stream(t.Context(), "KV_"+bucket)
	require.NoError(t, err)

	return stream.CachedInfo().Config.Replicas
}
