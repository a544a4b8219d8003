package chain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// source makes the same events for everybody who asks, and ends when told.
type source struct {
	end atomic.Int64 // number of the last event; 0: not known yet
}

func (*source) event(t require.TestingT, n int) sourceEvent {
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
	t.Helper()

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
	t.Helper()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	stream, err := l.open(ctx)
	if err != nil {
		return false, err
	}

	tail, err := readTail(ctx, stream)
	if err != nil {
		return false, err
	}

	publisher, err := chain.NewPublisher(l.nc, flow, stream.Name(), tail)
	if err != nil {
		return false, err
	}
	defer publisher.Close()

	s := &publishing{listener: l, Publisher: publisher, ledger: chain.NewLedger(tail, l.writer), base: tail.Sequence}

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

func readTail(ctx context.Context, stream *topology.Stream) (*chain.Tail, error) {
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
