package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// marker is a marker of the stream: how many events each partition has had before it.
type marker struct {
	place checkpoint.Place // whose count is of no partition
	heads []uint64
	// lastBarrier is the event number of the last schema change before it.
	lastBarrier int64
	came        time.Time // by the clock of this process
}

// markers is the last one that came. One goroutine writes, lanes read.
type markers struct {
	mu   sync.Mutex
	last *marker       // nil until it came
	next chan struct{} // closed when another one has come
}

func newMarkers() *markers { return &markers{next: make(chan struct{})} }

func (m *markers) add(came *marker) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.last = came

	close(m.next)
	m.next = make(chan struct{})
}

// latest returns the last marker, nil when none came yet, and what is closed when there is another.
func (m *markers) latest() (*marker, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()

	return m.last, m.next
}

// markerDelay is more than a marker takes from the listener's reading of the source to here.
const markerDelay = 5 * time.Second

// quiet returns a time up to which everything that the source had is settled by partitions whose checkpoints are at this
// sequence or behind it; zero when that is not known.
func (m *markers) quiet(sequence int64) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.last == nil || sequence < m.last.place.Sequence {
		return time.Time{}
	}

	return m.last.came.Add(-markerDelay)
}

// followMarkers keeps markers up to date until stop ends. Nothing that must be right depends on it: without markers the
// checkpoints of idle partitions only become old.
func (o *Owner) followMarkers(stop context.Context) {
	policy := retry.Policy{Initial: firstBackoff, Max: maxBackoff}

	for stop.Err() == nil {
		_ = retry.Do(stop, policy, func(ctx context.Context) error {
			err := o.readMarkers(ctx)
			if err != nil && ctx.Err() == nil {
				o.log.DebugContext(ctx, "markers cannot be read", slog.Any(telemetry.KeyError, err))
			}

			return err
		})
	}
}

// readMarkers reads from the stream's last marker on, until something is wrong.
func (o *Owner) readMarkers(ctx context.Context) error {
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	consumer, err := o.js.OrderedConsumer(request, o.stream.Name(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{event.MarkerSubject(o.stream.Flow())}, DeliverPolicy: jetstream.DeliverLastPolicy,
		MaxResetAttempts: 1, // it would wait for a stream that is gone, whatever ctx says
	})
	if err != nil {
		return fmt.Errorf("follow markers: %w", err)
	}

	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("follow markers: %w", err)
	}
	defer messages.Stop()

	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("follow markers: %w", err)
		}

		m, err := o.parseMarker(msg)
		if err != nil {
			return fmt.Errorf("follow markers: %w", err)
		}

		o.markers.add(m)
	}
}

func (o *Owner) parseMarker(msg jetstream.Msg) (*marker, error) {
	metadata, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read delivery: %w", err)
	}

	m, err := event.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return nil, fmt.Errorf("message %d: %w", metadata.Sequence.Stream, err)
	}

	payload, err := o.stream.ParseMarker(&topology.Stored{Message: m, Sequence: metadata.Sequence.Stream})
	if err != nil {
		return nil, err
	}

	if m.StreamID != o.stream.StreamID {
		return nil, errors.New("a marker of another stream")
	}

	return &marker{
		place: checkpoint.PlaceOf(&m, metadata.Sequence.Stream), heads: payload.GetHeads(), came: o.now(),
		lastBarrier: int64(payload.GetLastBarrier()), //nolint:gosec // far below 2^63
	}, nil
}

// settling tells that the lane began elsewhere than the checkpoint says and has
// not committed a place since: what is settled is known by the reader alone.
func (l *lane) settling(held *checkpoint.Document) bool { return l.start.moved && held.IsAt(&l.began) }

// settledAt tells whether the partition has settled every event before the marker and passed every schema change, and
// its checkpoint does not say so yet. count is that of the last settled event, in the marker's generation.
func (l *lane) settledAt(m *marker) (count uint64, ok bool) { return l.settledBy(m, l.reader.Passed()) }

// settledBy is settledAt of a reader that has passed events up to this count.
func (l *lane) settledBy(m *marker, passed uint64) (count uint64, ok bool) {
	if m == nil || m.place.StreamID != l.held.StreamID || m.place.Generation != l.start.from.Generation ||
		!l.passage.MayMoveTo(m.lastBarrier, l.held.Event) {
		return 0, false
	}

	if !l.settling(&l.held) {
		return l.held.LastCount(), m.place.Sequence > l.held.Sequence && m.heads[l.number] == l.held.LastCount()
	}

	// Everything that the reader has passed was applied before. A marker below the checkpoint's position must not take
	// it back: what lies between would be applied again.
	return passed, m.place.StreamSequence() > l.start.after && m.heads[l.number] == passed && m.place.Position.Compare(l.held.Position) >= 0
}

// moveTo brings the checkpoint of an idle partition to a marker. So every checkpoint is recent: the stream may be purged
// behind it, and "all partitions are applied beyond this position" becomes true in a flow where only some change.
func (l *lane) moveTo(stop, work context.Context, m *marker) error {
	count, ok := l.settledAt(m)
	if !ok {
		return nil
	}

	if err := failpoint.Error(failpoint.MarkerReached); err != nil {
		return err
	}

	if err := l.slots.Acquire(work, 1); err != nil {
		return fmt.Errorf("wait for a slot to apply: %w", err)
	}
	defer l.slots.Release(1)

	lot := l.parked.Reach(m.place.Position)
	fx := lot.Effects()

	plan, err := apply.NewPlan(nil)
	if err != nil {
		return err
	}

	plan.Note(l.notes(&unit{lot: lot}, &fx)...)

	next := l.held
	next.Commits++
	next.Place = m.place
	next.Count = int64(count) //nolint:gosec // far below 2^63
	next.Parked, next.ParkedBytes = fx.Parked, fx.Bytes

	if err := l.commit(stop, work, plan, &next); err != nil {
		return err
	}

	l.held = next
	lot.Done(&fx, l.now())
	l.board.update(func(s *Status) { s.Checkpoint = next })

	return nil
}
