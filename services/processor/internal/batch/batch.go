// Package batch gathers a partition's events into batches and says when one
// closes. It does no I/O and reads no clock.
package batch

import "time"

// Limits are the bounds of a batch. With Eager the others are upper bounds: a
// batch closes as soon as its partition has nothing in flight, so that a lone
// change is not made to wait.
type Limits struct {
	Size   int           // events
	Bytes  int           // of events; a batch holds at least one event, however large
	Idle   time.Duration // since the last event
	MaxAge time.Duration // since the first event, so that a trickle cannot starve
	Eager  bool
}

// Batcher is the open batch of one partition. Not safe for concurrent use.
type Batcher[E any] struct {
	limits Limits

	events []E
	bytes  int
	first  time.Time // when the first event came
	last   time.Time // when the last one came
	closed bool      // by Close
}

// New returns an empty batch with these limits.
func New[E any](limits Limits) *Batcher[E] { return &Batcher[E]{limits: limits} }

// Add puts an event of this size into the batch. The caller makes sure that the
// batch is not Full.
func (b *Batcher[E]) Add(now time.Time, e E, size int) {
	if len(b.events) == 0 {
		b.first = now
	}

	b.last = now
	b.bytes += size
	b.events = append(b.events, e)
}

// Len returns how many events wait in the batch.
func (b *Batcher[E]) Len() int { return len(b.events) }

// Full tells whether the batch takes no further event.
func (b *Batcher[E]) Full() bool {
	return b.closed || len(b.events) >= b.limits.Size || b.bytes >= b.limits.Bytes
}

// Close makes the batch due now, for a reason of the caller's: somebody waits
// for the memory that it holds. An empty batch stays open.
func (b *Batcher[E]) Close() { b.closed = len(b.events) > 0 }

// Due tells whether the batch closes now. inFlight says that a batch of this
// partition is being applied.
func (b *Batcher[E]) Due(now time.Time, inFlight bool) bool {
	if len(b.events) == 0 {
		return false
	}

	return b.Full() || b.limits.Eager && !inFlight ||
		now.Sub(b.last) >= b.limits.Idle || now.Sub(b.first) >= b.limits.MaxAge
}

// Deadline returns when the batch closes if nothing else happens; ok is false
// while it is empty.
func (b *Batcher[E]) Deadline() (deadline time.Time, ok bool) {
	if len(b.events) == 0 {
		return time.Time{}, false
	}

	idle, age := b.last.Add(b.limits.Idle), b.first.Add(b.limits.MaxAge)
	if age.Before(idle) {
		return age, true
	}

	return idle, true
}

// Take empties the batch and returns what was in it.
func (b *Batcher[E]) Take() []E {
	events := b.events
	*b = Batcher[E]{limits: b.limits}

	return events
}
