package chain_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// patience bounds all that a test waits for, on a machine that does much else.
const patience = 4 * time.Minute

// seed takes CHAIN_SEED, which a failed test printed.
func seed(t *testing.T) uint64 {
	t.Helper()

	s := rand.Uint64N(1_000_000)

	if given := os.Getenv("CHAIN_SEED"); given != "" {
		var err error

		s, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}

	t.Logf("CHAIN_SEED=%d", s)

	return s
}

// contest lets two listeners publish the same source while disturb breaks things,
// and checks the stream afterwards.
func contest(t *testing.T, connect func() *nats.Conn, stream *topology.Stream, random *rand.Rand, disturb func(progress func())) []*listener {
	t.Helper()

	var (
		source    source
		listeners []*listener
		group     sync.WaitGroup
	)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	for i := range 2 {
		nc := connect()
		js, err := jetstream.New(nc)
		require.NoError(t, err)

		l := &listener{
			source: &source, nc: nc, js: js, writer: uint64(i + 1),
			random: rand.New(rand.NewPCG(random.Uint64(), 0)), acked: map[uint64]string{},
		}
		listeners = append(listeners, l)

		group.Go(func() {
			if err := l.run(ctx, t); err != nil {
				t.Error(err)
			}
		})
	}

	reached := func() int64 { return max(listeners[0].reached.Load(), listeners[1].reached.Load()) }

	disturb(func() {
		from := reached()
		require.Eventually(t, func() bool { return reached() > from+200 }, patience, 10*time.Millisecond, "nothing is published")
	})

	source.end.Store(reached() + 100)
	group.Wait()

	events := make([]sourceEvent, source.end.Load())
	for n := range events {
		events[n] = source.event(t, n+1)
	}

	verifyStream(t, stream, events, listeners)

	return listeners
}

// verifyStream checks that the stream has all events once and in order, and what
// was acknowledged where it was.
func verifyStream(t *testing.T, stream *topology.Stream, events []sourceEvent, listeners []*listener) []topology.Stored {
	t.Helper()

	messages := content(t, stream)
	plain := &model{}

	for i := range messages {
		plain.messages = append(plain.messages, messages[i].Message)
	}

	if events != nil {
		check(t, plain, events)
	}

	for _, l := range listeners {
		for sequence, id := range l.acked {
			require.LessOrEqual(t, sequence, uint64(len(messages)), "an acknowledged message is lost")
			require.Equal(t, id, messages[sequence-1].ID, "an acknowledged message was replaced")
		}

		t.Logf("listener %d: %d messages acknowledged, %d sessions broke, stream of %d", l.writer, len(l.acked), l.ends, len(messages))
	}

	return messages
}

// content reads the stream from its present leader.
func content(t *testing.T, stream *topology.Stream) []topology.Stored {
	t.Helper()

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)

	messages := make([]topology.Stored, state.LastSeq)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)

	for i := range messages {
		group.Go(func() error {
			m, err := stream.At(ctx, uint64(i+1))
			messages[i] = m

			return err
		})
	}

	require.NoError(t, group.Wait())

	return messages
}

// TestTwoListenersOneServer lets the server restart under two listeners.
func TestTwoListenersOneServer(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		random := rand.New(rand.NewPCG(seed(t), 0))
		server, stream := newStream(t, mode, 1<<30)

		listeners := contest(t, func() *nats.Conn { return server.Connect(t) }, stream, random, func(progress func()) {
			for range 3 {
				progress()
				server.Restart(t)
			}

			progress()
		})
		require.Positive(t, listeners[0].ends+listeners[1].ends, "nothing broke")
	})
}

// TestReplicasStayEqual lets two listeners publish to a stream with three
// replicas while servers stop, come back far behind, lose their disk, and the
// leader moves. Afterwards each server, made the leader, has the same stream.
func TestReplicasStayEqual(t *testing.T) {
	t.Parallel()

	random := rand.New(rand.NewPCG(seed(t), 0))
	cluster := natstest.StartCluster(t, 3, natstest.Options{})
	js := cluster.JetStream(t)
	stream := makeStream(t, js, topology.Settings{Publish: topology.PublishBatch, Replicas: 3}, 1<<30)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	current := func() { require.NoError(t, natstest.AwaitCurrent(ctx, js, stream.Name())) }
	current()

	listeners := contest(t, func() *nats.Conn { return cluster.Connect(t) }, stream, random, func(progress func()) {
		for _, fault := range []int{0, 1, 2, random.IntN(3)} {
			server := cluster.Servers[random.IntN(3)]
			progress()

			switch fault {
			case 0:
				_ = natstest.MoveLeader(ctx, js.Conn(), stream.Name(), "") // right now there may be none
			case 1: // it comes back far behind
				server.Stop()
				progress()
				require.NoError(t, server.Resume())
			case 2: // a majority must have all before one loses everything
				current()
				require.NoError(t, server.Wipe())
				progress()
				require.NoError(t, server.Resume())
				current()
			}
		}
	})
	require.Positive(t, listeners[0].ends+listeners[1].ends, "nothing broke")
	current()

	var first []topology.Stored

	for _, server := range cluster.Servers {
		require.NoError(t, natstest.AwaitLeader(ctx, js, stream.Name(), server.Name()))

		messages := verifyStream(t, stream, nil, listeners)
		if first == nil {
			first = messages
		}

		require.Len(t, messages, len(first), "server %s", server.Name())

		for i := range messages {
			require.Equal(t, first[i].ID, messages[i].ID, "message %d of server %s", i+1, server.Name())
			require.Equal(t, first[i].Payload, messages[i].Payload, "message %d of server %s", i+1, server.Name())
		}
	}
}
