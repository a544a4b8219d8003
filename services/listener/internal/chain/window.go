package chain

import "time"

// Bounds of what is published and not yet proven stored. The server drops
// publishes with 429 above 100 000 messages or 128 MiB in its ingest queue.
const (
	maxWindowMessages = 1000
	maxWindowBytes    = 32 << 20
)

// When a reply is asked: at the latest after this many messages, this many
// bytes, or on the first message this long after the last request.
const (
	askMessages = 100
	askBytes    = 1 << 20
	askAfter    = 5 * time.Millisecond
)

// AckTimeout is how long a reply may take before the publisher gives up on the
// connection and reads the tail.
const AckTimeout = 5 * time.Second

// Window knows which messages are proven stored and on which a reply is asked.
// It is a state machine without I/O; the zero Window is empty.
type Window struct {
	published uint64 // number of the last message
	bytes     int    // of all messages not proven

	askedBytes int       // since the last request
	asked      uint64    // number of the last message with a request
	askedAt    time.Time // when

	requests []request // unanswered, oldest first
	proven   uint64    // all messages up to this number are stored
}

type request struct {
	number uint64 // of the message that asked
	bytes  int    // of the messages since the request before it
	at     time.Time
}

// Add takes in the next message and returns its number, from 1, and whether to
// ask for a reply on it. dry says that no further message is at hand.
func (w *Window) Add(now time.Time, size int, dry bool) (number uint64, ask bool) {
	w.published++
	w.bytes += size
	w.askedBytes += size

	ask = dry ||
		w.published-w.asked >= askMessages ||
		w.askedBytes >= askBytes ||
		now.Sub(w.askedAt) >= askAfter
	if ask {
		w.requests = append(w.requests, request{number: w.published, bytes: w.askedBytes, at: now})
		w.asked, w.askedAt, w.askedBytes = w.published, now, 0
	}

	return w.published, ask
}

// Acked takes in the success reply to a message's request: it proves that
// message and all before it. An unknown or repeated number changes nothing.
func (w *Window) Acked(number uint64) {
	n := 0
	for n < len(w.requests) && w.requests[n].number <= number {
		w.bytes -= w.requests[n].bytes
		w.proven = w.requests[n].number
		n++
	}

	w.requests = w.requests[:copy(w.requests, w.requests[n:])]
}

// Full tells whether the next message has to wait for a reply.
func (w *Window) Full() bool {
	return w.published-w.proven >= maxWindowMessages || w.bytes >= maxWindowBytes
}

// Outstanding returns how many messages and bytes are not proven.
func (w *Window) Outstanding() (messages uint64, bytes int) {
	return w.published - w.proven, w.bytes
}

// Deadline returns when the oldest unanswered request times out; ok is false
// when none is unanswered.
func (w *Window) Deadline() (deadline time.Time, ok bool) {
	if len(w.requests) == 0 {
		return time.Time{}, false
	}

	return w.requests[0].at.Add(AckTimeout), true
}
