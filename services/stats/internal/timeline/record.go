package timeline

import (
	"context"
	"time"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// Flow is what is sampled.
type Flow interface {
	Sample(ctx context.Context) (tally.Stats, error)
}

// Record adds a point a second until ctx ends. A sample that takes longer leaves out the points that it is late for. It
// returns nil.
func (t *Timeline) Record(ctx context.Context, flow Flow) error {
	for {
		stats, err := flow.Sample(ctx)
		if err == nil { // else ctx has ended
			t.Add(PointOf(&stats))
		}

		timer := time.NewTimer(UntilBeat(time.Now(), Every))

		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()

			return nil
		}
	}
}

// UntilBeat is the time until the next multiple of an interval, counted as steps are. Whoever samples again and again
// does it then: all meet the same sample, which is taken once for them.
func UntilBeat(now time.Time, interval time.Duration) time.Duration {
	left := interval - time.Duration(now.UnixNano()%int64(interval))

	// The timer was early by a hair: that beat is being served.
	if left < interval/beatTolerance {
		left += interval
	}

	return left
}

const beatTolerance = 20
