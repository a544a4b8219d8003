package chain

import "time"

// Bounds of an atomic batch. The server takes at most 1000 messages
// (streamDefaultMaxAtomicBatchSize of nats-server 2.15) and gives them up when
// their last one does not come within 10 s.
const (
	maxBatchMessages = 1000
	// maxBatchBytes closes a batch at the next end of an event: what is in flight
	// must be written by several servers within AckTimeout. Only an event that is
	// larger makes a larger batch, up to maxWindowBytes.
	maxBatchBytes = 8 << 20
)

// Batches decides which messages go out together as one atomic batch, and when:
// as soon as none is in flight, so that a lone event goes at once and a backlog
// fills the next batch while the one before is stored. It is the counterpart of
// Window, a state machine without I/O; the zero Batches has no message.
//
//	proven        in flight        waiting: whole events | parts of the next one
//	───────────▶ ┌──────────┐      ┌──────────────────────┬─────┐
//	   stored    │ 1 batch  │      │ next batch           │     │ ◀── Add
//	             └──────────┘      └──────────────────────┴─────┘
//
// A batch ends at the end of an event. Only one that fits no batch is cut; then
// its first parts may be all that the stream has after a crash, which the ledger
// settles with a higher attempt.
type Batches struct {
	waiting      amount
	waitingWhole amount // of those, up to the last end of an event

	flying amount
	sentAt time.Time // of those in flight
	sent   uint64    // number of the last message sent
}

// amount is how many messages and bytes.
type amount struct{ messages, bytes int }

func (a amount) plus(b amount) amount { return amount{a.messages + b.messages, a.bytes + b.bytes} }

func (a amount) minus(b amount) amount { return amount{a.messages - b.messages, a.bytes - b.bytes} }

// Add takes in the next message. ends says that it is the last one of its
// event. The caller makes sure that Batches is not Full, and asks Next.
func (b *Batches) Add(size int, ends bool) {
	b.waiting = b.waiting.plus(amount{1, size})

	if ends {
		b.waitingWhole = b.waiting
	}
}

// Next returns how many of the waiting messages, from the oldest, have to be
// sent now as one batch; from here on they are in flight. 0: none.
func (b *Batches) Next(now time.Time) int {
	if b.flying.messages > 0 {
		return 0
	}

	next := b.waitingWhole
	if next.messages == 0 {
		if !b.full() {
			return 0
		}

		next = b.waiting
	}

	b.waiting = b.waiting.minus(next)
	b.waitingWhole = amount{}
	b.flying, b.sentAt = next, now
	b.sent += uint64(next.messages) //nolint:gosec // never negative

	return next.messages
}

// Sent returns the number of the last message in flight, or proven if none is.
func (b *Batches) Sent() uint64 { return b.sent }

// Acked takes in the success reply to the batch in flight: it proves that batch
// and all before. The caller then asks Next.
func (b *Batches) Acked() { b.flying = amount{} }

// Full tells whether the next message has to wait for a reply.
func (b *Batches) Full() bool { return b.flying.messages > 0 && b.full() }

// full tells whether what waits fills a batch.
func (b *Batches) full() bool {
	return b.waiting.messages >= maxBatchMessages ||
		b.waiting.bytes >= maxWindowBytes ||
		b.waiting.bytes >= maxBatchBytes && b.waitingWhole.messages > 0
}

// Outstanding returns how many messages and bytes are not proven.
func (b *Batches) Outstanding() (messages uint64, bytes int) {
	all := b.waiting.plus(b.flying)

	return uint64(all.messages), all.bytes //nolint:gosec // never negative
}

// Deadline returns when the batch in flight times out; ok is false when none is.
func (b *Batches) Deadline() (deadline time.Time, ok bool) {
	if b.flying.messages == 0 {
		return time.Time{}, false
	}

	return b.sentAt.Add(AckTimeout), true
}
