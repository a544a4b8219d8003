package event_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

// cut returns an event's messages as a listener publishes them.
func cut(tb testing.TB, raw []byte, limit int, count uint64, attempt int) []event.Message {
	tb.Helper()

	payloads := event.Split(raw, limit)
	messages := make([]event.Message, len(payloads))

	for i, payload := range payloads {
		m := message(tb, payload)
		m.Part, m.Parts, m.Size, m.Attempt = i+1, len(payloads), len(raw), attempt
		m.Event, m.Count = 40+count, count
		m.Position.Ordinal = uint32(count)
		messages[i] = m
	}

	return messages
}

func TestAssemblerReturnsWholeMessagesAsTheyAre(t *testing.T) {
	t.Parallel()

	var a event.Assembler

	m := message(t, []byte("whole"))
	got, complete, err := a.Add(m)
	require.NoError(t, err)
	require.True(t, complete)
	require.Equal(t, m, got)
	require.Same(t, &m.Payload[0], &got.Payload[0])
	require.Zero(t, a.Size())
}

func TestAssemblerPutsPartsTogether(t *testing.T) {
	t.Parallel()

	var a event.Assembler

	parts := cut(t, []byte("abcdefgh"), 3, 1, 1)

	for _, part := range parts[:2] {
		_, complete, err := a.Add(part)
		require.NoError(t, err)
		require.False(t, complete)

		pending, ok := a.Pending()
		require.True(t, ok)
		require.Equal(t, part.ID(), pending.ID())
		require.Equal(t, 8, a.Size())
	}

	got, complete, err := a.Add(parts[2])
	require.NoError(t, err)
	require.True(t, complete)
	require.Equal(t, parts[2].ID(), got.ID())
	require.Equal(t, "abcdefgh", string(got.Payload))
	require.Equal(t, 8, cap(got.Payload))

	_, ok := a.Pending()
	require.False(t, ok)

	// The buffer was handed over: the next event must not write into it.
	for _, part := range cut(t, []byte("12345678"), 3, 2, 1) {
		_, _, err := a.Add(part)
		require.NoError(t, err)
	}

	require.Equal(t, "abcdefgh", string(got.Payload))
}

func TestAssemblerDropsUnfinishedEvents(t *testing.T) {
	t.Parallel()

	unfinished := cut(t, []byte("abcdefgh"), 3, 1, 1)[:2]

	for name, next := range map[string][]event.Message{
		"higher attempt": cut(t, []byte("12345678"), 3, 1, 2),
		"same attempt":   cut(t, []byte("12345678"), 3, 1, 1),
		"another event":  cut(t, []byte("12345678"), 3, 2, 1),
		"a whole event":  cut(t, []byte("12345678"), 8, 2, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var a event.Assembler

			for _, m := range append(append([]event.Message(nil), unfinished...), next...) {
				got, complete, err := a.Add(m)
				require.NoError(t, err)

				if complete {
					require.Equal(t, "12345678", string(got.Payload))
				}
			}

			require.Zero(t, a.Size())
		})
	}
}

func TestAssemblerRefusesWhatContinuesNothing(t *testing.T) {
	t.Parallel()

	parts := cut(t, []byte("abcdefgh"), 3, 1, 1)
	higher := cut(t, []byte("abcdefgh"), 3, 1, 2)

	spoiled := func(spoil func(*event.Message)) []event.Message {
		m := parts[1]
		spoil(&m)

		return []event.Message{parts[0], m}
	}

	for name, messages := range map[string][]event.Message{
		"nothing before":     {parts[1]},
		"the same again":     {parts[0], parts[1], parts[1]},
		"one left out":       {parts[0], parts[2]},
		"of another attempt": {parts[0], higher[1]},
		"after a whole one":  {parts[0], message(t, []byte("x")), parts[1]},
		"another event":      spoiled(func(m *event.Message) { m.Event++ }),
		"another count":      spoiled(func(m *event.Message) { m.Count++ }),
		"another position":   spoiled(func(m *event.Message) { m.Position.I++ }),
		"another generation": spoiled(func(m *event.Message) { m.Generation++ }),
		"another stream":     spoiled(func(m *event.Message) { m.StreamID = "other" }),
		"another kind":       spoiled(func(m *event.Message) { m.Kind = event.KindBarrier }),
		"another partition":  spoiled(func(m *event.Message) { m.Partition++ }),
		"another namespace":  spoiled(func(m *event.Message) { m.Namespace.Coll = "other" }),
		"another size":       spoiled(func(m *event.Message) { m.Size++ }),
		"other parts":        spoiled(func(m *event.Message) { m.Parts++ }),
		"all bytes too soon": spoiled(func(m *event.Message) { m.Payload = []byte("defgh") }),
		"too many bytes":     spoiled(func(m *event.Message) { m.Payload = []byte("defghi") }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var (
				a   event.Assembler
				err error
			)

			for i, m := range messages {
				_, _, err = a.Add(m)
				require.Equal(t, i == len(messages)-1, err != nil, "message %d: %v", i, err)
			}

			require.ErrorIs(t, err, event.ErrMalformed)
			require.Zero(t, a.Size(), "it must not go on with what it has")
		})
	}

	var a event.Assembler

	_, _, err := a.Add(parts[0])
	require.NoError(t, err)
	_, _, err = a.Add(parts[1])
	require.NoError(t, err)

	short := parts[2]
	short.Payload = short.Payload[:1]
	_, _, err = a.Add(short)
	require.ErrorIs(t, err, event.ErrMalformed)
}

// model is the Assembler's rule in its plainest form: the run of messages at
// the end of all that were seen.
type model struct{ run []event.Message }

func (m *model) add(next event.Message) (payload []byte, complete, ok bool) {
	switch {
	case next.Parts == 1:
		m.run = nil
		return next.Payload, true, true
	case next.Part == 1:
		m.run = []event.Message{next}
	case len(m.run) > 0 && m.run[0].Count == next.Count && m.run[0].Attempt == next.Attempt && len(m.run)+1 == next.Part:
		m.run = append(m.run, next)
	default:
		m.run = nil
		return nil, false, false
	}

	if next.Part < next.Parts {
		return nil, false, true
	}

	for _, part := range m.run {
		payload = append(payload, part.Payload...)
	}

	m.run = nil

	return payload, true, true
}

func TestAssemblerAgreesWithModel(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(rt *rapid.T) {
		// Two events of several parts and one of a single part, in two attempts.
		var pool []event.Message

		for count, raw := range []string{"abcdefgh", "ABCD", "x"} {
			for attempt := 1; attempt <= 2; attempt++ {
				pool = append(pool, cut(t, []byte(raw), 2, uint64(count+1), attempt)...)
			}
		}

		var (
			a    event.Assembler
			m    model
			next = 0
		)

		for range rapid.IntRange(1, 60).Draw(rt, "messages") {
			if rapid.IntRange(0, 3).Draw(rt, "interrupt") == 0 {
				next = rapid.IntRange(0, len(pool)-1).Draw(rt, "continue at")
			}

			payload, wantComplete, ok := m.add(pool[next])
			got, complete, err := a.Add(pool[next])

			require.Equal(rt, ok, err == nil)
			require.Equal(rt, wantComplete, complete)
			require.Equal(rt, string(payload), string(got.Payload))

			_, pending := a.Pending()
			require.Equal(rt, len(m.run) > 0, pending)

			next = (next + 1) % len(pool)
		}
	})
}

// What a listener publishes of a 16 MiB event, interrupted once, passes a real
// server with its default limit and arrives byte for byte.
func TestLargeEventPassesTheServer(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)
	nc := js.Conn()

	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CDC_f", Subjects: []string{event.FlowFilter("f")}, Storage: jetstream.MemoryStorage})
	require.NoError(t, err)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	raw := make([]byte, 16<<20)
	for i, random := 0, rand.NewPCG(seed, 0); i < len(raw); i++ {
		raw[i] = byte(random.Uint64())
	}

	limit, err := event.PartLimit(nc.MaxPayload(), token(t, 16))
	require.NoError(t, err)

	messages := append(cut(t, raw, limit, 1, 1)[:3], cut(t, raw, limit, 1, 2)...)
	previous := ""

	for i := range messages {
		msg := event.Encode("f", &messages[i], previous)
		_, err := js.PublishMsg(t.Context(), msg)
		require.NoError(t, err)

		previous = messages[i].ID()
	}

	var a event.Assembler

	for sequence := 1; sequence <= len(messages); sequence++ {
		stored, err := stream.GetMsg(t.Context(), uint64(sequence))
		require.NoError(t, err)
		require.Equal(t, messages[sequence-1].ID(), stored.Header[nats.MsgIdHdr][0])

		m, err := event.Decode(stored.Subject, stored.Header, stored.Data)
		require.NoError(t, err)
		require.Equal(t, messages[sequence-1], m)

		got, complete, err := a.Add(m)
		require.NoError(t, err)
		require.Equal(t, sequence == len(messages), complete)

		if complete {
			require.True(t, bytes.Equal(raw, got.Payload))
		}
	}
}
