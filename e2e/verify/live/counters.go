package live

import (
	"errors"
	"fmt"

	"github.com/atlas-relay/atlas-relay/e2e/verify"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Counters checks a sample taken after the last change was applied or given up: its sum, that it counts exactly the
// changes that the source acknowledged, and that as many failed as were meant to.
func Counters(s *relayv1.Stats, changes, fail uint64) error {
	totals := verify.Totals{
		Total: s.TotalChanges, Processed: s.ProcessedChanges, Failed: s.FailedChanges, Skipped: s.SkippedChanges, Pending: s.PendingChanges,
		Consistent: s.GetConsistent(), AddsUp: s.AddsUp,
	}
	errs := []error{totals.Check()}

	total, failed, skipped := s.GetTotalChanges(), s.GetFailedChanges(), s.GetSkippedChanges()

	if total-skipped != changes {
		errs = append(errs, fmt.Errorf("total %d less skipped %d is %d, but the source acknowledged %d changes",
			total, skipped, total-skipped, changes))
	}

	if failed != fail {
		errs = append(errs, fmt.Errorf("%d changes failed, %d were meant to", failed, fail))
	}

	return errors.Join(errs...)
}
