package ownership

import (
	"context"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

// Clock is the time that partitions live by. The zero Clock is that of this
// machine; a simulation brings its own.
type Clock struct {
	Now func() time.Time
	// Wait waits, at most so long. It returns false when ctx has ended before.
	Wait func(ctx context.Context, atMost time.Duration) bool
}

func (o *Owner) now() time.Time {
	if o.options.Clock.Now != nil {
		return o.options.Clock.Now()
	}

	return time.Now()
}

func (o *Owner) sleep(ctx context.Context, d time.Duration) bool {
	if o.options.Clock.Wait != nil {
		return o.options.Clock.Wait(ctx, d)
	}

	return retry.Pause(ctx, d)
}
