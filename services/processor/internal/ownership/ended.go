package ownership

import (
	"context"
	"log/slog"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// cleanEvery is how often records that ended long ago are looked for.
const cleanEvery = time.Hour

// clean lets go of the events of records that ended long ago. They are nobody's, so one partition does it for the flow.
// Nothing waits for it: trouble is left to the next time.
func (l *lane) clean(ctx context.Context) error {
	if l.number != 0 {
		return nil
	}

	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()

	for {
		if !l.pausing.isHeld() {
			if err := l.dropEnded(ctx, l.now()); err != nil && !mongodb.IsTransient(err) && ctx.Err() == nil {
				l.log.WarnContext(ctx, "events of dead letters that ended long ago cannot be deleted", slog.Any(telemetry.KeyError, err))
			}
		}

		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dropEnded lets go of the events of what ended so long ago by this host's clock and the target's.
func (l *lane) dropEnded(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()

	before, err := mongodb.LocalTime(ctx, l.target)
	if err != nil {
		return err
	}

	if now.Before(before) {
		before = now
	}

	_, err = parked.DropEnded(ctx, l.target, l.options.Flow, before.Add(-keepLetters), now.UTC())

	return err
}
