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
	ticker := time.NewTicker(Every)
	defer ticker.Stop()

	for {
		stats, err := flow.Sample(ctx)
		if err == nil { // else ctx has ended
			t.Add(PointOf(&stats))
		}

		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
