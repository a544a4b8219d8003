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
			require.Eventually(t, nc.IsConnected, 30*time.Second, 10*time.Millisecond)
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

// TestConformance runs the suite against both.
func TestConformance(t *testing.T) {
	t.Parallel()

	for name, begin := range map[string]func(*testing.T) *subject{"model": newModel, "server": newReal} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			for name, check := range map[string]func(*testing.T, *subject){
				"chain": checkChain, "sequence": checkSequence, "duplicates": checkDuplicates, "full": checkFull, "reading": checkReading,
				"batches": checkBatches, "consumers": checkConsumers, "keys": checkKeys, "absent": checkAbsent, "lost": checkLost,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					check(t, begin(t))
				})
			}
		})
	}
}

func checkChain(t *testing.T, s *subject) {
	t.Helper()
	s.remake(t, 0)

	require.Equal(t, uint64(1), s.publish(t, 0, "a", nil).Seq)
	require.Equal(t, uint64(2), s.publish(t, 1, "b", follows("a")).Seq)

	refused := s.publish(t, 0, "c", follows("a"))
	require.NotNil(t, refused.Error)
	require.Equal(t, jetstream.ErrorCode(10070), refused.Error.ErrorCode)
	require.Equal(t, uint64(3), s.publish(t, 0, "c", follows("b")).Seq, "what was refused is not stored, nor remembered")
}

func checkSequence(t *testing.T, s *subject) {
	t.Helper()
	s.remake(t, 0)

	require.Equal(t, uint64(1), s.publish(t, 0, "a", after(0)).Seq)

	refused := s.publish(t, 0, "b", after(0))
	require.NotNil(t, refused.Error)
	require.Equal(t, jetstream.ErrorCode(10071), refused.Error.ErrorCode)
	require.Equal(t, uint64(2), s.publish(t, 0, "b", after(1)).Seq)
}

func checkDuplicates(t *testing.T, s *subject) {
	t.Helper()
	s.remake(t, 0)

	require.Equal(t, uint64(1), s.publish(t, 0, "a", nil).Seq)
	s.pass(500 * time.Millisecond) // the window is 100 ms; a server looks now and then
	require.Equal(t, uint64(2), s.publish(t, 0, "a", nil).Seq, "behind the window it is stored again")

	s.known = time.Hour // longer than any machine takes
	s.remake(t, 0)

	require.Equal(t, uint64(1), s.publish(t, 0, "a", nil).Seq)

	for _, headers := range []map[string]string{follows("somebody"), after(1)} {
		again := s.publish(t, 0, "a", headers)
		require.True(t, again.Duplicate, "it is found before the last id is looked at")
		require.Equal(t, uint64(1), again.Seq)
	}

	refused := s.publish(t, 0, "a", after(7))
	require.NotNil(t, refused.Error, "the last sequence is looked at before")
	require.Equal(t, jetstream.ErrorCode(10071), refused.Error.ErrorCode)

	s.publish(t, 0, "b", member("one", 1, after(1)))

	refused = s.publish(t, 0, "a", member("one", 2, commit()))
	require.NotNil(t, refused.Error)
	require.Equal(t, jetstream.ErrorCode(10201), refused.Error.ErrorCode)
	require.Equal(t, uint64(2), s.publish(t, 0, "b", after(1)).Seq, "of a batch with a duplicate nothing is stored")
}

func checkFull(t *testing.T, s *subject) {
	t.Helper()
	s.remake(t, 700)

	for n := 1; ; n++ {
		require.Less(t, n, 50)

		a := s.publish(t, 0, strconv.Itoa(n), nil)
		if a.Error == nil {
			require.Equal(t, uint64(n), a.Seq)

			continue
		}

		require.Equal(t, jetstream.ErrorCode(10077), a.Error.ErrorCode)
		require.Greater(t, n, 2)

		break
	}
}

func checkReading(t *testing.T, s *subject) {
	t.Helper()

	stream := s.remake(t, 0)

	for n, partition := range []int{0, 1, 0, 1} {
		s.publish(t, partition, strconv.Itoa(n), nil)
	}

	sequence := func(m *jetstream.RawStreamMsg, err error) uint64 {
		require.NoError(t, err)

		return m.Sequence
	}
	second := jetstream.WithGetMsgSubject(event.PartitionFilter(flow, 1))

	require.Equal(t, uint64(3), sequence(stream.GetMsg(t.Context(), 3)))
	require.Equal(t, uint64(2), sequence(stream.GetMsg(t.Context(), 1, second)))
	require.Equal(t, uint64(4), sequence(stream.GetMsg(t.Context(), 3, second)))
	require.Equal(t, uint64(4), sequence(stream.GetLastMsgForSubject(t.Context(), ">")))
	require.Equal(t, uint64(3), sequence(stream.GetLastMsgForSubject(t.Context(), event.PartitionFilter(flow, 0))))

	_, err := stream.GetMsg(t.Context(), 5)
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
	_, err = stream.GetMsg(t.Context(), 5, second)
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
	_, err = stream.GetLastMsgForSubject(t.Context(), event.MarkerSubject(flow))
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound)

	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 4, 4}, []uint64{info.State.FirstSeq, info.State.LastSeq, info.State.Msgs})
	require.Zero(t, info.State.NumDeleted)

	opened, err := topology.Open(t.Context(), s.js, flow)
	require.NoError(t, err)
	require.Equal(t, "id", opened.StreamID)
}

func checkBatches(t *testing.T, s *subject) {
	t.Helper()
	s.remake(t, 0)

	require.Equal(t, uint64(1), s.publish(t, 0, "a", nil).Seq)
	require.Equal(t, answer{}, s.publish(t, 0, "b", member("one", 1, after(1))), "nothing is stored yet")
	require.Equal(t, uint64(3), s.publish(t, 1, "c", member("one", 2, commit())).Seq)

	s.publish(t, 0, "d", member("two", 1, after(2)))

	refused := s.publish(t, 1, "e", member("two", 2, commit()))
	require.NotNil(t, refused.Error)
	require.Equal(t, jetstream.ErrorCode(10071), refused.Error.ErrorCode)
	require.Equal(t, uint64(4), s.publish(t, 0, "f", after(3)).Seq, "of a batch that was refused nothing is stored")
}

func checkConsumers(t *testing.T, s *subject) {
	t.Helper()

	stream := s.remake(t, 0)

	for n, partition := range []int{0, 1, 0, 1, 1} {
		s.publish(t, partition, strconv.Itoa(n), nil)
	}

	consumer, err := stream.CreateConsumer(t.Context(), topology.ConsumerConfig(flow, 1, 7, 2))
	require.NoError(t, err)

	for i, want := range []uint64{4, 5} {
		msg, ok := s.next(t, consumer)
		require.True(t, ok)

		metadata, err := msg.Metadata()
		require.NoError(t, err)
		require.Equal(t, jetstream.SequencePair{Consumer: uint64(i + 1), Stream: want}, metadata.Sequence)
		require.Equal(t, []byte("data"), msg.Data())
		require.NoError(t, msg.Ack())
	}

	_, ok := s.next(t, consumer)
	require.False(t, ok)

	var names []string
	for name := range stream.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}

	require.Equal(t, []string{topology.ConsumerName(1, 7)}, names)
	require.NoError(t, stream.DeleteConsumer(t.Context(), names[0]))
	require.ErrorIs(t, stream.DeleteConsumer(t.Context(), names[0]), jetstream.ErrConsumerNotFound)
}

func checkKeys(t *testing.T, s *subject) {
	t.Helper()

	first, ok := s.put(t, "k.1", 0, time.Second)
	require.True(t, ok)

	_, ok = s.put(t, "k.1", 0, time.Second)
	require.False(t, ok, "it is there")

	other, ok := s.put(t, "k.2", 0, time.Second)
	require.True(t, ok)
	require.Greater(t, other, first)

	renewed, ok := s.put(t, "k.1", first, time.Hour)
	require.True(t, ok)

	_, ok = s.put(t, "k.1", first, time.Hour)
	require.False(t, ok, "it has another revision")

	s.pass(3 * time.Second)

	_, ok = s.put(t, "k.1", renewed, time.Hour)
	require.True(t, ok, "the renewal has its own TTL")
}

func checkAbsent(t *testing.T, s *subject) {
	t.Helper()

	_, err := s.js.Stream(t.Context(), "NONE")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)

	_, err = s.js.KeyValue(t.Context(), "NONE")
	require.ErrorIs(t, err, jetstream.ErrBucketNotFound)

	reply, err := s.nc.RequestWithContext(t.Context(), "$JS.API.STREAM.INFO.NONE", nil)
	require.NoError(t, err)
	require.Contains(t, string(reply.Data), strconv.Itoa(int(jetstream.JSErrCodeStreamNotFound)))
}

func checkLost(t *testing.T, s *subject) {
	t.Helper()

	const messages = 25 // more than a block holds

	stream := s.remake(t, 0)
	s.data = make([]byte, 500_000)

	for n := 1; n <= messages; n++ {
		require.Equal(t, uint64(n), s.publish(t, 0, strconv.Itoa(n), nil).Seq)
	}

	s.lose(t)

	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(messages), info.State.LastSeq, "the server remembers what it had")
	require.Less(t, info.State.Msgs, uint64(messages))
	require.Positive(t, info.State.NumDeleted)

	_, err = stream.GetLastMsgForSubject(t.Context(), ">")
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound, "the last message is that with the last sequence")

	last, err := stream.GetLastMsgForSubject(t.Context(), event.PartitionFilter(flow, 0))
	require.NoError(t, err)
	require.Equal(t, info.State.Msgs, last.Sequence)

	refused := s.publish(t, 0, "next", follows(last.Header.Get(jetstream.MsgIDHeader)))
	require.NotNil(t, refused.Error)
	require.Equal(t, jetstream.ErrorCode(10070), refused.Error.ErrorCode)

	refused = s.publish(t, 0, "next", after(int(last.Sequence)))
	require.NotNil(t, refused.Error)
	require.Equal(t, jetstream.ErrorCode(10071), refused.Error.ErrorCode)
	require.Equal(t, uint64(messages+1), s.publish(t, 0, "next", after(messages)).Seq)
}
