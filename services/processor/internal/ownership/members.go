package ownership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Limits of talking to the bucket of leases.
const (
	bucketTimeout = 2 * time.Second
	bucketBackoff = 500 * time.Millisecond // at most: work resumes within 2 s of the server's return
	// releaseTimeout is what giving a key back may take; it expires otherwise.
	releaseTimeout = 500 * time.Millisecond
)

// membership takes part in the flow: it announces this processor with a key of
// its own and follows the keys of all.
//
// What it sees ends with each loss of the connection and is read anew after it:
// a watch may go on as if nothing were missing.
type membership struct {
	*Owner

	table *table
	input func(func(now time.Time)) // runs a change of the table in the loop that owns it
	own   *lease.Lease              // of the announcement; nil before the first
}

// run takes part until stop ends, and then deletes the announcement first of
// all, so that the others begin to take over.
func (m *membership) run(stop context.Context) {
	policy := retry.Policy{Initial: firstBackoff, Max: bucketBackoff}

	for stop.Err() == nil {
		_ = retry.Do(stop, policy, func(ctx context.Context) error {
			began := time.Now()
			err := m.session(ctx)

			m.input(func(time.Time) { m.table.blind() })

			if stop.Err() == nil {
				m.say(stop, err)
			}

			if time.Since(began) > bucketTimeout {
				return nil // it worked for a while: no backoff
			}

			return err
		})
	}

	if m.own != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(stop), releaseTimeout)
		defer cancel()

		_ = m.own.Release(ctx) // it expires otherwise
	}
}

// session announces and watches until something is wrong.
func (m *membership) session(ctx context.Context) error {
	// Listened to from before anything is read, so that no disconnect is missed.
	disconnected := m.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer m.nc.RemoveStatusListener(disconnected)

	group, ctx := errgroup.WithContext(ctx)
	defer func() { _ = group.Wait() }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	bucket, err := m.announce(ctx)
	if err != nil {
		return err
	}

	broken := make(chan error, 1)

	group.Go(func() error {
		err := m.own.Keep(ctx, func(err error) { tell(broken, err) })
		if err != nil {
			tell(broken, fmt.Errorf("announcement: %w", err))
		}

		return nil
	})

	watcher, err := bucket.Watch(ctx, topology.OwnersFilter(m.options.Flow))
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", topology.OwnersBucket, err)
	}

	defer func() { _ = watcher.Stop() }() // a lost connection has stopped it already

	return m.follow(ctx, watcher, broken, disconnected)
}

func tell(broken chan<- error, err error) {
	select {
	case broken <- err:
	default: // one is enough
	}
}

// announce makes this processor's key, or keeps the one that it has.
func (m *membership) announce(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()

	ctx, forget := m.whileConnected(ctx)
	defer forget()

	bucket, err := topology.OpenOwners(ctx, m.js)
	if err != nil {
		return nil, err
	}

	if m.own != nil && m.own.Renew(ctx) == nil {
		return bucket, nil
	}

	if m.own != nil && m.own.Err() == nil {
		return nil, errors.New("the announcement cannot be renewed")
	}

	key := topology.MemberKey(m.options.Flow, m.options.Identity.ID)

	m.own, err = m.leases.Acquire(ctx, key, m.options.Identity.text(m.options.LeaseTTL), m.options.LeaseTTL)

	return bucket, err
}

// follow passes on what the bucket says: all of it first, then each change.
func (m *membership) follow(ctx context.Context, watcher jetstream.KeyWatcher, broken <-chan error, disconnected <-chan nats.Status) error {
	// Our own renewals pass here, at least three in a TTL.
	silence := max(m.options.LeaseTTL, bucketTimeout)

	timer := time.NewTimer(silence)
	defer timer.Stop()

	first := newSighting(m.options.Flow) // nil once complete

	for {
		select {
		case entry, open := <-watcher.Updates():
			timer.Reset(silence)

			switch {
			case !open:
				return fmt.Errorf("watch of bucket %s ended", topology.OwnersBucket)
			case entry == nil:
				seen := first
				first = nil

				m.input(func(now time.Time) { m.table.sight(now, seen.members, seen.holders) })
				m.say(ctx, nil)
			case first != nil:
				first.add(entry)
			default:
				m.pass(entry)
			}
		case err := <-broken:
			return err
		case <-timer.C:
			return fmt.Errorf("watch of bucket %s is silent", topology.OwnersBucket)
		case <-disconnected:
			return nats.ErrDisconnected
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass passes one change on.
func (m *membership) pass(entry jetstream.KeyValueEntry) {
	change := newSighting(m.options.Flow)
	change.add(entry)

	m.input(func(now time.Time) {
		for id, ttl := range change.members {
			if ttl > 0 {
				m.table.join(now, id, ttl)
			} else {
				m.table.leave(id)
			}
		}

		for p, holder := range change.holders {
			m.table.hold(now, p, holder)
		}
	})
}

// sighting is what entries of the bucket say.
type sighting struct {
	flow    string
	members map[string]time.Duration // 0: gone
	holders map[int]string           // empty: nobody
}

func newSighting(flow string) *sighting {
	return &sighting{flow: flow, members: map[string]time.Duration{}, holders: map[int]string{}}
}

// add takes an entry in. A member whose key does not say what it should, because
// somebody edited it, is none; the lease of a partition is then held by whatever
// the key says.
func (s *sighting) add(entry jetstream.KeyValueEntry) {
	put := entry.Operation() == jetstream.KeyValuePut
	who, ttl, ok := parseIdentity(string(entry.Value()))

	if id, isMember := topology.ParseMemberKey(s.flow, entry.Key()); isMember {
		if !put || !ok || who.ID != id {
			ttl = 0
		}

		s.members[id] = ttl
	}

	if p, isPartition := topology.ParsePartitionKey(s.flow, entry.Key()); isPartition {
		switch {
		case !put:
			s.holders[p] = ""
		case ok:
			s.holders[p] = who.ID
		default:
			s.holders[p] = "?"
		}
	}
}
