package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

const (
	// silence after which the watch is made anew: a living instance reports
	// every 5 s, and a bucket that was deleted ends no watch.
	silence = 10 * time.Second
	// settling is what instances get to report after the bucket came back.
	settling = 3 * time.Second
	// remembered is for how long an instance that went without a word is told of.
	remembered = time.Hour
	// openTimeout bounds one request for the bucket.
	openTimeout = 2 * time.Second
)

// Book holds the last report of every instance of all flows, from the KV bucket
// RELAY_STATS. A report is judged by the time it arrived here, never by the
// clock of its instance. Safe for concurrent use.
type Book struct {
	js  jetstream.KeyValueManager
	nc  *nats.Conn
	log *slog.Logger

	mu      sync.Mutex
	entries map[string]entry // by key; written by the watch
	since   time.Time        // when the watch was complete; zero while there is none
	problem error            // why there is none
}

// entry is a report, read when it arrived: samples are taken more often. Both are
// nil for one that cannot be read.
type entry struct {
	listener  *tally.Listener
	processor *tally.Processor
	arrived   time.Time
	revision  uint64 // of its key
	stopped   bool   // its instance took it away
}

// NewBook returns an empty book; Run fills it.
func NewBook(nc *nats.Conn, js jetstream.KeyValueManager, log *slog.Logger) *Book {
	return &Book{js: js, nc: nc, log: log, entries: make(map[string]entry), problem: errors.New("not asked yet")}
}

// Run watches the bucket until ctx ends, and waits for it while it is not there.
// It returns nil.
func (b *Book) Run(ctx context.Context) error {
	policy := retry.Policy{Initial: 100 * time.Millisecond, Max: time.Second}

	for ctx.Err() == nil {
		// A watch that ended after it had begun is begun again at once.
		_ = retry.Do(ctx, policy, func(ctx context.Context) error {
			err := b.watch(ctx)
			if err != nil {
				b.log.DebugContext(ctx, "reports cannot be watched", slog.Any(telemetry.KeyError, err))
				b.lose(err)
			}

			return err
		})
	}

	return nil
}

// watch returns nil when a watch that worked has to be made anew.
func (b *Book) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	disconnected := b.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer b.nc.RemoveStatusListener(disconnected)

	bucket, offset, err := b.open(ctx)
	if err != nil {
		return err
	}

	watcher, err := bucket.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", topology.StatsBucket, err)
	}

	defer func() { _ = watcher.Stop() }() // a lost connection has stopped it already

	return b.follow(ctx, watcher, offset, disconnected)
}

// open returns the bucket and how far our clock is ahead of the server's: the
// age of what is in the bucket already is known by the server's clock only.
func (b *Book) open(ctx context.Context) (jetstream.KeyValue, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()

	bucket, err := b.js.KeyValue(ctx, topology.StatsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, 0, fmt.Errorf("bucket %s does not exist, relayctl flow init makes it: %w", topology.StatsBucket, err)
	}

	if err != nil {
		return nil, 0, fmt.Errorf("open bucket %s: %w", topology.StatsBucket, err)
	}

	status, err := bucket.Status(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("ask bucket %s: %w", topology.StatsBucket, err)
	}

	if s, ok := status.(*jetstream.KeyValueBucketStatus); ok {
		return bucket, time.Since(s.StreamInfo().TimeStamp), nil
	}

	return bucket, 0, nil
}

func (b *Book) follow(ctx context.Context, watcher jetstream.KeyWatcher, offset time.Duration, disconnected <-chan nats.Status) error {
	timer := time.NewTimer(silence)
	defer timer.Stop()

	fresh := make(map[string]entry) // what was in the bucket; nil once complete

	for {
		select {
		case update, open := <-watcher.Updates():
			timer.Reset(silence)

			switch {
			case !open:
				return fmt.Errorf("watch of bucket %s ended", topology.StatsBucket)
			case update == nil:
				b.replace(fresh)

				fresh = nil
			case update.Operation() != jetstream.KeyValuePut:
				b.stop(update.Key(), fresh)
			case fresh != nil:
				fresh[update.Key()] = decode(update, b.arrival(update, offset))
			default:
				b.put(update.Key(), decode(update, time.Now()))
			}
		case <-timer.C:
			if fresh != nil {
				return fmt.Errorf("bucket %s does not answer", topology.StatsBucket)
			}

			return nil
		case <-disconnected:
			return nats.ErrDisconnected
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// arrival is when a report arrived that was in the bucket already: as far as the server's clock tells, which was perhaps set
// right since then. In the future it was not; nor does one arrive again because it is read again.
func (b *Book) arrival(update jetstream.KeyValueEntry, offset time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()

	if known, ok := b.entries[update.Key()]; ok && known.revision == update.Revision() {
		return known.arrived
	}

	now := time.Now()
	if arrived := update.Created().Add(offset); arrived.Before(now) {
		return arrived
	}

	return now
}

func (b *Book) replace(entries map[string]entry) {
	b.mu.Lock()
	defer b.mu.Unlock()

	// Made anew after a silence only, it has been complete all the time.
	if b.since.IsZero() {
		b.since = time.Now()
	}

	b.entries, b.problem = entries, nil
}

func (b *Book) put(key string, e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if e.listener == nil && e.processor == nil {
		delete(b.entries, key)

		return
	}

	if _, known := b.entries[key]; !known { // a process that is killed takes no report away, and the next one has a new key
		forget(b.entries)
	}

	b.entries[key] = e
}

// forget removes what nobody is told of any more.
func forget(entries map[string]entry) {
	maps.DeleteFunc(entries, func(_ string, e entry) bool { return time.Since(e.arrived) > remembered })
}

// stop keeps the last report of an instance that has stopped, among the fresh ones where there are any: until it is
// forgotten it stands for the one whose place it took. The bucket has only its key, so of one that was never heard
// there is none.
func (b *Book) stop(key string, fresh map[string]entry) {
	b.mu.Lock()
	defer b.mu.Unlock()

	entries := fresh
	if entries == nil {
		entries = b.entries
	}

	if e, known := b.entries[key]; known {
		e.stopped = true
		entries[key] = e
	}

	forget(entries)
}

func (b *Book) lose(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.problem, b.since = err, time.Time{}
}

// Reports returns what the flow's instances said within report.Gone, and those that
// said something within remembered, but not since. It returns an error while that is
// not known: without a bucket, and for a moment after it came back, when a missing
// report proves nothing.
func (b *Book) Reports(flow string, now time.Time) (*tally.Reports, error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.problem != nil {
		return nil, b.problem
	}

	r := new(tally.Reports)

	for key, e := range b.entries {
		if now.Sub(e.arrived) > remembered {
			continue
		}

		if e.isOf(flow, key) {
			b.add(r, &e, now)
		}
	}

	if (len(r.Listeners) == 0 || len(r.Processors) == 0) && now.Sub(b.since) < settling {
		return nil, fmt.Errorf("bucket %s can be read since %s ago, reports are awaited",
			topology.StatsBucket, now.Sub(b.since).Round(time.Millisecond))
	}

	slices.SortFunc(r.Listeners, func(a, b tally.Listener) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(r.Processors, func(a, b tally.Processor) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(r.Departed, func(a, b tally.Departed) int { return strings.Compare(a.ID, b.ID) })

	return r, nil
}

// isOf tells whether it is a report of this flow's, under its key.
func (e *entry) isOf(flow, key string) bool {
	return e.listener != nil && strings.HasPrefix(key, topology.ListenerReportKey(flow, "")) ||
		e.processor != nil && strings.HasPrefix(key, topology.ProcessorReportKey(flow, ""))
}

// add adds what an instance said to those that it is one of. The caller holds mu.
func (b *Book) add(r *tally.Reports, e *entry, now time.Time) {
	silent, present := b.silentFor(e, now), !e.stopped && now.Sub(e.arrived) <= report.Gone

	switch {
	case present && e.listener != nil:
		l := *e.listener
		l.Silent = silent
		r.Listeners = append(r.Listeners, l)
	case present:
		p := *e.processor
		p.Silent = silent
		r.Processors = append(r.Processors, p)
	case e.stopped || silent > report.Gone: // else nobody could hear whether it lives
		r.Departed = append(r.Departed, e.depart(silent))
	}
}

func (e *entry) depart(silent time.Duration) (d tally.Departed) {
	if e.listener != nil {
		d = e.listener.Depart()
	} else {
		d = e.processor.Depart()
	}

	d.Silent, d.Stopped = silent, e.stopped

	return d
}

// silentFor is for how long nothing was heard although it would have been: while the bucket could not be read nobody could
// speak. The caller holds mu.
func (b *Book) silentFor(e *entry, now time.Time) time.Duration {
	if e.arrived.Before(b.since) {
		return now.Sub(b.since)
	}

	return now.Sub(e.arrived)
}
