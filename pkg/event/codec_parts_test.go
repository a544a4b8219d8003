package event_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

func TestSplit(t *testing.T) {
	t.Parallel()

	require.Equal(t, [][]byte{{}}, event.Split([]byte{}, 3))
	require.Equal(t, [][]byte{{1, 2, 3}}, event.Split([]byte{1, 2, 3}, 3))
	require.Equal(t, [][]byte{{1, 2, 3}, {4}}, event.Split([]byte{1, 2, 3, 4}, 3))
	require.Equal(t, [][]byte{{1, 2, 3}, {4, 5, 6}}, event.Split([]byte{1, 2, 3, 4, 5, 6}, 3))
}

func TestPartLimitLeavesRoomForTheLongestHeaders(t *testing.T) {
	t.Parallel()

	const maxPayload = 1 << 20

	for _, digits := range []int{2, 200, 2000, 200_000} {
		m := event.Message{
			Kind: event.KindEvent, Partition: 255, Namespace: event.Namespace{DB: strings.Repeat(".", 63), Coll: strings.Repeat("*", 192)},
			StreamID: strings.Repeat("x", 128), Generation: math.MaxUint64, Writer: math.MaxUint64,
			Position: event.Position{T: math.MaxUint32, I: math.MaxUint32, Ordinal: math.MaxUint32}, ResumeToken: token(t, digits),
			Event: math.MaxUint64, Skipped: math.MaxUint64, Count: math.MaxUint64,
			Part: 65535, Parts: 65536, Size: event.MaxSize, Attempt: math.MaxInt32, Pin: event.PinCollation, TraceParent: strings.Repeat("x", 128),
		}

		limit, err := event.PartLimit(maxPayload, m.ResumeToken)
		require.NoError(t, err)

		m.Payload = make([]byte, limit)
		msg := event.Encode(strings.Repeat("f", 32), &m, m.ID())
		require.LessOrEqual(t, msg.Size(), maxPayload)
	}
}

func TestPartLimitRefusesASmallServer(t *testing.T) {
	t.Parallel()

	_, err := event.PartLimit(4096, token(t, 200))
	require.ErrorIs(t, err, event.ErrPayloadLimit)
	_, err = event.PartLimit(-1, nil) // what a connection that never was says
	require.ErrorIs(t, err, event.ErrPayloadLimit)
	_, err = event.PartLimit(1<<20, token(t, 1<<20)) // of an _id of 512 KiB
	require.ErrorIs(t, err, event.ErrPayloadLimit)

	limit, err := event.PartLimit(math.MaxInt64, nil)
	require.NoError(t, err)
	require.Equal(t, event.MaxPart, limit)
}
