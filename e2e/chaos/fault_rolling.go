package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
)

// rolling ends and starts every service in order, one after the other, with other settings.
type rolling struct {
	settings map[string]string
}

func rollingClass() Class {
	return Class{
		Name: "rolling", Says: "a rolling restart of every service with other settings",
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &rolling{map[string]string{
				"BATCH_SIZE":        strconv.Itoa([]int{1, 7, 100, 1000}[r.IntN(4)]),
				"BATCH_EAGER":       strconv.FormatBool(r.IntN(2) == 0),
				"BATCH_MAX_BYTES":   []string{"64KiB", "1MiB", "8MiB"}[r.IntN(3)],
				"APPLY_CONCURRENCY": strconv.Itoa([]int{1, 3, 8}[r.IntN(3)]),
				"MEMORY_BUDGET":     []string{"64MiB", "256MiB"}[r.IntN(2)],
				"REPLAY_MARGIN":     []string{"0", "100", "1000"}[r.IntN(3)],
			}}
		},
	}
}

// String implements Fault.
func (f *rolling) String() string { return fmt.Sprintf("restart with %v", f.settings) }

// Strike implements Fault.
func (f *rolling) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: "all services", Detail: f.String()}

	for _, service := range slices.Concat(s.Relay.Processors(), s.Relay.Listeners()) {
		service.Configure(f.settings)

		if err := service.Restart(ctx); err != nil {
			return hit, fmt.Errorf("restart %s: %w", service.Name, err)
		}

		hit.Times++
	}

	return hit, nil
}
