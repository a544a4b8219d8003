package refetch

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

func FuzzRequest(f *testing.F) {
	key, err := bson.Marshal(bson.D{{Key: "_id", Value: 7}})
	require.NoError(f, err)

	payload, err := (&Request{Namespace: event.Namespace{DB: "shop", Coll: "orders"}, DocumentKey: key, NotBefore: bson.Timestamp{T: 1}}).Encode()
	require.NoError(f, err)
	f.Add(payload)
	f.Add([]byte("SELECT"))

	f.Fuzz(func(t *testing.T, payload []byte) {
		request, err := DecodeRequest(payload)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)

			return
		}

		_, _ = keyOf(request.Namespace, request.DocumentKey)
	})
}

// FuzzAnswer gives the collector an answer of one or two messages with any headers: it returns a document that can be
// read, or an error.
func FuzzAnswer(f *testing.F) {
	document, err := bson.Marshal(bson.D{{Key: "_id", Value: 7}, {Key: "price", Value: "twelve euros"}})
	require.NoError(f, err)

	for _, limit := range []int{16, 1 << 10} {
		messages := EncodeImage("_INBOX.x", 1, Image{Document: document, Time: bson.Timestamp{T: 1}}, limit)
		last := messages[len(messages)-1]
		head := messages[0].Header
		f.Add(head.Get(HeaderHead), head.Get(event.HeaderPart), last.Header.Get(event.HeaderPart), head.Get(event.HeaderSize), messages[0].Data, last.Data)
	}

	f.Add("", "2/1", "0/0", "-1", []byte{}, []byte{})

	f.Fuzz(func(t *testing.T, head, part, next, size string, data, more []byte) {
		var c collector

		for i, number := range []string{part, next} {
			p, err := decodePart(&nats.Msg{
				Header: nats.Header{HeaderHead: {head}, event.HeaderPart: {number}, event.HeaderSize: {size}}, Data: [][]byte{data, more}[i],
			})
			if err != nil {
				require.ErrorIs(t, err, ErrMalformed)

				return
			}

			image, done, err := c.add(&p)
			if err != nil || done {
				if err == nil && image.Document != nil {
					require.NoError(t, event.CheckDocument(image.Document))
					require.True(t, bytes.Equal(image.Document, c.document))
				}

				return
			}
		}
	})
}
