package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// publish publishes the next event of a document, in parts if need be.
func (w *world) publish(tb testing.TB, op event.Operation, id any, fields ...bson.E) event.Message {
	tb.Helper()

	token := w.last.ResumeToken
	m := w.next(tb, op, id, fields...)
	own := m.ResumeToken

	parts := event.Split(m.Payload, 1<<19)
	for i, payload := range parts {
		m.Part, m.Parts, m.Payload, m.ResumeToken = i+1, len(parts), payload, token
		if m.IsLastPart() {
			m.ResumeToken = own
		}

		w.send(tb, &m)
	}

	w.last = m

	return m
}

// send publishes a message behind the last one. A server that has just been started again may never answer: then it is
// asked whether it has the message, else it gets it once more.
func (w *world) send(tb testing.TB, m *event.Message) {
	tb.Helper()

	const answer = 2 * time.Second

	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(tb.Context(), answer)
		_, err := w.js.PublishMsg(ctx, event.Encode(w.flow, m, w.lastID))

		cancel()

		if err == nil || w.has(tb, m.ID(), answer) {
			w.lastID = m.ID()

			return
		}

		require.True(tb, time.Now().Before(end), err)
	}
}

// has tells whether the stream ends with this message.
func (w *world) has(tb testing.TB, id string, answer time.Duration) bool {
	tb.Helper()

	ctx, cancel := context.WithTimeout(tb.Context(), answer)
	defer cancel()

	stream, err := topology.Open(ctx, w.js, w.flow)
	if err != nil {
		return false
	}

	last, err := stream.Tail(ctx)

	return err == nil && last.ID == id
}
