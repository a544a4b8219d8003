package ownership

import "github.com/atlas-relay/atlas-relay/services/processor/internal/consume"

// spareShare is the part of the memory that only tries of parked events may take: readers that wait for memory let nobody
// overtake them, and what they wait for may be held by batches that have no room before something parked is applied.
const spareShare = 16

// divideMemory makes the budgets of the partitions out of so many bytes.
func (o *Owner) divideMemory(bytes int64) {
	o.budget, o.spare = consume.NewBudget(bytes-bytes/spareShare), consume.NewBudget(bytes/spareShare)
}

// memoryOfTry reserves what a try needs; ok is false when there is none now. It is not waited for: the batches that hold
// the memory are settled by goroutines like the one that tries.
func (l *lane) memoryOfTry(bytes int) (r *consume.Reservation, ok bool) {
	if r, ok = l.budget.Try(bytes); ok {
		return r, true
	}

	return l.spare.Try(bytes)
}
