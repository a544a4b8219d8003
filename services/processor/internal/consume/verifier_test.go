package consume_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// from is a checkpoint amid a stream.
func from() *checkpoint.Place {
	return &checkpoint.Place{StreamID: "s", Sequence: 100, Event: 50, Count: 10, Position: event.Position{T: 50}}
}

// message is the whole event with this count, as the stream of from has it.
func message(count uint64) event.Message {
	return event.Message{
		Kind: event.KindEvent, StreamID: "s", Position: event.Position{T: uint32(40 + count)},
		Event: 40 + count, Count: count, Part: 1, Parts: 1, Attempt: 1, Payload: []byte{byte(count)}, Size: 1,
	}
}

// part is part i of n, each of one byte, of an attempt at that event.
func part(count uint64, i, n, attempt int) event.Message {
	m := message(count)
	m.Part, m.Parts, m.Size, m.Attempt, m.Payload = i, n, n, attempt, []byte{byte(10*attempt + i)}

	return m
}

// copyBehind is the copy of a schema change that comes behind the event with this count.
func copyBehind(count uint64, attempt int) event.Message {
	m := message(count)
	m.Kind, m.Partition, m.Position.I, m.Attempt, m.Payload, m.Size = event.KindBarrier, 1, 1, attempt, nil, 0

	return m
}

func changed(m event.Message, change func(*event.Message)) event.Message {
	change(&m)

	return m
}

// TestVerifierKeepsItsGeneration: a stream that was set back behind its last rewind goes on in the generation before, whose
// counts mean something else.
func TestVerifierKeepsItsGeneration(t *testing.T) {
	t.Parallel()

	for name, m := range map[string]event.Message{"the next event": message(11), "one that is applied": message(9)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			place := from()
			place.Generation, m.Generation = 2, 1

			_, complete, err := consume.NewVerifier(place).Check(m, 1)
			require.ErrorIs(t, err, consume.ErrHole)
			require.False(t, complete)
		})
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		messages []event.Message
		skip     int // delivery before which the consumer's sequence jumps; 0 never
		taken    []uint64
		err      error // of the last message
	}{
		"in order":         {messages: []event.Message{message(11), message(12)}, taken: []uint64{11, 12}},
		"redelivered":      {messages: []event.Message{message(9), message(10), message(11)}, taken: []uint64{11}},
		"twice":            {messages: []event.Message{message(11), message(11), message(12)}, taken: []uint64{11, 12}},
		"hole":             {messages: []event.Message{message(11), message(13)}, taken: []uint64{11}, err: consume.ErrHole},
		"hole at once":     {messages: []event.Message{message(12)}, err: consume.ErrHole},
		"copy":             {messages: []event.Message{message(11), copyBehind(11, 1), message(12)}, taken: []uint64{11, 11, 12}},
		"copy at once":     {messages: []event.Message{copyBehind(10, 1), message(11)}, taken: []uint64{10, 11}},
		"copy begun anew":  {messages: []event.Message{copyBehind(10, 1), copyBehind(10, 2), message(11)}, taken: []uint64{10, 11}},
		"copy behind hole": {messages: []event.Message{message(11), copyBehind(12, 1)}, taken: []uint64{11}, err: consume.ErrHole},
		"count back": {
			messages: []event.Message{message(11), changed(message(12), func(m *event.Message) { m.Count = 11 })},
			taken:    []uint64{11}, err: consume.ErrHole,
		},
		"other stream": {messages: []event.Message{changed(message(11), func(m *event.Message) { m.StreamID = "t" })}, err: consume.ErrForeign},
		"other stream, applied before": {
			messages: []event.Message{changed(message(9), func(m *event.Message) { m.StreamID = "t" })}, err: consume.ErrForeign,
		},
		"other generation": {messages: []event.Message{changed(message(11), func(m *event.Message) { m.Generation = 1 })}, err: consume.ErrGeneration},
		"lost delivery":    {messages: []event.Message{message(11), message(12)}, skip: 2, taken: []uint64{11}, err: consume.ErrReset},
		"lost the first":   {messages: []event.Message{message(11)}, skip: 1, err: consume.ErrReset},
		// The tail was lost and written again: other positions, counts that go on
		// from the last of those applied before.
		"renumbered before the first": {
			messages: []event.Message{
				changed(message(10), func(m *event.Message) { m.Count = 20 }),
				changed(message(11), func(m *event.Message) { m.Count = 21 }),
			},
			taken: []uint64{21},
		},
		"parts":             {messages: []event.Message{part(11, 1, 2, 1), part(11, 2, 2, 1), message(12)}, taken: []uint64{11, 12}},
		"second attempt":    {messages: []event.Message{part(11, 1, 3, 1), part(11, 2, 3, 1), part(11, 1, 2, 2), part(11, 2, 2, 2)}, taken: []uint64{11}},
		"attempt dropped":   {messages: []event.Message{part(11, 1, 3, 1), changed(message(11), func(m *event.Message) { m.Position.T++ })}, taken: []uint64{11}},
		"part without head": {messages: []event.Message{part(11, 2, 3, 1)}, err: consume.ErrHole},
		"part missing":      {messages: []event.Message{part(11, 1, 3, 1), part(11, 3, 3, 1)}, err: consume.ErrHole},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			v := consume.NewVerifier(from())

			var taken []uint64

			for i, m := range test.messages {
				sequence := uint64(i + 1)
				if test.skip > 0 && i+1 >= test.skip {
					sequence++
				}

				whole, complete, err := v.Check(m, sequence)
				if i == len(test.messages)-1 && test.err != nil {
					require.ErrorIs(t, err, test.err)
					require.False(t, complete)

					break
				}

				require.NoError(t, err)

				if complete {
					taken = append(taken, whole.Count)
				}
			}

			require.Equal(t, test.taken, taken)
		})
	}
}

func TestVerifierPutsPartsTogether(t *testing.T) {
	t.Parallel()

	v := consume.NewVerifier(from())
	require.Zero(t, v.Collecting())

	_, complete, err := v.Check(part(11, 1, 2, 1), 1)
	require.NoError(t, err)
	require.False(t, complete)
	require.Equal(t, 2, v.Collecting())

	whole, complete, err := v.Check(part(11, 2, 2, 1), 2)
	require.NoError(t, err)
	require.True(t, complete)
	require.Equal(t, []byte{11, 12}, whole.Payload)
	require.Zero(t, v.Collecting())
}

// TestVerifierTakesEveryEventOnce starts consumers anywhere before the
// checkpoint and breaks them off anywhere: whatever was taken, in whatever
// attempts and parts, is every event once, in order.
func TestVerifierTakesEveryEventOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.IntRange(1, 20).Draw(t, "events")

		var stream []event.Message

		for count := 1; count <= events; count++ {
			attempts := rapid.IntRange(1, 3).Draw(t, "attempts")
			parts := rapid.IntRange(1, 4).Draw(t, "parts")

			for attempt := 1; attempt <= attempts; attempt++ {
				published := parts
				if attempt < attempts {
					published = rapid.IntRange(0, parts-1).Draw(t, "published")
				}

				for i := 1; i <= published; i++ {
					stream = append(stream, part(uint64(count), i, parts, attempt))
				}
			}
		}

		var taken []uint64

		held := checkpoint.Place{StreamID: "s"} // before everything: count 0

		for held.Count < int64(events) {
			// The consumer starts behind the checkpoint's message, or earlier: acks
			// are not durable. An event begins with its first part.
			start := rapid.IntRange(0, int(held.Sequence)).Draw(t, "start")
			for start > 0 && stream[start].Part != 1 {
				start--
			}

			v := consume.NewVerifier(&held)
			stop := rapid.IntRange(start, len(stream)).Draw(t, "stop")

			for i := start; i < stop; i++ {
				whole, complete, err := v.Check(stream[i], uint64(i-start+1))
				require.NoError(t, err)

				if !complete {
					continue
				}

				taken = append(taken, whole.Count)

				if !rapid.Bool().Draw(t, "committed") {
					taken = taken[:len(taken)-1] // given back with its batch

					break
				}

				held = checkpoint.PlaceOf(&whole, uint64(i+1))
			}
		}

		require.Len(t, taken, events)

		for i, count := range taken {
			require.Equal(t, uint64(i+1), count)
		}
	})
}

// TestHoleAmidAnEvent: where the first parts of an event are gone, and not its last, the stream has a hole, which a rewind
// heals; it is no message of a stranger, which stops the partition for good.
func TestHoleAmidAnEvent(t *testing.T) {
	t.Parallel()

	v := consume.NewVerifier(&checkpoint.Place{StreamID: "s"})
	_, _, err := v.Check(part(1, 2, 3, 1), 1)

	var hole *consume.HoleError

	require.ErrorAs(t, err, &hole)
	require.False(t, consume.IsStreamTrouble(err))
}
