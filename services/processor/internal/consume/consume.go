package consume

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// Delivery is a whole event, or the place of a schema change, that the partition
// has not passed yet. It holds memory of the Budget until Release.
type Delivery struct {
	Event    event.Event   // zero in a copy of a schema change
	Message  event.Message // of the event's last part, with the payload of all
	Sequence uint64        // of that message in the stream

	msg         jetstream.Msg
	reservation *Reservation
}

// Ack tells the server that this event and all before it are applied. It is
// not durable and not waited for: the checkpoint decides, the ack only spares
// a delivery.
func (d *Delivery) Ack() error {
	if err := d.msg.Ack(); err != nil {
		return fmt.Errorf("ack message %d: %w", d.Sequence, err)
	}

	return nil
}

// Release gives the event's memory back to the budget; once more does nothing.
func (d *Delivery) Release() {
	d.reservation.Release()
	d.reservation = nil
}

// IsBarrier tells whether the partition has to stop here until a schema change
// has been made.
func (d *Delivery) IsBarrier() bool { return d.Message.Kind == event.KindBarrier }

// Reader reads one partition from its checkpoint on.
type Reader struct {
	pull     *pull // nil: whoever made it hands the messages to Take
	verifier *Verifier
	budget   *Budget

	passed atomic.Uint64 // see Passed

	collecting *Reservation // of the event whose parts are being collected
	// waiting is called before the reader waits for memory; see OnWait.
	waiting func()
}

// NewReader starts reading a consumer that begins behind the checkpoint. Stop
// it.
func NewReader(consumer jetstream.Consumer, from *checkpoint.Place, budget *Budget, pullBytes int) (*Reader, error) {
	p, err := startPull(consumer, pullBytes)
	if err != nil {
		return nil, err
	}

	r := NewIntake(from, budget)
	r.pull = p

	return r, nil
}

// NewIntake returns a Reader that pulls nothing: the caller hands the deliveries of
// a consumer that begins behind the checkpoint to Take.
func NewIntake(from *checkpoint.Place, budget *Budget) *Reader {
	r := &Reader{verifier: NewVerifier(from), budget: budget, waiting: func() {}}
	r.passed.Store(r.verifier.Passed())

	return r
}

// Passed is that of Verifier. Safe for concurrent use.
func (r *Reader) Passed() uint64 { return r.passed.Load() }

// OnWait sets what is called before the reader waits for memory: whoever holds
// some for this partition should settle it. Set it before the first Next.
func (r *Reader) OnWait(waiting func()) { r.waiting = waiting }

// Stop ends the pulling; a Next that waits returns an error.
func (r *Reader) Stop() {
	if r.pull != nil {
		r.pull.stop()
	}

	r.collecting.Release()
	r.collecting = nil
}

// Next waits for the next event that is not applied yet. Errors: ErrReset when
// the connection lost a delivery, ErrForeign, *GenerationError, *HoleError,
// event.ErrMalformed when the stream is not as it must be, else those of NATS.
// A Reader that returned an error is of no further use.
func (r *Reader) Next(ctx context.Context) (*Delivery, error) {
	for {
		msg, err := r.pull.take(ctx)
		if err != nil {
			return nil, err
		}

		d, err := r.Take(ctx, msg)
		if err != nil || d != nil {
			return d, err
		}
	}
}

// Take checks a message; it returns nil while an event is not complete or was
// applied before. Errors as of Next.
func (r *Reader) Take(ctx context.Context, msg jetstream.Msg) (*Delivery, error) {
	metadata, err := msg.Metadata()
	if err == nil {
		err = failpoint.Error(failpoint.MessagePulled)
	}

	if err != nil {
		return nil, fmt.Errorf("read delivery: %w", err)
	}

	sequence := metadata.Sequence.Stream

	m, err := event.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return nil, fmt.Errorf("message %d: %w", sequence, err)
	}

	whole, complete, err := r.verifier.Check(m, metadata.Sequence.Consumer)
	if err != nil {
		return nil, fmt.Errorf("message %d: %w", sequence, err)
	}

	r.passed.Store(r.verifier.Passed())

	if err := r.reserve(ctx); err != nil {
		return nil, err
	}

	if !complete {
		return nil, nil //nolint:nilnil // no event yet and no error is this function's normal answer
	}

	reservation := r.collecting
	r.collecting = nil

	if reservation == nil {
		if reservation, err = r.wait(ctx, len(whole.Payload)); err != nil {
			return nil, err
		}
	}

	d := &Delivery{Message: whole, Sequence: sequence, msg: msg, reservation: reservation}
	if whole.IsCopy() {
		return d, nil
	}

	if d.Event, err = event.Parse(whole.Payload); err != nil {
		d.Release()

		return nil, fmt.Errorf("message %d: %w", sequence, err)
	}

	return d, nil
}

// reserve keeps a reservation for the event that is being collected, whole and
// before its second part is taken.
func (r *Reader) reserve(ctx context.Context) error {
	size := r.verifier.Collecting()

	if size == 0 || r.collecting != nil && r.collecting.bytes == min(int64(size), r.budget.total) {
		return nil
	}

	r.collecting.Release()
	r.collecting = nil

	reservation, err := r.wait(ctx, size)
	r.collecting = reservation

	return err
}

func (r *Reader) wait(ctx context.Context, bytes int) (*Reservation, error) {
	if reservation, ok := r.budget.Try(bytes); ok {
		return reservation, nil
	}

	r.waiting()

	return r.budget.Reserve(ctx, bytes)
}

// IsStreamTrouble tells whether an error of Next or NewReader says that the
// stream itself is not as it must be, which no waiting heals. A hole is not of
// them: a rewind heals it.
func IsStreamTrouble(err error) bool {
	return errors.Is(err, ErrForeign) || errors.Is(err, event.ErrMalformed)
}
