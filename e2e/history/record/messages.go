package record

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

const (
	// request bounds one question to NATS: one that a server was asked while it was restarted is never answered, and meanwhile a
	// janitor may purge what is not recorded yet.
	request = 700 * time.Millisecond
	// expiry is how long the server holds a pull.
	expiry = 2 * time.Second
	// pause is the wait after such a question, and for a stream that nobody has made yet.
	pause = 200 * time.Millisecond
	// mostLost is how many messages at the end of a stream may be lost at once.
	mostLost = 1 << 17
	// sizeHeader is how a server tells the size of a payload that it leaves out (ADR-13 of NATS).
	sizeHeader = "Nats-Msg-Size"
)

// messages records a flow's stream while it grows, without the payloads: a janitor may purge it before anybody dumps it.
type messages struct {
	js     jetstream.JetStream
	stream string
	file   *history.Writer[history.Message]

	last uint64        // sequence of the last message recorded
	at   atomic.Uint64 // the same, for others
	off  atomic.Bool   // nothing more is recorded
	held map[uint64]held
	info func(*jetstream.StreamInfo)
}

// held is what tells a recorded message from another one of its sequence. Its id does not: a message that a stream has lost
// may be published again with the same sequence, behind others than before.
type held struct {
	id     string
	stored time.Time
}

// run records until stop is closed and everything that the stream has is recorded. A stream that is not there by then is
// an error.
func (m *messages) run(ctx context.Context, stop <-chan struct{}) error {
	defer m.off.Store(true)

	for ctx.Err() == nil {
		err := m.follow(ctx, stop)
		if err == nil {
			return nil
		}

		if fatal, ok := errors.AsType[*writeError](err); ok {
			return fatal
		}

		if errors.Is(err, errPurged) {
			return err
		}

		if errors.Is(err, jetstream.ErrStreamNotFound) && isClosed(stop) {
			return fmt.Errorf("end the record of the stream: %w", err)
		}

		retry.Pause(ctx, pause)
	}

	return ctx.Err()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// writeError is trouble of the file, which no waiting heals.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// follow records from where the record ends until something is wrong.
func (m *messages) follow(ctx context.Context, stop <-chan struct{}) error {
	reconnects := m.reconnects()

	stream, err := m.open(ctx)
	if err != nil {
		return err
	}

	if err := m.stepBack(ctx, stream); err != nil {
		return err
	}

	consumer, err := m.consumer(ctx, stream)
	if err != nil {
		return err
	}

	delivered, err := consumer.Messages(jetstream.PullMaxMessages(1000), jetstream.PullExpiry(expiry))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", m.stream, err)
	}
	defer delivered.Stop()

	for first, behind := true, 0; ; {
		wait, cancel := context.WithTimeout(ctx, pause)
		msg, err := delivered.Next(jetstream.NextContext(wait))

		cancel()

		switch {
		case err == nil:
			if err := m.add(ctx, stream, msg, first); err != nil {
				return err
			}

			first, behind = false, 0
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout):
			return fmt.Errorf("read stream %s: %w", m.stream, err)
		case m.reconnects() != reconnects: // a server that was restarted has forgotten the consumer, and a janitor waits for nobody
			return errAnew
		default:
			if behind++; behind > mostBehind {
				behind = 0
			}

			done, err := m.idle(ctx, stream, stop, behind == 0)
			if done || err != nil {
				return err
			}
		}
	}
}

// reconnects is how often the connection was made anew.
func (m *messages) reconnects() uint64 { return m.js.Conn().Stats().Reconnects }

func (m *messages) open(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()

	stream, err := m.js.Stream(ctx, m.stream)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", m.stream, err)
	}

	m.info(stream.CachedInfo())

	return stream, nil
}

func (m *messages) consumer(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()

	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: m.last + 1, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", m.stream, err)
	}

	return consumer, nil
}

// errAnew says that the record has to go on from another message than the next one delivered.
var errAnew = errors.New("the stream does not go on where the record ends")

// mostBehind is how often in a row nothing may come although the stream has more: a server that was restarted has forgotten
// the consumer, and says so to nobody who waits for messages.
const mostBehind = 10

// idle is asked when nothing came for a while; long says that it was so for long.
func (m *messages) idle(ctx context.Context, stream jetstream.Stream, stop <-chan struct{}, long bool) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()

	info, err := stream.Info(ctx)

	switch {
	case err != nil:
		return false, fmt.Errorf("ask stream %s: %w", m.stream, err)
	case info.State.LastSeq < m.last, long && info.State.LastSeq > m.last: // its end was lost; or the consumer
		return false, errAnew
	case !isClosed(stop) || info.State.LastSeq > m.last:
		return false, nil
	case m.last == 0:
		return true, nil
	}

	same, err := m.has(ctx, stream, m.last)
	if err == nil && !same { // its end was lost, and what came since is no longer than that was
		err = errAnew
	}

	return same, err
}

// add records a message. One that does not follow is asked for again, from the end of the record: only if it is the first
// then too, the stream has a hole, which a checker finds.
func (m *messages) add(ctx context.Context, stream jetstream.Stream, msg jetstream.Msg, first bool) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("read stream %s: %w", m.stream, err)
	}

	r := messageOf(meta.Sequence.Stream, meta.Timestamp, msg.Subject(), msg.Headers(), len(msg.Data()))

	if size := r.Header[sizeHeader]; size != "" {
		if r.Size, err = strconv.Atoi(size); err != nil {
			return fmt.Errorf("read stream %s: %s is %q", m.stream, sizeHeader, size)
		}

		delete(r.Header, sizeHeader)
	}

	before, known := m.held[r.Sequence-1]
	names := r.Header[jetstream.ExpectedLastMsgIDHeader]
	other := known && names != "" && names != before.id // than the one recorded is before it

	if !first && (r.Sequence != m.last+1 || other) {
		return errAnew
	}

	if first && m.last > 0 && (r.Sequence > m.last+1 || other) {
		if err := m.notPurged(ctx, stream, r.Sequence); err != nil {
			return err
		}
	}

	if err := m.file.Add(r); err != nil {
		return &writeError{err}
	}

	m.last = r.Sequence
	m.at.Store(m.last)
	m.held[r.Sequence] = held{id: r.Header[jetstream.MsgIDHeader], stored: r.Stored}
	delete(m.held, r.Sequence-mostLost)

	return nil
}

// errPurged says that messages were purged before they were recorded: whether the stream had a hole nobody can say.
var errPurged = errors.New("the stream was purged before all of it was recorded: the machine, or the way to the server, was too slow")

// notPurged returns errPurged if the stream begins with this message by now.
func (m *messages) notPurged(ctx context.Context, stream jetstream.Stream, next uint64) error {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()

	info, err := stream.Info(ctx)

	switch {
	case err != nil:
		return fmt.Errorf("ask stream %s: %w", m.stream, err)
	case info.State.FirstSeq >= next:
		return fmt.Errorf("%w: messages %d to %d of stream %s", errPurged, min(m.last+1, next-1), next-1, m.stream)
	default:
		return nil
	}
}

// stepBack finds the last message that stream and record have in common: a server that lost the end of its stream has
// others in the place of what was recorded.
func (m *messages) stepBack(ctx context.Context, stream jetstream.Stream) error {
	for ; m.last > 0; m.last-- {
		same, err := m.has(ctx, stream, m.last)
		if err != nil {
			return err
		}

		if same {
			return nil
		}
	}

	return nil
}

// has tells whether the stream holds a message as it was recorded. One that was purged since counts as held.
func (m *messages) has(ctx context.Context, stream jetstream.Stream, sequence uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()

	raw, err := stream.GetMsg(ctx, sequence)

	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		info, err := stream.Info(ctx)
		if err != nil {
			return false, fmt.Errorf("ask stream %s: %w", m.stream, err)
		}

		return sequence < info.State.FirstSeq, nil
	case err != nil:
		return false, fmt.Errorf("read message %d of stream %s: %w", sequence, m.stream, err)
	default:
		recorded := m.held[sequence]

		return raw.Header.Get(jetstream.MsgIDHeader) == recorded.id && raw.Time.Equal(recorded.stored), nil
	}
}

// Stored is a flow's stream as it is now.
type Stored struct {
	Partitions  int
	Publish     string
	First, Last uint64 // sequences

	stream jetstream.Stream
}

// OpenStream asks for a flow's stream.
func OpenStream(ctx context.Context, js jetstream.JetStream, flow string) (*Stored, error) {
	stream, err := js.Stream(ctx, "CDC_"+flow)
	if err != nil {
		return nil, fmt.Errorf("open the stream of flow %s: %w", flow, err)
	}

	info := stream.CachedInfo()
	s := &Stored{Publish: info.Config.Metadata["relay.publish"], First: info.State.FirstSeq, Last: info.State.LastSeq, stream: stream}

	if s.Partitions, err = strconv.Atoi(info.Config.Metadata["relay.partitions"]); err != nil {
		return nil, fmt.Errorf("open the stream of flow %s: its metadata names no partitions: %w", flow, err)
	}

	return s, nil
}

// At returns the message with a sequence.
func (s *Stored) At(ctx context.Context, sequence uint64) (history.Message, error) {
	raw, err := s.stream.GetMsg(ctx, sequence)
	if err != nil {
		return history.Message{}, fmt.Errorf("read message %d: %w", sequence, err)
	}

	return messageOf(raw.Sequence, raw.Time, raw.Subject, raw.Header, len(raw.Data)), nil
}

func messageOf(sequence uint64, stored time.Time, subject string, header nats.Header, size int) history.Message {
	m := history.Message{Time: time.Now(), Stored: stored, Sequence: sequence, Subject: subject, Header: map[string]string{}, Size: size}

	for name, values := range header {
		m.Header[name] = values[0]
	}

	return m
}
