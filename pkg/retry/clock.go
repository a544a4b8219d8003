package retry

import (
	"context"
	"time"
)

// Clock is the time that a part of a service lives by. The zero Clock is that of this machine; a simulation brings its own.
type Clock struct {
	Now func() time.Time
	// Wait waits, at most so long. It returns false when ctx has ended before.
	Wait func(ctx context.Context, atMost time.Duration) bool
}

// Time is the present.
func (c Clock) Time() time.Time {
	if c.Now == nil {
		return time.Now()
	}

	return c.Now()
}

// Pause waits. It returns false when ctx has ended before.
func (c Clock) Pause(ctx context.Context, d time.Duration) bool {
	if c.Wait == nil {
		return Pause(ctx, d)
	}

	return c.Wait(ctx, d)
}
