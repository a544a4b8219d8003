package refetch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"
)

// TestCollectorNeverReturnsAWrongImage feeds two answers, each with parts lost, sent twice and swapped, in any mixture.
// Whatever is returned is one of the two as it was sent; both untouched, one is returned.
func TestCollectorNeverReturnsAWrongImage(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(rt, "limit")
		images := []Image{drawImage(rt, 1), drawImage(rt, 2)}
		untouched := true

		var lanes [2][]*nats.Msg

		for i, image := range images {
			lanes[i] = EncodeImage("_INBOX.x", rand.Uint64(), image, limit)

			for range rapid.IntRange(0, 2).Draw(rt, "faults") {
				lanes[i], untouched = spoil(rt, lanes[i]), false
			}
		}

		var (
			c    collector
			got  Image
			done bool
			err  error
		)

		for err == nil && !done && len(lanes[0])+len(lanes[1]) > 0 {
			i := rapid.IntRange(0, 1).Draw(rt, "whose")
			if len(lanes[i]) == 0 {
				i = 1 - i
			}

			p, decodeErr := decodePart(lanes[i][0])
			require.NoError(rt, decodeErr)

			lanes[i] = lanes[i][1:]
			got, done, err = c.add(&p)
		}

		if untouched {
			require.True(rt, done)
		}

		if err != nil {
			require.ErrorIs(rt, err, ErrMalformed)
		}

		if done {
			require.Contains(rt, images, got)
		} else {
			require.Equal(rt, Image{}, got)
		}
	})
}

func drawImage(rt *rapid.T, second uint32) Image {
	image := Image{Time: bson.Timestamp{T: second, I: 1}}

	if rapid.Bool().Draw(rt, "present") {
		document, err := bson.Marshal(bson.D{
			{Key: "_id", Value: 1},
			{Key: "text", Value: rapid.StringN(0, 200, -1).Draw(rt, "text")},
		})
		require.NoError(rt, err)

		image.Document = document
	}

	return image
}

func spoil(rt *rapid.T, messages []*nats.Msg) []*nats.Msg {
	if len(messages) == 0 {
		return nil
	}

	messages = slices.Clone(messages)
	at := rapid.IntRange(0, len(messages)-1).Draw(rt, "at")

	switch rapid.SampledFrom([]string{"lose", "repeat", "swap", "cut"}).Draw(rt, "fault") {
	case "lose":
		return slices.Delete(messages, at, at+1)
	case "repeat":
		return slices.Insert(messages, rapid.IntRange(at, len(messages)).Draw(rt, "again"), messages[at])
	case "swap":
		other := rapid.IntRange(0, len(messages)-1).Draw(rt, "with")
		messages[at], messages[other] = messages[other], messages[at]
	case "cut":
		short := *messages[at]
		short.Data = short.Data[:len(short.Data)/2]
		messages[at] = &short
	}

	return messages
}
