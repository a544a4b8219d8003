package consume

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// largeShare is the part of the budget above which a reservation counts as
// large: only one of these exists at a time, else half-collected events of
// several partitions could wait for each other's memory for ever.
const largeShare = 4 // a quarter

// Budget is the memory, in bytes, that the events of all partitions may take
// from delivery to commit. Reservations are served in the order in which they
// were asked for, so a large one is not starved by small ones.
type Budget struct {
	total int64
	bytes *semaphore.Weighted
	large *semaphore.Weighted
}

// NewBudget returns a budget of total bytes.
func NewBudget(total int64) *Budget {
	return &Budget{total: total, bytes: semaphore.NewWeighted(total), large: semaphore.NewWeighted(1)}
}

// Reservation is memory taken from a Budget until Release.
type Reservation struct {
	budget *Budget
	bytes  int64
	large  bool
}

// Try reserves without waiting; ok is false when there is no room now.
func (b *Budget) Try(bytes int) (r *Reservation, ok bool) {
	r = b.reservation(bytes)

	if r.large && !b.large.TryAcquire(1) {
		return nil, false
	}

	if !b.bytes.TryAcquire(r.bytes) {
		if r.large {
			b.large.Release(1)
		}

		return nil, false
	}

	return r, true
}

// Reserve waits for room. It returns the error of ctx.
func (b *Budget) Reserve(ctx context.Context, bytes int) (*Reservation, error) {
	r := b.reservation(bytes)

	if r.large {
		if err := b.large.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("wait for memory: %w", err)
		}
	}

	if err := b.bytes.Acquire(ctx, r.bytes); err != nil {
		if r.large {
			b.large.Release(1)
		}

		return nil, fmt.Errorf("wait for memory: %w", err)
	}

	return r, nil
}

// reservation describes one of this size. An event larger than the whole budget
// takes all of it: it must pass too.
func (b *Budget) reservation(bytes int) *Reservation {
	return &Reservation{budget: b, bytes: min(int64(bytes), b.total), large: int64(bytes) > b.total/largeShare}
}

// Release gives the memory back. A nil Reservation holds none.
func (r *Reservation) Release() {
	if r == nil {
		return
	}

	r.budget.bytes.Release(r.bytes)

	if r.large {
		r.budget.large.Release(1)
	}
}
