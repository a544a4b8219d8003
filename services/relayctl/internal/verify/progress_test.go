package verify

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func stored(sequence, number uint64, position event.Position, token string) *topology.Stored {
	raw, _ := bson.Marshal(bson.D{{Key: "_data", Value: token}})

	return &topology.Stored{Sequence: sequence, Message: event.Message{Event: number, Position: position, ResumeToken: raw}}
}

func TestCaptured(t *testing.T) {
	t.Parallel()

	const later = "820000000A000000022B" // 10.2

	require.Equal(t, bson.Timestamp{T: 5, I: 2}, captured(stored(1, 1, event.Position{T: 5, I: 3}, "2B")), "of another server")
	require.Equal(t, bson.Timestamp{T: 10, I: 1}, captured(stored(1, 1, event.Position{T: 5, I: 3}, later)), "the token is later")
	require.Equal(t, bson.Timestamp{T: 11, I: 0}, captured(stored(1, 1, event.Position{T: 11, I: 1}, later)), "the event is later")
	require.Equal(t, bson.Timestamp{T: 10, I: math.MaxUint32}, captured(stored(1, 1, event.Position{T: 11}, "2B")))
	require.Equal(t, bson.Timestamp{}, captured(stored(1, 0, event.Position{}, "2B")))
}

// TestIdleSourceIsProvenByTwoMarkers that came after the time was taken, with nothing between them.
func TestIdleSourceIsProvenByTwoMarkers(t *testing.T) {
	t.Parallel()

	marker := func(sequence, number uint64) *topology.Stored {
		return stored(sequence, number, event.Position{}, "2B")
	}
	at := func(n uint32) bson.Timestamp { return bson.Timestamp{T: n} }

	var i idle

	require.Zero(t, i.see(marker(10, 7), true, at(1)))
	require.Zero(t, i.see(marker(10, 7), true, at(2)))
	require.Zero(t, i.see(marker(11, 7), true, at(3)), "it may have been under way when the time was taken")
	require.Equal(t, at(2), i.see(marker(12, 7), true, at(4)))
	require.Equal(t, at(3), i.see(marker(13, 7), true, at(5)))

	require.Equal(t, at(3), i.see(marker(14, 9), true, at(6)), "events came: what was begun before says nothing")
	require.Equal(t, at(3), i.see(marker(15, 9), true, at(7)))
	require.Equal(t, at(6), i.see(marker(16, 9), true, at(8)))

	require.Equal(t, at(6), i.see(marker(16, 9), false, at(9)), "a message is behind the marker")
	require.Empty(t, i.seen)

	for n := range uint32(1000) {
		i.see(marker(17, 9), true, at(10+n))
	}

	require.Len(t, i.seen, mostGlimpses)
}
