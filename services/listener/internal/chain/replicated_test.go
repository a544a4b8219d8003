package chain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
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

// source makes the same events for everybody who asks, and ends when told.
type source struct {
	end atomic.Int64 // number of the last event; 0: not known yet
}

func (s *source) event(t require.TestingT, n int) sourceEvent {
	padding := 100
	if n%37 == 0 {
		padding = 3 * replicatedPart // in parts
	}

	return makeEvent(t, n, bson.Timestamp{T: 1000, I: uint32(n / 3)}, n%11, padding)
}

// replicatedPart is the part limit of these tests, in bytes.
const replicatedPart = 2000

// listener publishes the source, and begins again at the tail after every error.
type listener struct {
	source  *source
	nc      *nats.Conn
	js      jetstream.JetStream
	writer  uint64
	random  *rand.Rand
	reached atomic.Int64 // number of the last event read

	acked map[uint64]string // sequence → id of messages known to be stored
	ends  int               // sessions that broke
}

func (l *listener) run(ctx context.Context, t *testing.T) error {
	for {
		done, err := l.session(ctx, t)
		if done {
			return nil
		}

		if ctx.Err() != nil {
			return fmt.Errorf("listener %d gave up: %w", l.writer, err)
		}

		l.ends++

		time.Sleep(20 * time.Millisecond) // a server that refuses at once
	}
}

// session publishes until an error, or until the stream holds all.
func (l *listener) session(ctx context.Context, t *testing.T) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	stream, err := l.open(ctx)
	if err != nil {
		return false, err
	}

	tail, err := l.readTail(ctx, stream)
	if err != nil {
		return false, err
	}

	publisher, err := chain.NewPublisher(l.nc, flow, stream.Name(), tail)
	if err != nil {
		return false, err
	}
	defer publisher.Close()

	s := &publishing{listener: l, Publisher: publisher, ledger: chain.NewLedger(tail, l.writer), base: tail.Last.Sequence}

	for n := number(tail.Last.ResumeToken) + 1; ; n++ {
		if end := l.source.end.Load(); end > 0 && n > int(end) {
			return s.drain(ctx) == nil, nil
		}

		pause := l.random.IntN(50) == 0 // the source has bursts and pauses
		dry := pause || n == int(l.source.end.Load())

		if err := s.publish(ctx, l.source.event(t, n), dry); err != nil {
			return false, err
		}

		l.reached.Store(int64(n))

		if pause {
			if err := s.drain(ctx); err != nil {
				return false, err
			}

			time.Sleep(time.Duration(l.random.IntN(60)) * time.Millisecond)
		}
	}
}

const requestTimeout = 3 * time.Second

func (l *listener) open(ctx context.Context) (*topology.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	return topology.Open(ctx, l.js, flow)
}

func (l *listener) readTail(ctx context.Context, stream *topology.Stream) (*chain.Tail, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	return chain.ReadTail(ctx, stream)
}

// number is that of the event whose token this is.
func number(token bson.Raw) int {
	n, _ := strconv.Atoi(token.Lookup("_data").StringValue())

	return n
}

// publishing is a session of a listener.
type publishing struct {
	*chain.Publisher

	listener *listener
	ledger   *chain.Ledger
	base     uint64   // sequence of the tail
	ids      []string // of all messages published behind it
}

func (s *publishing) publish(ctx context.Context, e sourceEvent, dry bool) error {
	messages, err := s.ledger.Take(&e.event, e.token, replicatedPart)
	if err != nil {
		return err
	}

	for i := range messages {
		for s.Full() {
			if err := s.handle(ctx); err != nil {
				return err
			}
		}

		s.ids = append(s.ids, messages[i].ID())

		if err := s.Publish(time.Now(), &messages[i], dry && i == len(messages)-1); err != nil {
			return err
		}
	}

	return nil
}

func (s *publishing) drain(ctx context.Context) error {
	for {
		if outstanding, _ := s.Outstanding(); outstanding == 0 {
			return nil
		}

		if err := s.handle(ctx); err != nil {
			return err
		}
	}
}

// handle takes in one reply and notes what it proves.
func (s *publishing) handle(ctx context.Context) error {
	select {
	case reply := <-s.Replies():
		before, _ := s.Outstanding()

		if err := s.Handle(reply); err != nil {
			return err
		}

		after, _ := s.Outstanding()
		proven := len(s.ids) - int(after)

		for i := len(s.ids) - int(before); i < proven; i++ {
			s.listener.acked[s.base+uint64(i)+1] = s.ids[i]
		}

		return nil
	case <-time.After(chain.AckTimeout):
		return context.DeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	}
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

		require.Equal(t, len(first), len(messages), "server %s", server.Name())

		for i := range messages {
			require.Equal(t, first[i].ID, messages[i].ID, "message %d of server %s", i+1, server.Name())
			require.Equal(t, first[i].Payload, messages[i].Payload, "message %d of server %s", i+1, server.Name())
		}
	}
}
