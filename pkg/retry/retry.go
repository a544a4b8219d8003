// Package retry is the one backoff loop: jitter, a cap, an end with the context, and the last error.
//
// Do calls an operation until it succeeds, until its error is permanent, until the attempts are used up or until the
// context ends. Between two calls it waits a random time between half of the delay and the whole of it; the delay
// grows by the policy's factor up to its cap. Two listeners that lose the same server must not come back in step.
package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Policy says how to wait between calls. The zero value is the policy for a server that is away: 100 ms, doubled up to
// 10 s, without end.
type Policy struct {
	Initial    time.Duration // before the second call; 0 is 100 ms
	Max        time.Duration // cap of the delay; 0 is 10 s, or Initial where that is longer
	Multiplier float64       // growth of the delay; 0 is 2, and 1 a constant delay
	Attempts   int           // calls in all; 0 is without end

	// OnRetry, when set, is told each failure that is followed by a wait: the place to set a state or write a log line.
	// It runs in the caller's goroutine.
	OnRetry func(Failure)
	// Clock is what it waits by. One that brings its own Wait brings its own jitter, too.
	Clock Clock
}

// Failure is one failed call that will be repeated.
type Failure struct {
	Attempt int           // 1 for the first call
	Wait    time.Duration // until the next call
	Err     error
}

// Do calls operation as the policy says. It returns nil, the error that was permanent, the last error after the last
// attempt, or, when ctx ended, an error that wraps both the last error of the operation and the
// cause of ctx. operation is always called at least once unless ctx had ended before.
func Do(ctx context.Context, policy Policy, operation func(context.Context) error) error {
	delay := policy.initial()

	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return fmt.Errorf("not attempted: %w", context.Cause(ctx))
		}

		err := operation(ctx)
		if err == nil {
			return nil
		}

		if _, permanent := errors.AsType[*permanentError](err); permanent || attempt == policy.Attempts {
			return err
		}

		wait := policy.jitter(delay)
		if policy.OnRetry != nil && ctx.Err() == nil {
			policy.OnRetry(Failure{Attempt: attempt, Wait: wait, Err: err})
		}

		if !policy.Clock.Pause(ctx, wait) {
			return fmt.Errorf("%w (stopped: %w)", err, context.Cause(ctx))
		}

		delay = min(time.Duration(float64(delay)*policy.multiplier()), policy.max())
	}
}

// Permanent marks an error that the same call would meet again. Do returns it at once, mark and all: an outer Do stops
// too.
func Permanent(err error) error {
	if err == nil {
		return nil
	}

	return &permanentError{err}
}

// IsPermanent tells whether an error carries the mark of Permanent.
func IsPermanent(err error) bool {
	var permanent *permanentError

	return errors.As(err, &permanent)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Pause waits. It returns false when ctx has ended before.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p Policy) jitter(delay time.Duration) time.Duration {
	if p.Clock.Wait != nil {
		return delay
	}

	return delay/2 + rand.N(delay/2+1) //nolint:gosec // jitter is no secret
}

func (p Policy) initial() time.Duration {
	if p.Initial == 0 {
		return 100 * time.Millisecond
	}

	return p.Initial
}

func (p Policy) max() time.Duration {
	if p.Max == 0 {
		return max(10*time.Second, p.initial())
	}

	return p.Max
}

func (p Policy) multiplier() float64 {
	if p.Multiplier == 0 {
		return 2
	}

	return p.Multiplier
}
