package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

const (
	// poll is how often a standby looks whether the lease is free. It bounds what
	// a clean hand-over takes; a watch would be a little quicker, and silent
	// without a word where the bucket was made anew.
	poll = 200 * time.Millisecond
	// askTimeout bounds one request for the lease.
	askTimeout = time.Second
	// releaseTimeout is what giving the key back may take; it expires otherwise.
	releaseTimeout = 500 * time.Millisecond
)

// Options of a Leader.
type Options struct {
	Flow   string
	TTL    time.Duration // a listener that is gone is replaced after this long
	Holder string        // names this process, and no other one, in the lease's key
}

// Leader asks for the flow's lease, keeps it and gives it back. Used by one
// goroutine; Close it.
type Leader struct {
	options   Options
	js        jetstream.JetStream
	leases    *lease.Bucket
	log       *slog.Logger
	candidate Candidate

	held *lease.Lease  // of the present term; nil outside of one
	stop func()        // ends its renewals
	done chan struct{} // closed when these have ended
}

// New returns a leader that is none yet.
func New(js jetstream.JetStream, log *slog.Logger, o Options) *Leader {
	return &Leader{
		options: o, js: js, leases: lease.NewBucket(js, topology.OwnersBucket), log: log, candidate: Candidate{TTL: o.TTL},
	}
}

// Leads tells whether the lease is held now.
func (l *Leader) Leads(ctx context.Context) bool {
	if l.held != nil && l.held.Err() != nil {
		l.log.WarnContext(ctx, "the lease has ended", slog.Any(telemetry.KeyError, l.held.Err()))
		l.candidate.Ended()
		l.release(ctx)
	}

	return l.candidate.Leading()
}

// Term returns a context that ends with the lease, and the lease's revision, by
// which terms are in order. Only while it is held.
func (l *Leader) Term(ctx context.Context) (term context.Context, end context.CancelFunc, revision uint64) {
	term, end = l.held.Context(ctx)

	return term, end, l.held.Revision()
}

// Await waits until the lease is held, but not longer than most. standing is told
// why it has to wait, each time it is found out. Errors: topology.ErrNoBucket,
// topology.ErrConfigDiffers, or those of the connection.
func (l *Leader) Await(ctx context.Context, most time.Duration, standing func(why string)) error {
	for begin := time.Now(); !l.Leads(ctx); {
		if l.candidate.Asks(time.Now()) {
			err := l.ask(ctx)

			var held *lease.HeldError

			switch {
			case err == nil:
				return nil
			case !errors.As(err, &held):
				return l.explain(ctx, err)
			}

			standing(fmt.Sprintf("another listener is active (%s); takes over when that one stops", held.Value))
		} else {
			standing("another listener may publish to this flow; takes over when that one stops")
		}

		if time.Since(begin) >= most || !retry.Pause(ctx, poll) {
			return ctx.Err()
		}
	}

	return nil
}

func (l *Leader) ask(ctx context.Context) error {
	// Not cut short by a stop: a lease that was granted without our knowledge would
	// keep the others waiting for a TTL.
	request, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()

	held, err := l.leases.Acquire(request, topology.LeaderKey(l.options.Flow), l.options.Holder, l.options.TTL)
	if err != nil {
		return err
	}

	l.candidate.Granted()
	l.held, l.done = held, make(chan struct{})

	// Renewed until it is given back, also while a stop takes its time.
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop

	go func() {
		defer close(l.done)

		_ = held.Keep(keeping, func(err error) { // that it has ended is said by Leads
			l.log.WarnContext(keeping, "the lease cannot be renewed; publishing goes on until it ends", slog.Any(telemetry.KeyError, err))
		})
	}()

	failpoint.Pass(failpoint.Led)
	l.log.InfoContext(ctx, "active by the flow's lease", slog.Uint64(telemetry.KeyEpoch, held.Revision()))

	return nil
}

// explain finds out whether the bucket is what is missing: a publish to one that
// is not there is merely not answered.
func (l *Leader) explain(ctx context.Context, err error) error {
	request, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	_, why := topology.OpenOwners(request, l.js)
	if errors.Is(why, topology.ErrNoBucket) || errors.Is(why, topology.ErrConfigDiffers) {
		return why
	}

	return err
}

// StandBack gives the lease up for another listener, see Candidate.
func (l *Leader) StandBack(ctx context.Context) {
	l.candidate.StandBack(time.Now())
	l.release(ctx)
}

// Starved says that the source could not be read, after it could be for a while;
// it gives the lease up where another listener should try.
func (l *Leader) Starved(ctx context.Context, worked time.Duration) {
	if l.candidate.Starved(time.Now(), worked) {
		l.log.WarnContext(ctx, "the source cannot be read: the lease is given up, another listener may reach it")
		l.release(ctx)
	}
}

// Close gives the lease back, so that a standby takes over at once.
func (l *Leader) Close(ctx context.Context) {
	l.candidate.Ended()
	l.release(ctx)
}

// release ends the renewals and gives the key back, where it is still ours.
// A request that fails is no harm: the key expires.
func (l *Leader) release(ctx context.Context) {
	if l.held == nil {
		return
	}

	failpoint.Pass(failpoint.StoodBack)

	// What ends the term must not end giving it back.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()

	l.stop() // first: a renewal that is not answered would take what giving back may
	<-l.done

	if err := l.held.Release(ctx); err != nil {
		l.log.WarnContext(ctx, "the lease was not given back, it expires", slog.Any(telemetry.KeyError, err))
	}

	l.held = nil
}
