package natsmodel_test

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/natsmodel"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// subject is a server with the stream of a flow, real or a model. What the suite asks of it
// is what the relay asks.
type subject struct {
	js   jetstream.JetStream
	nc   conn
	data []byte // of the messages

	// put and remove are a lease's: a publish with a TTL that names the key's revision.
	put    func(t *testing.T, key string, expected uint64, ttl time.Duration) (uint64, bool)
	pass   func(d time.Duration)                                          // lets time pass
	next   func(t *testing.T, c jetstream.Consumer) (jetstream.Msg, bool) // false: nothing comes
	remake func(t *testing.T, maxBytes int64) jetstream.Stream
	known  time.Duration      // how long the next stream knows messages by their ids; 0: as long as a flow's
	lose   func(t *testing.T) // the last messages, of which the server knows that it had them, and starts again
}

type conn interface {
	PublishMsg(msg *nats.Msg) error
	NewInbox() string
	ChanSubscribe(subject string, channel chan *nats.Msg) (*nats.Subscription, error)
	RequestWithContext(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
}

const (
	flow       = "conform"
	partitions = 2
)

func (s *subject) config(maxBytes int64) jetstream.StreamConfig {
	config := topology.StreamConfig(flow, topology.Settings{StreamID: "id", Partitions: partitions}, maxBytes)
	config.Duplicates = cmp.Or(s.known, config.Duplicates)

	return config
}

// instant is a network that takes no time.
type instant struct{}

func (instant) Call(_ context.Context, request func()) error { request(); return nil }

func (instant) Send(message func()) error { message(); return nil }

func (instant) Reply(answer func()) { answer() }

func (instant) Flush(context.Context) error { return nil }

func newModel(_ *testing.T) *subject {
	now := time.Unix(1000, 0)
	server := natsmodel.NewServer(func() time.Time { return now })
	server.CreateBucket(topology.OwnersBucket)

	client := natsmodel.NewClient(server, instant{}, 1<<20)

	s := &subject{
		js: client.JetStream(), nc: client, data: []byte("data"),
		put: func(t *testing.T, key string, expected uint64, ttl time.Duration) (uint64, bool) {
			t.Helper()

			revision, err := client.Put(t.Context(), topology.OwnersBucket, key, []byte("x"), expected, ttl)

			return revision, err == nil
		},
		pass: func(d time.Duration) { now = now.Add(d) },
		next: func(t *testing.T, c jetstream.Consumer) (jetstream.Msg, bool) {
			t.Helper()

			msg, _ := c.(*natsmodel.Consumer).Deliver() //nolint:forcetypeassert // it made it
			return msg, msg != nil
		},
		lose: func(*testing.T) { lost(server) },
	}
	s.remake = func(t *testing.T, maxBytes int64) jetstream.Stream {
		t.Helper()
		server.CreateStream(s.config(maxBytes))

		stream, err := client.JetStream().Stream(t.Context(), topology.StreamName(flow))
		require.NoError(t, err)

		return stream
	}

	return s
}

// lost loses the last messages of the model.
func lost(server *natsmodel.Server) {
	stream := server.Stream(topology.StreamName(flow))
	stream.Damage(stream.Last()-2, stream.Last())
	server.Restart(0)
}

func newReal(t *testing.T) *subject {
	t.Helper()

	server := natstest.New(t)
	nc := server.Connect(t)

	js, err := jetstream.New(nc)
	require.NoError(t, err)

	_, err = js.CreateKeyValue(t.Context(), topology.OwnersConfig())
	require.NoError(t, err)

	s := &subject{
		js: js, nc: nc, data: []byte("data"),
		put: func(t *testing.T, key string, expected uint64, ttl time.Duration) (uint64, bool) {
			t.Helper()

			msg := nats.NewMsg("$KV." + topology.OwnersBucket + "." + key)
			msg.Data = []byte("x")
			msg.Header.Set("Nats-TTL", ttl.String())
			msg.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(expected, 10))

			ack, err := js.PublishMsg(t.Context(), msg)
			if err != nil {
				return 0, false
			}

			return ack.Sequence, true
		},
		pass: time.Sleep,
		next: func(t *testing.T, c jetstream.Consumer) (jetstream.Msg, bool) {
			t.Helper()

			batch, err := c.FetchNoWait(1)
			require.NoError(t, err)

			msg := <-batch.Messages()

			return msg, msg != nil
		},
		lose: func(t *testing.T) {
			t.Helper()
			server.Stop()
			server.LoseLastBlock(t, topology.StreamName(flow))
			require.NoError(t, server.Resume())
			server.AwaitReconnect(t, nc)
		},
	}
	s.remake = func(t *testing.T, maxBytes int64) jetstream.Stream {
		t.Helper()

		_ = js.DeleteStream(t.Context(), topology.StreamName(flow)) // there may be none

		stream, err := js.CreateStream(t.Context(), s.config(maxBytes))
		require.NoError(t, err)

		return stream
	}

	return s
}

// answer is what the server says to a publish.
type answer struct {
	Seq       uint64
	Duplicate bool
	Error     *jetstream.APIError
}

// publish publishes a message of a partition and returns the answer.
func (s *subject) publish(t *testing.T, partition int, id string, headers map[string]string) answer {
	t.Helper()

	replies := make(chan *nats.Msg, 1)
	inbox := s.nc.NewInbox() + "."

	sub, err := s.nc.ChanSubscribe(inbox+"*", replies)
	require.NoError(t, err)

	defer func() { _ = sub.Unsubscribe() }()

	msg := nats.NewMsg(event.EventSubject(flow, partition, event.Namespace{DB: "d", Coll: "c"}))
	msg.Data, msg.Reply = s.data, inbox+"1"
	msg.Header.Set(jetstream.MsgIDHeader, id)

	for name, value := range headers {
		msg.Header.Set(name, value)
	}

	require.NoError(t, s.nc.PublishMsg(msg))

	var a answer

	select {
	case reply := <-replies:
		if len(reply.Data) > 0 {
			require.NoError(t, json.Unmarshal(reply.Data, &a))
		}
	case <-t.Context().Done():
	case <-time.After(30 * time.Second):
		t.Fatal("no answer")
	}

	return a
}

func follows(id string) map[string]string {
	return map[string]string{jetstream.ExpectedLastMsgIDHeader: id}
}

func after(sequence int) map[string]string {
	return map[string]string{jetstream.ExpectedLastSeqHeader: strconv.Itoa(sequence)}
}

// member makes a message one of an atomic batch.
func member(batch string, number int, more map[string]string) map[string]string {
	headers := map[string]string{"Nats-Batch-Id": batch, "Nats-Batch-Sequence": strconv.Itoa(number)}
	maps.Copy(headers, more)

	return headers
}

// commit makes it the last one.
func commit() map[string]string { return map[string]string{"Nats-Batch-Commit": "1"} }
