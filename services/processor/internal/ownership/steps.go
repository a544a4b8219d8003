package ownership

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// Member is a processor without goroutines, timers and connections: whoever made it
// says when what happens, over a JetStream and a store of his own. Everything that it
// decides is decided by the code that Owner runs: table, partition, lane. Not for
// concurrent use.
type Member struct {
	*Owner

	table *table
}

// unobserved is an Observer that nobody looks at.
type unobserved struct{}

func (unobserved) Batch(time.Duration, *apply.Plan) {}

func (unobserved) Event(*event.Message) {}

// NewMember returns one that knows no stream yet. Options must have a Clock.
func NewMember(js jetstream.JetStream, store Store, options Options) *Member {
	options.Tracer = noop.NewTracerProvider().Tracer("")
	o := New(nil, nil, js, unobserved{}, slog.New(slog.DiscardHandler), options)
	o.store = store

	return &Member{Owner: o}
}

// Open opens the flow's stream. Errors say why the processor has to wait for it.
func (m *Member) Open(ctx context.Context) error {
	if err := m.tryOpen(ctx); err != nil {
		return err
	}

	m.divideMemory(m.options.MemoryBudget)
	m.table = newTable(m.options.Identity.ID, m.stream.Partitions, m.options.LeaseTTL)

	return nil
}

// Action is what the member wants to be done with a partition.
type Action struct {
	Partition int
	Drain     bool // else: take
}

// Decide is what is to be done now; the caller does it and says how it went.
func (m *Member) Decide() []Action {
	var list []Action

	for _, a := range m.table.decide(m.now()) {
		list = append(list, Action{Partition: a.partition, Drain: a.drain})
	}

	return list
}

// Next is after how long Decide may want something new although nothing was heard.
func (m *Member) Next() time.Duration { return m.table.next(m.now()) }

// Sight takes in the whole bucket of leases.
func (m *Member) Sight(members map[string]time.Duration, holders map[int]string) {
	m.table.sight(m.now(), members, holders)
}

// Blind says that the bucket cannot be seen.
func (m *Member) Blind() { m.table.blind() }

// Join takes in that a member has announced or renewed itself.
func (m *Member) Join(id string, ttl time.Duration) { m.table.join(m.now(), id, ttl) }

// Leave takes in that one is gone.
func (m *Member) Leave(id string) { m.table.leave(id) }

// Hold takes in who holds the lease of a partition; nobody for "".
func (m *Member) Hold(partition int, holder string) { m.table.hold(m.now(), partition, holder) }

// Took says that the lease of a partition was acquired.
func (m *Member) Took(partition int) { m.table.took(m.now(), partition) }

// Refused says that it was not; held: another has it.
func (m *Member) Refused(partition int, held bool) { m.table.refused(m.now(), partition, held) }

// Ended says that the work on a partition is over and its lease given back or lost.
func (m *Member) Ended(partition int, failed bool) { m.table.ended(m.now(), partition, failed) }

// Stop says that the member leaves; Done tells that it has given everything back.
func (m *Member) Stop() { m.table.stop() }

// Done is described at Stop.
func (m *Member) Done() bool { return m.table.done() }

// Marked takes in a marker of the stream.
func (m *Member) Marked(msg jetstream.Msg) error {
	marker, err := m.parseMarker(msg)
	if err == nil {
		m.markers.add(marker)
	}

	return err
}

// Steps is a partition of a Member, through one ownership after another.
type Steps struct {
	p *partition
	l *lane // of the present ownership

	before  int64   // commits when it began
	marker  *marker // the last one, unless the lane has it
	news    <-chan struct{}
	timer   *time.Timer // that nobody waits for
	replies []answer    // of the source, not taken in yet
}

// Partition returns one that the member has no ownership of; owner is the random
// number that signs what it writes.
func (m *Member) Partition(number int, owner int64) *Steps {
	p := &partition{Owner: m.Owner, number: number, owner: owner}
	p.board.status = Status{Partition: number, State: Acquiring, Since: m.now()}

	timer := time.NewTimer(time.Hour)
	timer.Stop()

	return &Steps{p: p, timer: timer}
}

// Leased says that the partition is worked on under a lease with this revision from
// now on.
func (s *Steps) Leased(revision uint64) { s.p.term, s.p.mine = revision, false }

// Own begins an ownership, whose transactions the applier makes in a session with
// this id, and returns its consumer. Errors as of Over.
func (s *Steps) Own(ctx context.Context, applier Applier, session bson.Binary) (jetstream.Consumer, error) {
	p := s.p
	p.session, p.applier = session, applier

	consumer, began, err := p.beginWithin(ctx)
	if err != nil {
		return nil, classify(err)
	}

	p.deleteConsumers(ctx, p.consumers)

	s.before, s.replies = p.held.Commits, nil
	s.l = newLane(p, consume.NewIntake(&began.from, p.budget), &began, nil)
	s.marker, s.news = p.markers.latest()
	p.setState(Applying, "")

	return consumer, nil
}

// Wants tells whether the partition has room for another delivery.
func (s *Steps) Wants() bool { return s.l.wants() }

// Take takes in the next delivery of the consumer.
func (s *Steps) Take(ctx context.Context, msg jetstream.Msg) error {
	d, err := s.l.reader.Take(ctx, msg)
	if d != nil {
		s.l.put(d)
	}

	return err
}

// Gather hands the open batch over, or a marker, when it is time to.
func (s *Steps) Gather() error {
	select {
	case <-s.l.settled:
		s.l.inFlight = 0
		s.marker, s.news = s.p.markers.latest()
	default:
	}

	select { // one after the other: of two that are ready, one select would choose
	case <-s.news:
		s.marker, s.news = s.p.markers.latest()
	default:
	}

	var err error
	s.marker, err = s.l.gathered(s.marker, s.timer)

	return err
}

// Apply settles the batch that was handed over, or moves to the marker that was.
func (s *Steps) Apply(stop, work context.Context) error {
	if s.l.mustHold() {
		return nil
	}

	if s.l.batch == nil {
		select {
		case s.l.batch = <-s.l.batches:
		default:
			return s.move(stop, work)
		}
	}

	return s.settle(stop, work, false)
}

// move moves to the marker that was handed over, if one was.
func (s *Steps) move(stop, work context.Context) error {
	select {
	case m := <-s.l.idle:
		return held(s.l.moveTo(stop, work, m))
	default:
		return nil
	}
}

func (s *Steps) settle(stop, work context.Context, looked bool) error {
	if err := s.l.proceed(stop, stop, work, looked); err != nil {
		return held(err)
	}

	s.l.finish()

	return nil
}

// held is the error of a step; that something has to wait is none.
func held(err error) error {
	if errors.Is(err, errHeld) && !errors.Is(err, errGivenBack) {
		return nil
	}

	return err
}

// Deadline is when the open batch closes if nothing else happens.
func (s *Steps) Deadline() (time.Time, bool) { return s.l.batcher.Deadline() }

// Due is when something parked is to be tried.
func (s *Steps) Due() (time.Time, bool) { return s.l.due() }

// Try tries what is parked and due.
func (s *Steps) Try(stop, work context.Context) error {
	return held(s.l.tryParked(stop, work, s.p.now()))
}

// Ask asks the source for one document that is wanted of it; it returns false when
// none is. The answer is taken in by Answered.
func (s *Steps) Ask(ctx context.Context) bool {
	if len(s.replies) > 0 {
		return false // one at a time, as the service: whoever asks holds memory
	}

	select {
	case a := <-s.l.asks:
		s.replies = append(s.replies, s.l.fetch(ctx, a))

		return true
	default:
		return false
	}
}

// Answered takes in an answer of the source; it returns false when there is none.
func (s *Steps) Answered(stop, work context.Context) (bool, error) {
	if len(s.replies) == 0 {
		return false, nil
	}

	a := s.replies[0]
	s.replies = s.replies[1:]

	return true, held(s.l.answered(stop, work, &a))
}

// Look is to be called every second: it looks at what nobody tells of.
func (s *Steps) Look(stop, work context.Context) error {
	if err := s.l.onTick(stop, work); err != nil {
		return held(err)
	}

	if s.l.batch != nil && s.l.noRoom != "" {
		return s.settle(stop, work, true)
	}

	return nil
}

// Inspect compares the stream with the checkpoint, which is to be done every five
// seconds.
func (s *Steps) Inspect(ctx context.Context) error {
	if err := s.l.compare(ctx); err != nil && isFinding(err) {
		return err
	}

	return nil
}

// Over ends the ownership for this reason, and tells what that means: an error is
// permanent (retry.IsPermanent), or says that the next ownership has to wait; one
// that is apply.ErrStale ends the work under this lease.
func (s *Steps) Over(err error, stopping bool) error {
	if s.l == nil {
		return err
	}

	close(s.l.batches)
	s.l.drop()
	release(s.l.batch)
	s.l.reader.Stop()

	for i := range s.replies {
		s.replies[i].done()
	}

	s.l, s.replies = nil, nil

	return s.p.over(err, s.before, stopping)
}

// Status is that of the partition.
func (s *Steps) Status() Status { return s.p.board.read() }

// Held is the checkpoint as this owner last committed it.
func (s *Steps) Held() checkpoint.Document { return s.p.held }
