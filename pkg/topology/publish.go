package topology

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// PublishMode says how the messages of a stream are made to follow each other.
// It is chosen when the stream is made and never changes.
type PublishMode string

const (
	// PublishChain is: every message names the id of the one before it. For one
	// replica only.
	PublishChain PublishMode = "chain"
	// PublishBatch is: atomic batches, one in flight, whose first message names the
	// sequence of the stream's last one. For any number of replicas.
	PublishBatch PublishMode = "batch"
)

// ParsePublishMode returns the mode of this name.
func ParsePublishMode(name string) (PublishMode, error) {
	switch mode := PublishMode(name); mode {
	case PublishChain, PublishBatch:
		return mode, nil
	default:
		return "", fmt.Errorf("publish mode %q is not known to this version", name)
	}
}

// ErrChainOfReplicas says that a stream with the id chain has replicas. The
// server checks the chain on each of them, and one that caught up does not know
// the last id: it refuses what follows and stops for good. It wraps
// ErrConfigDiffers.
var ErrChainOfReplicas = fmt.Errorf("%w: a stream that is published as chain must have one replica, "+
	"the id chain stops replicas for good; one that is published as batch may have several", ErrConfigDiffers)

// withDefaults returns the settings with nothing left to guess.
func (s Settings) withDefaults() Settings {
	if s.Publish == "" {
		s.Publish = PublishChain
	}

	s.Replicas = max(s.Replicas, 1)

	return s
}

// checkPublishing refuses a configuration that the publish mode cannot do with.
func (s Settings) checkPublishing(config jetstream.StreamConfig) error {
	switch {
	case s.Publish == PublishChain && config.Replicas > 1:
		return fmt.Errorf("%w: num_replicas is %d", ErrChainOfReplicas, config.Replicas)
	case s.Publish == PublishBatch && !config.AllowAtomicPublish:
		return fmt.Errorf("%w: allow_atomic is false, must be true", ErrConfigDiffers)
	default:
		return nil
	}
}

// Publisher is the one call of a JetStream context that a single message needs.
type Publisher interface {
	PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)
}

// ErrNotLast says that the stream's last message was another one than a message
// was to follow. Nothing was stored; read the tail and decide anew.
var ErrNotLast = errors.New("the stream has got another message meanwhile")

// PublishAfter publishes one message right behind the stream's last one, in
// either mode; the zero Stored stands for an empty stream that has never had
// one. It is for what is published once in a while beside a listener's
// Publisher: message 1, the markers of relayctl. It returns the message's
// sequence. Errors: ErrNotLast; after any other the message may be stored or
// not, which only reading the tail tells.
func (s *Stream) PublishAfter(ctx context.Context, js Publisher, last Stored, m *event.Message) (sequence uint64, err error) {
	id := ""
	if s.Publish != PublishBatch { // a replica may not know it
		id = last.ID
	}

	sequence, err = s.publishBehind(ctx, js, last.Sequence, id, m)
	if !errors.Is(err, ErrNotLast) || last.Sequence == 0 {
		return sequence, err
	}

	given, isLast, unread := s.given(ctx, &last)

	switch {
	case unread != nil:
		return 0, errors.Join(err, unread)
	case !isLast:
		return 0, err
	default:
		return s.publishBehind(ctx, js, given, "", m)
	}
}

// given returns the last sequence that the server has given, and whether last is the
// stream's last message all the same: those behind it are lost, and the server
// goes on behind them (see chain.Tail.Sequence of the listener).
func (s *Stream) given(ctx context.Context, last *Stored) (sequence uint64, isLast bool, err error) {
	state, _, err := s.State(ctx) // before the last message: what comes after it is refused
	if err != nil {
		return 0, false, err
	}

	tail, err := s.Tail(ctx)
	if err != nil {
		return 0, false, err
	}

	return state.LastSeq, tail.Sequence == last.Sequence && tail.ID == last.ID && state.LastSeq > last.Sequence, nil
}

// publishBehind publishes a message behind this sequence, and behind the message with this
// id unless it is empty.
func (s *Stream) publishBehind(ctx context.Context, js Publisher, last uint64, id string, m *event.Message) (sequence uint64, err error) {
	ack, err := js.PublishMsg(ctx, event.Encode(s.flow, m, id), jetstream.WithExpectLastSequence(last))

	switch {
	case isWrongLast(err):
		return 0, fmt.Errorf("publish behind message %d of stream %s: %w: %w", last, s.Name(), ErrNotLast, err)
	case err != nil:
		return 0, fmt.Errorf("publish behind message %d of stream %s: %w", last, s.Name(), err)
	case ack.Duplicate: // answered with success, not stored
		return 0, fmt.Errorf("publish behind message %d of stream %s: %w: message %d is the same",
			last, s.Name(), ErrNotLast, ack.Sequence)
	default:
		return ack.Sequence, nil
	}
}

// codeWrongLastID is the server's refusal of a message that names another id
// than that of the last one ("wrong last msg ID", errors.json of nats-server).
const codeWrongLastID = 10070

func isWrongLast(err error) bool {
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		return false
	}

	switch refused.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant, codeWrongLastID:
		return true
	default:
		return false
	}
}

// PublishFirst publishes message 1 of an empty stream: a marker. It fails if
// the stream has ever had a message.
func (s *Stream) PublishFirst(ctx context.Context, js Publisher, m *event.Message) error {
	_, err := s.PublishAfter(ctx, js, Stored{}, m)

	return err
}
