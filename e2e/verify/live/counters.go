package live

import (
	"errors"
	"fmt"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Counters checks a sample taken after the last change was applied or given up: its sum, that it counts exactly the
// changes that the source acknowledged, and that as many failed as were meant to.
func Counters(s *relayv1.Stats, changes, fail uint64) error {
	total, processed, failed := s.GetTotalChanges(), s.GetProcessedChanges(), s.GetFailedChanges()
	skipped, pending := s.GetSkippedChanges(), s.GetPendingChanges()

	var errs []error

	if !s.GetConsistent() {
		errs = append(errs, errors.New("the sample is not consistent: the stream moved on while it was taken"))
	}

	if sum := processed + failed + skipped + pending; total != sum {
		errs = append(errs, fmt.Errorf("total %d is not processed %d + failed %d + skipped %d + pending %d = %d",
			total, processed, failed, skipped, pending, sum))
	}

	if s.AddsUp == nil || !s.GetAddsUp() {
		errs = append(errs, errors.New("the statistics do not say that the counters add up"))
	}

	if total-skipped != changes {
		errs = append(errs, fmt.Errorf("total %d less skipped %d is %d, but the source acknowledged %d changes",
			total, skipped, total-skipped, changes))
	}

	if failed != fail {
		errs = append(errs, fmt.Errorf("%d changes failed, %d were meant to", failed, fail))
	}

	return errors.Join(errs...)
}
