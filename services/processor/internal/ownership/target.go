package ownership

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/preflight"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// helloWait is the pause between two attempts to reach the target at the start.
const helloWait = time.Second

// awaitTarget waits until the target answers. It returns a *RefusedError for
// one that no waiting will make right, and the zero Hello when stop ends first.
func (o *Owner) awaitTarget(stop context.Context) (mongodb.Hello, error) {
	for stop.Err() == nil {
		hello, err := mongodb.SayHello(stop, o.target)

		switch {
		case err == nil:
			o.log.InfoContext(stop, "target found", slog.String("identity", hello.Identity()), slog.String("version", hello.Version))
			preflight.WarnOfTarget(stop, o.target, o.log)

			if hello.Topology == mongodb.Standalone {
				o.log.WarnContext(stop, "the target is a standalone mongod, which has no transactions: changes are applied at least once; "+
					"readers may see a document go back for a moment after a crash. Make it a replica set of one (rs.initiate()) to have them applied once")
			}

			return hello, nil
		case mongodb.IsUnauthorized(err):
			return mongodb.Hello{}, &RefusedError{err: err}
		case stop.Err() == nil:
			o.wait(stop, err, helloWait)
		}
	}

	return mongodb.Hello{}, nil
}

// say sets why this processor takes no part; nil: it does.
func (o *Owner) say(ctx context.Context, err error) {
	why := ""
	if err != nil {
		why = explain(err)
	}

	o.mu.Lock()
	changed := o.reason != why
	o.reason = why
	o.mu.Unlock()

	switch {
	case !changed:
	case why == "":
		o.log.InfoContext(ctx, "taking part in the flow")
	default:
		o.log.WarnContext(ctx, "waiting to own partitions", slog.String(telemetry.KeyReason, why))
	}
}

// wait says why there are no partitions yet, and pauses.
func (o *Owner) wait(stop context.Context, err error, pause time.Duration) {
	o.say(stop, err)
	retry.Pause(stop, pause)
}

// whileConnected returns a context that ends as soon as NATS is lost: a request
// under way then would wait in vain for its reply.
func (o *Owner) whileConnected(parent context.Context) (context.Context, context.CancelFunc) {
	lost := o.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	ctx, cancel := context.WithCancelCause(parent)
	watched := make(chan struct{})

	go func() {
		defer close(watched)

		select {
		case <-lost:
			cancel(nats.ErrDisconnected)
		case <-ctx.Done():
		}
	}()

	return ctx, func() {
		cancel(nil)
		<-watched
		o.nc.RemoveStatusListener(lost)
	}
}

// RefusedError is a target that the configuration should not have named.
type RefusedError struct{ err error }

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("TARGET_URI refused: %v; %s", e.err, mongodb.Explain(e.err))
}

// Unwrap returns what the target said.
func (e *RefusedError) Unwrap() error { return e.err }

// ExitCode is 2: configuration refused.
func (*RefusedError) ExitCode() int { return 2 }
