package event_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

func FuzzDecode(f *testing.F) {
	barrier := message(f, changeEvent(f, "drop"))
	barrier.Kind, barrier.Partition, barrier.Namespace = event.KindBarrier, 0, event.Namespace{}

	for _, m := range []event.Message{
		message(f, changeEvent(f, "insert")),
		{Kind: event.KindMarker, StreamID: "s", ResumeToken: token(f, 4), Part: 1, Parts: 1, Attempt: 1},
		barrier, copyOf(f, &barrier, 3),
	} {
		m.TraceParent, m.Generation = traceParent, 1
		msg := event.Encode("f", &m, "")
		h := msg.Header
		f.Add(msg.Subject, h.Get(event.HeaderStream), "1", h.Get(event.HeaderWriter), h.Get(event.HeaderPosition), h.Get(event.HeaderResumeToken),
			h.Get(event.HeaderEvent), "", "3", "1/2", "1000", "2", "capped", h.Get(event.HeaderTraceParent), msg.Data)
	}

	names := []string{
		event.HeaderStream, event.HeaderGeneration, event.HeaderWriter, event.HeaderPosition, event.HeaderResumeToken, event.HeaderEvent,
		event.HeaderSkipped, event.HeaderCount, event.HeaderPart, event.HeaderSize, event.HeaderAttempt, event.HeaderPinned, event.HeaderTraceParent,
	}

	f.Fuzz(func(t *testing.T, subject, stream, generation, writer, position, token, number, skipped, count, part, size, attempt, pin, trace string, data []byte) {
		header := nats.Header{}
		for i, value := range []string{stream, generation, writer, position, token, number, skipped, count, part, size, attempt, pin, trace} {
			if value != "" {
				header[names[i]] = []string{value}
			}
		}

		m, err := event.Decode(subject, header, data)
		if err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)
			return
		}

		parsed, err := event.ParseSubject(subject)
		require.NoError(t, err)

		msg := event.Encode(parsed.Flow, &m, "")
		require.Equal(t, subject, msg.Subject)

		again, err := event.Decode(msg.Subject, msg.Header, msg.Data)
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(changeEvent(f, "insert", bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: 1}}})))
	f.Add([]byte(changeEvent(f, "drop", bson.E{Key: "lsid", Value: bson.D{{Key: "id", Value: "x"}}}, bson.E{Key: "txnNumber", Value: int64(1)})))
	f.Add([]byte(marshal(f, bson.D{{Key: "splitEvent", Value: bson.D{{Key: "fragment", Value: 2}, {Key: "of", Value: 3}}}})))

	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Parse(raw)
		if err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)
			return
		}

		require.True(t, bytes.Equal(raw, e.Raw))

		if e.DocumentKey != nil {
			require.NoError(t, e.DocumentKey.Validate())
			_, _ = event.NewKey(e.Namespace, e.ID())
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	m := message(b, make([]byte, 500))
	m.ResumeToken = token(b, 180)
	previous := m.ID()
	msg := event.Encode("atlas-to-local", &m, previous)

	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()

		for b.Loop() {
			_ = event.Encode("atlas-to-local", &m, previous)
		}
	})

	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()

		for b.Loop() {
			_, _ = event.Decode(msg.Subject, msg.Header, msg.Data)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := changeEvent(b, "insert", bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: bson.ObjectID{1}}}}, bson.E{Key: "fullDocument", Value: bson.D{{Key: "x", Value: strings.Repeat("x", 500)}}})
	b.ReportAllocs()

	for b.Loop() {
		_, _ = event.Parse(raw)
	}
}
