// Package lease is the right to work that ends by itself: a key of a KV bucket
// with a TTL, which its holder renews and everybody else waits for.
//
//	free ──Acquire──▶ held ──Renew──▶ held
//	  ▲                │ │
//	  │    Release ────┘ └── no renewal: the server lets the key expire;
//	  └──────────────────────  the holder has stopped before, by its own clock
//
// A holder counts its lease from before it sent the request, with its monotonic
// clock, and ends it a margin early; the server counts from when it stored the
// key. So no clock is compared with another, and a holder that can tell time has
// stopped before anybody else can acquire. One that cannot (a suspended host)
// believes in its lease for longer: whatever must be right needs a fence of its
// own, a lease only avoids work in vain.
package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// MinTTL is the shortest that the server takes.
const MinTTL = time.Second

// Why a lease is not held, or not any more.
var (
	// ErrHeld says that another holder has the key; see HeldError.
	ErrHeld = errors.New("the lease is held")
	// ErrExpired says that the lease was not renewed in time.
	ErrExpired = errors.New("the lease was not renewed in time")
	// ErrLost says that the key is not as its holder left it: another one has
	// it, or somebody changed or deleted it by hand.
	ErrLost = errors.New("the lease was taken away")
	// ErrReleased says that the holder gave the lease back.
	ErrReleased = errors.New("the lease was released")
)

// HeldError names the holder of a key.
type HeldError struct {
	Key   string
	Value string // as the holder wrote it
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("%v: key %s is %q", ErrHeld, e.Key, e.Value)
}

// Unwrap makes it an ErrHeld.
func (*HeldError) Unwrap() error { return ErrHeld }

// Margin is how long before the server lets a lease of this TTL expire its
// holder ends it: for calls that are under way then.
func Margin(ttl time.Duration) time.Duration { return ttl / 10 }

// renewals that fit into a TTL: two may fail, if they fail at once. One that is not
// answered takes the time of the next.
const renewals = 3

// Lease is a key that is, or was, held. Safe for concurrent use.
type Lease struct {
	bucket *Bucket
	key    string
	value  string
	ttl    time.Duration
	first  uint64 // revision of the acquisition

	renewing chan struct{} // holds the one renewal at a time, or the release

	mu       sync.Mutex
	revision uint64    // of the last renewal that is known to be stored
	end      time.Time // by the monotonic clock
	timer    *time.Timer
	err      error // why it ended; nil while it is held
	ended    chan struct{}
	bound    map[*context.CancelCauseFunc]struct{} // contexts that end with the lease
}

func newLease(b *Bucket, key, value string, ttl time.Duration, revision uint64, sent time.Time) *Lease {
	l := &Lease{
		bucket: b, key: key, value: value, ttl: ttl, first: revision, revision: revision,
		end: sent.Add(ttl - Margin(ttl)), renewing: make(chan struct{}, 1), ended: make(chan struct{}), bound: map[*context.CancelCauseFunc]struct{}{},
	}

	l.mu.Lock() // the timer may fire at once
	defer l.mu.Unlock()

	l.timer = time.AfterFunc(time.Until(l.end), l.expire)

	return l
}

// Key returns the key.
func (l *Lease) Key() string { return l.key }

// Revision returns the revision of the acquisition: higher than any that the key
// had before, as long as the bucket lives.
func (l *Lease) Revision() uint64 { return l.first }

// Ended is closed when the lease has ended; Err says why.
func (l *Lease) Ended() <-chan struct{} { return l.ended }

// Err returns nil while the lease is held, else ErrExpired, ErrLost or
// ErrReleased.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.err
}

// Deadline returns when the lease ends unless it is renewed before: what must not
// be done by somebody who has lost it has to end by then.
func (l *Lease) Deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.end
}

// Context returns a context that ends with the lease, however often that is
// renewed, with the reason as its cause.
func (l *Lease) Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)

	l.mu.Lock()
	defer l.mu.Unlock()

	if l.err != nil {
		cancel(l.err)

		return ctx, func() { cancel(nil) }
	}

	l.bound[&cancel] = struct{}{}

	return ctx, func() {
		l.mu.Lock()
		delete(l.bound, &cancel)
		l.mu.Unlock()

		cancel(nil)
	}
}

// Renew makes the lease last for its TTL from now on. Errors: ErrExpired,
// ErrLost, ErrReleased, which are final, else trouble of the server.
func (l *Lease) Renew(ctx context.Context) error {
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("renew lease %s: %w", l.key, err)
	}

	defer func() { <-l.renewing }()

	l.mu.Lock()
	revision, err := l.revision, l.err
	l.mu.Unlock()

	if err != nil {
		return err
	}

	sent := time.Now()

	revision, err = l.bucket.put(ctx, l.key, l.value, l.ttl, revision)
	if err == nil {
		err = failpoint.Error(failpoint.LeaseRenewed)
	}

	if errors.Is(err, errChanged) {
		sent, revision, err = l.reclaim(ctx)
	}

	switch {
	case errors.Is(err, errChanged):
		l.finish(ErrLost)

		return ErrLost
	case err != nil:
		return fmt.Errorf("renew lease %s: %w", l.key, err)
	}

	return l.extend(revision, sent)
}

// begin waits for a renewal that is under way, which may take until its own deadline.
// Who begins receives from renewing at the end.
func (l *Lease) begin(ctx context.Context) error {
	select {
	case l.renewing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a renewal that is under way: %w", ctx.Err())
	}
}

// reclaim renews a key that another revision has than the last one known here:
// an earlier renewal whose reply did not arrive.
func (l *Lease) reclaim(ctx context.Context) (time.Time, uint64, error) {
	held, err := l.bucket.read(ctx, l.key)
	if err != nil {
		return time.Time{}, 0, err
	}

	if !held.isLease || held.value != l.value {
		return time.Time{}, 0, errChanged
	}

	sent := time.Now()
	revision, err := l.bucket.put(ctx, l.key, l.value, l.ttl, held.revision)

	return sent, revision, err
}

func (l *Lease) extend(revision uint64, sent time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.revision = revision // what Release has to name, ended or not
	if l.err != nil {
		return l.err
	}

	l.end = sent.Add(l.ttl - Margin(l.ttl))
	l.timer.Reset(time.Until(l.end))

	return nil
}

// Keep renews the lease, three times a TTL and more often after trouble, until
// ctx ends (nil) or the lease does (its Err). trouble is told each failed
// renewal.
func (l *Lease) Keep(ctx context.Context, trouble func(error)) error {
	timer := time.NewTimer(l.ttl / renewals)
	defer timer.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.ended:
			return l.Err()
		case <-timer.C:
		}

		wait := l.ttl / renewals
		request, cancel := context.WithTimeout(ctx, l.ttl/renewals)

		if err := l.Renew(request); err != nil && l.Err() == nil && ctx.Err() == nil {
			wait = l.ttl / (4 * renewals)

			trouble(err)
		}

		cancel()
		timer.Reset(wait)
	}
}

// Release ends the lease and deletes the key, unless it is somebody else's by
// now. A lease that has ended is left alone: its key expires, and a revision may
// name another key where the bucket was made anew. A release that fails, or ends
// with ctx before a renewal under way has, is no harm for the same reason.
func (l *Lease) Release(ctx context.Context) error {
	if !l.finish(ErrReleased) {
		return nil
	}

	if err := failpoint.Error(failpoint.LeaseReleased); err != nil {
		return err
	}

	// A renewal under way may still be stored.
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("release lease %s: %w", l.key, err)
	}

	defer func() { <-l.renewing }()

	l.mu.Lock()
	revision := l.revision
	l.mu.Unlock()

	err := l.bucket.remove(ctx, l.key, revision)
	if errors.Is(err, errChanged) {
		var held stored
		if held, err = l.bucket.read(ctx, l.key); err == nil && held.isLease && held.value == l.value {
			err = l.bucket.remove(ctx, l.key, held.revision)
		}
	}

	if err != nil && !errors.Is(err, errChanged) {
		return fmt.Errorf("release lease %s: %w", l.key, err)
	}

	return nil
}

func (l *Lease) expire() {
	l.mu.Lock()
	left := time.Until(l.end)

	if left > 0 { // renewed while the timer fired
		l.timer.Reset(left)
		l.mu.Unlock()

		return
	}

	l.mu.Unlock()
	l.finish(ErrExpired)
}

// finish ends the lease; it returns false when that has ended before.
func (l *Lease) finish(why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.err != nil {
		return false
	}

	l.err = why
	l.timer.Stop()
	close(l.ended)

	for cancel := range l.bound {
		(*cancel)(why)
	}

	l.bound = nil

	return true
}
