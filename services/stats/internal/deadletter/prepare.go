package deadletter

import (
	"context"
	"log/slog"
	"sync"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// Prepare makes the indexes that these records are read by, as soon as their targets can be asked, and returns when ctx
// ends. A target that refuses an index is told once: all works without it, slower.
func Prepare(ctx context.Context, all []*Letters, log *slog.Logger) error {
	var group sync.WaitGroup

	for _, l := range all {
		group.Go(func() {
			err := retry.Do(ctx, retry.Policy{}, func(ctx context.Context) error {
				err := parked.EnsureIndexes(ctx, l.target)
				if err != nil && !mongodb.IsTransient(err) {
					return retry.Permanent(err)
				}

				return err
			})
			if err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "dead letters: there is no index, so lists and samples are slow",
					slog.String(telemetry.KeyFlow, l.flow), slog.Any(telemetry.KeyError, err))
			}
		})
	}

	group.Wait()
	<-ctx.Done()

	return nil
}
