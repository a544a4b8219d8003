package apply

import (
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Verdict is what the checkpoint in the target says about a transaction whose
// outcome is not known.
type Verdict int

// The verdicts.
const (
	Unknown      Verdict = iota // none of the others: stop, loudly
	Committed                   // it is in: go on
	NotCommitted                // it is not: the same transaction again
	Stale                       // somebody else owns the partition: stop this ownership
	WentBack                    // the target lost commits: acquire again
)

// err is why an owner cannot go on; nil where it can.
func (v Verdict) err(last *checkpoint.Document) error {
	switch v {
	case Committed, NotCommitted:
		return nil
	case Stale:
		return fmt.Errorf("%w: checkpoint %s", ErrStale, last.ID)
	case WentBack:
		return fmt.Errorf("%w: checkpoint %s", ErrWentBack, last.ID)
	default:
		return fmt.Errorf("%w: %s", ErrForeignCheckpoint, last.ID)
	}
}

// Judge compares the checkpoint that the target holds (majority) with the one
// that this owner last committed and the one that the transaction in doubt
// would have left. present is false when the target has none.
func Judge(held checkpoint.Document, present bool, last, next *checkpoint.Document) Verdict {
	if !present || held.Epoch < last.Epoch {
		return WentBack
	}

	if held.Epoch > last.Epoch || held.Owner != last.Owner {
		return Stale
	}

	switch {
	case held.Commits == next.Commits && samePlace(&held, next):
		return Committed
	case held.Commits == last.Commits && samePlace(&held, last):
		return NotCommitted
	case held.Commits < last.Commits:
		return WentBack
	default:
		return Unknown
	}
}

// Holds tells whether the target's checkpoint is as this owner last committed it.
// Errors: ErrStale, ErrWentBack, ErrForeignCheckpoint.
func Holds(held checkpoint.Document, present bool, last *checkpoint.Document) error {
	return Judge(held, present, last, last).err(last)
}

func samePlace(a, b *checkpoint.Document) bool {
	return a.StreamID == b.StreamID && a.Generation == b.Generation && a.Sequence == b.Sequence &&
		a.Event == b.Event && a.Count == b.Count && a.Position == b.Position && a.Counters == b.Counters &&
		a.Parked == b.Parked && a.ParkedBytes == b.ParkedBytes
}
