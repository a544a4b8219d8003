package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// ErrNoStream says that the flow has no stream. Only relayctl flow init makes
// one.
var ErrNoStream = errors.New("no stream")

// ErrNoMessage says that the stream has no message at the place asked for.
var ErrNoMessage = errors.New("no message")

// Stream is a flow's stream, opened and checked.
type Stream struct {
	Settings

	flow string
	js   jetstream.Stream
}

// Open returns the flow's stream after checking its live configuration. Errors:
// ErrNoStream, ErrForeignStream, ErrConfigDiffers, or those of the connection.
func Open(ctx context.Context, js jetstream.StreamManager, flow string) (*Stream, error) {
	name := StreamName(flow)

	handle, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("open stream %s: %w", name, ErrNoStream)
	}

	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}

	live := handle.CachedInfo().Config

	settings, err := parseMetadata(live.Metadata)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}

	settings.Replicas = live.Replicas
	if err := compare(StreamConfig(flow, settings, live.MaxBytes), live); err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}

	if err := settings.checkPublishing(live); err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}

	return &Stream{Settings: settings, flow: flow, js: handle}, nil
}

// ErrConfigDiffers says that somebody changed the stream's configuration in a
// way that breaks a promise.
var ErrConfigDiffers = errors.New("live configuration differs from the declared one")

// compare lists every setting of the live stream that a promise rests on and
// that is not as declared. What an operator may tune (description, placement,
// byte limit, compression) is left out; the number of replicas is judged with
// the publish mode.
func compare(want, live jetstream.StreamConfig) error {
	var differences []string

	check := func(setting string, want, live any) {
		if want != live {
			differences = append(differences, fmt.Sprintf("%s is %v, must be %v", setting, live, want))
		}
	}

	check("subjects", fmt.Sprint(want.Subjects), fmt.Sprint(live.Subjects))
	check("retention", want.Retention, live.Retention)
	check("discard", want.Discard, live.Discard)
	check("max_age", want.MaxAge, live.MaxAge)
	check("max_msgs", want.MaxMsgs, live.MaxMsgs)
	check("max_msgs_per_subject", int64(0), max(live.MaxMsgsPerSubject, 0))
	check("storage", want.Storage, live.Storage)
	check("duplicate_window", want.Duplicates, live.Duplicates)
	check("deny_delete", want.DenyDelete, live.DenyDelete)
	check("deny_purge", want.DenyPurge, live.DenyPurge)
	check("allow_rollup_hdrs", want.AllowRollup, live.AllowRollup)
	check("allow_direct", want.AllowDirect, live.AllowDirect)
	check("no_ack", false, live.NoAck)
	check("sealed", false, live.Sealed)
	check("mirror", true, live.Mirror == nil)
	check("sources", 0, len(live.Sources))

	if len(differences) == 0 {
		return nil
	}

	return fmt.Errorf("%w: %s", ErrConfigDiffers, strings.Join(differences, "; "))
}

// Flow returns the name of the flow.
func (s *Stream) Flow() string { return s.flow }

// Name returns the name of the stream.
func (s *Stream) Name() string { return StreamName(s.flow) }

// State asks the server for the stream's figures.
func (s *Stream) State(ctx context.Context) (jetstream.StreamState, jetstream.StreamConfig, error) {
	info, err := s.js.Info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return jetstream.StreamState{}, jetstream.StreamConfig{}, fmt.Errorf("ask stream %s: %w", s.Name(), ErrNoStream)
	}

	if err != nil {
		return jetstream.StreamState{}, jetstream.StreamConfig{}, fmt.Errorf("ask stream %s: %w", s.Name(), err)
	}

	return info.State, info.Config, nil
}

// Purge removes all messages before this sequence, from the head only: it makes
// no hole. It never leaves the stream empty if the sequence is that of a message.
func (s *Stream) Purge(ctx context.Context, keepFrom uint64) error {
	if keepFrom <= 1 {
		return nil // nothing is before; and the server takes 0 for "all"
	}

	if err := s.js.Purge(ctx, jetstream.WithPurgeSequence(keepFrom)); err != nil {
		return fmt.Errorf("purge stream %s before message %d: %w", s.Name(), keepFrom, err)
	}

	return nil
}

// Stored is a message as the stream holds it.
type Stored struct {
	event.Message

	Sequence uint64
	ID       string    // its Nats-Msg-Id, which the next message has to name
	Time     time.Time // when the server stored it
}

// Tail returns the stream's last message. Errors: ErrNoMessage, ErrNoStream,
// event.ErrMalformed if a stranger wrote it.
func (s *Stream) Tail(ctx context.Context) (Stored, error) {
	last, err := s.last(ctx, ">")
	if !errors.Is(err, ErrNoMessage) {
		return last, err
	}

	return s.lastPresent(ctx, err)
}

// lastPresent finds the last message where the server says that there is none: it
// means the one with the last sequence that it remembers, and may have lost that
// (filestore.go of nats-server 2.15, LoadLastMsg). none is the error where there is
// no other either.
func (s *Stream) lastPresent(ctx context.Context, none error) (found Stored, err error) {
	state, _, err := s.State(ctx)
	if err != nil {
		return Stored{}, err
	}

	for low, high := state.FirstSeq, state.LastSeq; low < high && state.Msgs > 0; {
		middle := low + (high-low)/2

		m, err := s.Next(ctx, middle)

		switch {
		case errors.Is(err, ErrNoMessage):
			high = middle
		case err != nil:
			return Stored{}, err
		default:
			found, low = m, m.Sequence+1
		}
	}

	if found.Sequence == 0 {
		return Stored{}, none
	}

	return found, nil
}

// LastMarker returns the stream's last marker. Errors as of Tail.
func (s *Stream) LastMarker(ctx context.Context) (Stored, error) {
	return s.last(ctx, event.MarkerSubject(s.flow))
}

// LastOf returns the last message of a partition. Errors as of Tail.
func (s *Stream) LastOf(ctx context.Context, partition int) (Stored, error) {
	return s.last(ctx, event.PartitionFilter(s.flow, partition))
}

// NextOf returns the first message of a partition at or after this sequence.
// Errors as of Tail.
func (s *Stream) NextOf(ctx context.Context, partition int, sequence uint64) (Stored, error) {
	filter := event.PartitionFilter(s.flow, partition)
	raw, err := s.js.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(filter))

	return s.decode(raw, err, fmt.Sprintf("first message of %s from %d", filter, sequence))
}

// NextMarker returns the first marker at or after this sequence. Errors as of
// Tail.
func (s *Stream) NextMarker(ctx context.Context, sequence uint64) (Stored, error) {
	raw, err := s.js.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(event.MarkerSubject(s.flow)))

	return s.decode(raw, err, fmt.Sprintf("first marker from %d", sequence))
}

// At returns the message with this sequence. Errors as of Tail.
func (s *Stream) At(ctx context.Context, sequence uint64) (Stored, error) {
	raw, err := s.js.GetMsg(ctx, sequence)

	return s.decode(raw, err, fmt.Sprintf("message %d", sequence))
}

// Next returns the first message, of whatever kind, at or after this sequence. Errors
// as of Tail.
func (s *Stream) Next(ctx context.Context, sequence uint64) (Stored, error) {
	raw, err := s.js.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(event.FlowFilter(s.flow)))

	return s.decode(raw, err, fmt.Sprintf("first message from %d", sequence))
}

func (s *Stream) last(ctx context.Context, filter string) (Stored, error) {
	raw, err := s.js.GetLastMsgForSubject(ctx, filter)

	return s.decode(raw, err, "last message of "+filter)
}

func (s *Stream) decode(raw *jetstream.RawStreamMsg, err error, what string) (Stored, error) {
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Stored{}, fmt.Errorf("read %s of stream %s: %w", what, s.Name(), ErrNoMessage)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return Stored{}, fmt.Errorf("read %s of stream %s: %w", what, s.Name(), ErrNoStream)
	case err != nil:
		return Stored{}, fmt.Errorf("read %s of stream %s: %w", what, s.Name(), err)
	}

	m, err := event.Decode(raw.Subject, raw.Header, raw.Data)
	if err != nil {
		return Stored{}, fmt.Errorf("read message %d of stream %s: %w", raw.Sequence, s.Name(), err)
	}

	return Stored{
		Message:  m,
		Sequence: raw.Sequence,
		ID:       raw.Header.Get(jetstream.MsgIDHeader),
		Time:     raw.Time,
	}, nil
}

// CreateConsumer makes the consumer of an ownership. Deleting those of earlier
// epochs (DeleteConsumer) then fences their pulls and acks.
func (s *Stream) CreateConsumer(ctx context.Context, partition int, epoch, checkpoint uint64) (jetstream.Consumer, error) {
	config := ConsumerConfig(s.flow, partition, epoch, checkpoint)

	consumer, err := s.js.CreateConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("create consumer %s of stream %s: %w", config.Name, s.Name(), err)
	}

	return consumer, nil
}

// DeleteConsumer deletes a consumer; one that is already gone is no error.
func (s *Stream) DeleteConsumer(ctx context.Context, name string) error {
	if err := s.js.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("delete consumer %s of stream %s: %w", name, s.Name(), err)
	}

	return nil
}

// ConsumerEpochs returns the epochs that have a consumer, per partition, in
// ascending order.
func (s *Stream) ConsumerEpochs(ctx context.Context) (map[int][]uint64, error) {
	epochs := make(map[int][]uint64)
	lister := s.js.ConsumerNames(ctx)

	for name := range lister.Name() {
		if partition, epoch, ok := ParseConsumerName(name); ok {
			epochs[partition] = append(epochs[partition], epoch)
		}
	}

	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("list consumers of stream %s: %w", s.Name(), err)
	}

	for _, list := range epochs {
		slices.Sort(list)
	}

	return epochs, nil
}
