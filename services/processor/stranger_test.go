package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// nest is a document of this many levels.
func nest(depth int) bson.Raw {
	raw := make(bson.Raw, 0, 8*depth)

	for inner := depth - 1; inner >= 0; inner-- {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(5+8*inner))
		if inner > 0 {
			raw = append(raw, byte(bson.TypeEmbeddedDocument), 'a', 0)
		}
	}

	return append(raw, make([]byte, depth)...)
}

// forge makes the message that the listener would publish next, with one thing wrong, which says how it is judged.
type forge struct {
	document bson.Raw                      // of the event; nil: a good one
	message  func(m *event.Message)        // nil: as it is
	headers  func(h nats.Header, size int) // nil: as they are
	payload  func(payload []byte) []byte   // nil: as it is
	says     string
	rewinds  bool // it looks like what is left of an event whose beginning is lost
}

func forgeries() map[string]forge {
	const bomb = 100_000 // levels: decoding them recursively would take the stack of the process

	return map[string]forge{
		"no BSON":             {payload: func([]byte) []byte { return []byte("{}") }, says: "malformed"},
		"a length that lies":  {payload: func(p []byte) []byte { p[bytes.LastIndex(p, []byte("text"))-4]++; return p }, says: "malformed"},
		"one level too many":  {document: nest(event.MaxDepth), says: "more than 200 levels"},
		"a bomb":              {document: nest(bomb), says: "more than 200 levels"},
		"a bomb for a token":  {message: func(m *event.Message) { m.ResumeToken = nest(4000) }, says: "is no document"},
		"a token that is not": {headers: func(h nats.Header, _ int) { h[event.HeaderResumeToken] = []string{strings.Repeat("A", 40<<10)} }, says: "is no document"},
		"two stream ids":      {headers: func(h nats.Header, _ int) { h[event.HeaderStream] = append(h[event.HeaderStream], "another") }, says: "second value"},
		"no stream id":        {headers: func(h nats.Header, _ int) { delete(h, event.HeaderStream) }, says: "no sensible length"},
		"an endless id":       {headers: func(h nats.Header, _ int) { h[event.HeaderStream] = []string{strings.Repeat("x", 40<<10)} }, says: "no sensible length"},
		"a size without end":  {headers: func(h nats.Header, _ int) { h[event.HeaderSize] = []string{strconv.Itoa(event.MaxSize + 1)} }, says: "no number in range"},
		"a part of nothing": {headers: func(h nats.Header, size int) {
			h[event.HeaderPart], h[event.HeaderSize] = []string{"2/3"}, []string{strconv.Itoa(2 * size)}
		}, says: "the part before it was not seen", rewinds: true},
		"thousands of headers": {headers: func(h nats.Header, _ int) {
			for i := range 2000 {
				h["X-"+strconv.Itoa(i)] = []string{base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(i)))}
			}

			h[event.HeaderPosition] = []string{"now"}
		}, says: "malformed"},
	}
}

// message is the forgery of the insert of a document. The id chain holds: the server takes it.
func (f *forge) encode(t *testing.T, w *world, id string) *nats.Msg {
	t.Helper()

	document := bson.D{{Key: "_id", Value: id}, {Key: "text", Value: "text"}}
	if f.document != nil {
		document = append(document, bson.E{Key: "deep", Value: f.document})
	}

	m := w.last
	m.Kind, m.Partition, m.Namespace, m.Generation = event.KindEvent, 1, w.ns, 0
	m.Event, m.Count, m.Position = m.Event+1, w.counts[1]+1, event.Position{T: m.Position.T + 1}
	m.Payload = marshal(t, bson.D{
		{Key: "operationType", Value: "insert"},
		{Key: "ns", Value: bson.D{{Key: "db", Value: w.ns.DB}, {Key: "coll", Value: w.ns.Coll}}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
		{Key: "fullDocument", Value: document},
	})

	if f.payload != nil {
		m.Payload = f.payload(m.Payload)
	}

	if f.message != nil {
		f.message(&m)
	}

	m.Size, m.Part, m.Parts = len(m.Payload), 1, 1
	msg := event.Encode(w.flow, &m, w.lastID)

	if f.headers != nil {
		f.headers(msg.Header, m.Size)
	}

	return msg
}

// TestForgeriesAreNeverApplied: whoever may publish to the flow's subjects can go far in looking like its listener. What
// cannot be an event stops its partition, loudly, and nobody else.
func TestForgeriesAreNeverApplied(t *testing.T) {
	t.Parallel()

	for name, f := range forgeries() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)

			one, other := w.ids(t, 1, 2), w.ids(t, 2, 1)
			w.insert(t, one[0])

			p := w.start(t, nil)
			w.awaitSettled(t, checkpoint.Counters{Processed: 1})

			_, err := w.js.PublishMsg(t.Context(), f.encode(t, w, one[1]))
			require.NoError(t, err)

			state, named := failed, "partition 1 is FAILED"
			if f.rewinds {
				state, named = waitingRewind, "partition 1 is WAITING_REWIND"
			}

			reason := w.awaitState(t, 1, state)
			require.Contains(t, reason, f.says)
			require.Contains(t, reason, "; ", "a remedy follows")
			require.Less(t, len(reason), 1000, "what a stranger sent is not repeated")

			w.lastID = "" // the chain goes on behind the stranger
			w.insert(t, other[0])
			w.awaitSettled(t, checkpoint.Counters{Processed: 2})
			require.Nil(t, w.document(t, one[1]))
			p.awaitReason(t, named)
			require.NoError(t, p.end())
		})
	}
}
