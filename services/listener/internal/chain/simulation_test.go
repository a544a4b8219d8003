package chain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// server is a model of nats-server that takes atomic batches: whole, if their
// first message names the last sequence, or not at all.
type server struct{ model }

// request is a batch on its way to the server.
type request struct {
	after    int // expected last sequence
	messages []event.Message
	from     *session
}

// session is a listener's pass from a tail to the next error, in batch mode.
type session struct {
	ledger  *chain.Ledger
	batches chain.Batches
	base    int
	waiting []event.Message

	replies int // successes on their way
	refused bool
}

func (s *server) newSession(writer uint64) *session {
	tail := s.tail()

	return &session{ledger: chain.NewLedger(tail, writer), base: int(tail.Last.Sequence)}
}

// store is what the server does with a request; a reply may be lost.
func (s *server) store(r *request, replyLost bool) {
	ok := r.after == len(s.messages)
	if ok {
		s.messages = append(s.messages, r.messages...)
	}

	switch {
	case replyLost:
	case ok:
		r.from.replies++
	default:
		r.from.refused = true
	}
}

// loseTail is a power cut: the last messages are gone, though some of a batch
// may be left. All connections end with the server.
func (s *server) loseTail(n int) {
	s.messages = s.messages[:max(1, len(s.messages)-n):max(1, len(s.messages)-n)]
}

// publish hands the messages over and returns the batch to send, if it is time.
func (s *session) publish(messages ...event.Message) *request {
	for _, m := range messages {
		s.batches.Add(len(m.Payload), m.EndsEvent())
		s.waiting = append(s.waiting, m)
	}

	return s.flush()
}

func (s *session) flush() *request {
	after := s.base + int(s.batches.Sent())

	n := s.batches.Next(time.Unix(1000, 0))
	if n == 0 {
		return nil
	}

	r := &request{after: after, messages: s.waiting[:n:n], from: s}
	s.waiting = s.waiting[n:]

	return r
}

// next publishes what follows in the source's history; nil at its end, or while
// nothing is to be sent.
func (s *session) next(t *rapid.T, events []sourceEvent) *request {
	if s.batches.Full() {
		return nil
	}

	at := findNext(events, s.ledger)
	if at == len(events) {
		if !s.ledger.MarkerDue(true) {
			return nil
		}

		return s.publish(markerOf(s.ledger))
	}

	if s.ledger.MarkerDue(false) {
		return s.publish(markerOf(s.ledger))
	}

	return s.publish(take(t, s.ledger, &events[at])...)
}

func findNext(events []sourceEvent, ledger *chain.Ledger) int {
	for i := range events {
		if string(events[i].token) > string(ledger.Token()) {
			return i
		}
	}

	return len(events)
}

// TestBatchesSurviveAnything lets two listeners publish side by side, to a
// server that refuses, loses its tail, and whose replies get lost. A listener
// whose reply does not come reads the tail. In the end every event is in the
// stream once, in order, with gap-free counts, and nothing acknowledged was
// lost but by a power cut.
func TestBatchesSurviveAnything(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		var (
			events   = history(t)
			stream   = &server{model: *newModel()}
			sessions = []*session{stream.newSession(1), stream.newSession(2)}
			wire     [2][]*request // of each connection, in order
			proven   int           // messages that a listener knows stored
		)

		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			w := rapid.IntRange(0, 1).Draw(t, "who")
			s := sessions[w]

			switch rapid.SampledFrom([]string{"publish", "publish", "publish", "arrive", "arrive", "reply", "reply", "give up", "power cut"}).Draw(t, "what") {
			case "publish":
				if r := s.next(t, events); r != nil {
					wire[w] = append(wire[w], r)
				}
			case "arrive":
				if len(wire[w]) > 0 {
					stream.store(wire[w][0], rapid.IntRange(0, 9).Draw(t, "reply lost") == 0)
					wire[w] = wire[w][1:]
				}
			case "reply":
				if s.refused {
					sessions[w] = stream.newSession(uint64(w + 1))
				} else if s.replies > 0 {
					s.replies--
					proven = max(proven, s.base+int(s.batches.Sent()))
					s.batches.Acked()

					if r := s.flush(); r != nil {
						wire[w] = append(wire[w], r)
					}
				}
			case "give up": // what is on the wire may still arrive
				sessions[w] = stream.newSession(uint64(w + 1))
			case "power cut":
				stream.loseTail(rapid.IntRange(0, 5).Draw(t, "lost"))

				wire = [2][]*request{}
				sessions = []*session{stream.newSession(1), stream.newSession(2)}
				proven = min(proven, len(stream.messages))
			}

			require.GreaterOrEqual(t, len(stream.messages), proven, "an acknowledged message is lost")
		}

		finish(t, stream, events)
		check(t, &stream.model, events)
	})
}

// finish lets one listener come to the end undisturbed.
func finish(t *rapid.T, stream *server, events []sourceEvent) {
	s := stream.newSession(3)

	for range 1000 {
		r := s.next(t, events)
		for r != nil {
			stream.store(r, false)
			require.False(t, s.refused)
			s.batches.Acked()

			r = s.flush()
		}

		if findNext(events, s.ledger) == len(events) && !s.ledger.MarkerDue(true) {
			return
		}
	}

	t.Fatal("the history does not come to an end")
}
