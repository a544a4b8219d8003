package natsmodel_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

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
