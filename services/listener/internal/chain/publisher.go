package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// ErrBroken is wrapped by every error after which nothing may be published on
// this Publisher: what the server has stored is known only by reading the tail.
var ErrBroken = errors.New("publishing broken off")

// ErrStreamFull says that the stream has reached its byte limit and discards
// new messages. It wraps ErrBroken.
var ErrStreamFull = fmt.Errorf("%w: the stream is full", ErrBroken)

// Codes of the server's refusals (server/errors.json of nats-server).
const (
	codeStoreFailed    = 10077 // whatever the store refuses; its text says why
	codeStreamNotFound = 10059
)

// textStreamFull is what tells a full stream from other trouble of the store, a full
// disk for one (ErrMaxBytes of nats-server).
const textStreamFull = "maximum bytes exceeded"

// replyBuffer bounds the replies that wait to be handled; both modes allow
// fewer requests than that.
const replyBuffer = maxWindowMessages

// Publisher publishes messages right behind a tail, in the mode of its stream.
// The caller hands the server's replies back to Handle. After the first error it
// is of no use. Not safe for concurrent use.
type Publisher struct {
	mode

	// Now is time.Now, unless it is set before the first message.
	Now func() time.Time

	wire    *wire
	sub     *nats.Subscription
	replies chan *nats.Msg // filled by nats.go, never closed
}

// mode is how messages are made to follow each other: idChain or atomicBatches.
// Its methods are those of Publisher.
type mode interface {
	// Publish takes the message over, without waiting for the server. The caller
	// makes sure that the Publisher is not Full. dry says that no further message
	// is at hand. Errors wrap ErrBroken.
	Publish(now time.Time, m *event.Message, dry bool) error
	// Full tells whether the next message has to wait for a reply.
	Full() bool
	// Outstanding returns how many messages and bytes are not proven stored.
	Outstanding() (messages uint64, bytes int)
	// Deadline returns when the oldest unanswered request times out; ok is false
	// when none is unanswered.
	Deadline() (deadline time.Time, ok bool)

	// staged tells whether the reply to message number may say only that the
	// server waits for what follows it.
	staged(number uint64) bool

	// acked takes in, at this time, that message number, counted from the tail, is
	// stored. Errors wrap ErrBroken.
	acked(now time.Time, number uint64) error
}

// Conn is what a Publisher asks of a connection: *nats.Conn.
type Conn interface {
	PublishMsg(msg *nats.Msg) error
	NewInbox() string
	// ChanSubscribe has what comes on the subject sent to the channel.
	ChanSubscribe(subject string, channel chan *nats.Msg) (*nats.Subscription, error)
}

// wire is the way of messages to the flow's stream, for either mode.
type wire struct {
	nc     Conn
	flow   string
	stream string
	base   uint64 // last sequence that the server has given: message n gets base + n
	inbox  string // prefix of the reply subjects, with its dot
}

// send puts msg on the wire; ask requests a reply that names the number.
func (w *wire) send(msg *nats.Msg, number uint64, ask bool) error {
	if ask {
		msg.Reply = w.inbox + strconv.FormatUint(number, 10)
	}

	if err := w.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("%w: publish message %d, %d bytes to %s: %w", ErrBroken, w.base+number, msg.Size(), msg.Subject, err)
	}

	return nil
}

// NewPublisher returns a publisher that goes on behind the tail. Close it.
func NewPublisher(nc Conn, flow, stream string, tail *Tail) (*Publisher, error) {
	w := &wire{nc: nc, flow: flow, stream: stream, base: tail.Sequence, inbox: nc.NewInbox() + "."}
	p := &Publisher{Now: time.Now, wire: w, replies: make(chan *nats.Msg, replyBuffer)}

	switch tail.Publish {
	case topology.PublishBatch:
		p.mode = newAtomicBatches(w)
	case topology.PublishChain:
		p.mode = newIDChain(w, tail)
	default: // no mode is the default one: the chain would stop a replicated stream for good
		return nil, fmt.Errorf("publish to stream %s: its tail has the unknown publish mode %q", stream, tail.Publish)
	}

	sub, err := nc.ChanSubscribe(w.inbox+"*", p.replies)
	if err != nil {
		return nil, fmt.Errorf("subscribe to publish replies: %w", err)
	}

	p.sub = sub

	return p, nil
}

// Close ends the subscription of the replies.
func (p *Publisher) Close() {
	_ = p.sub.Unsubscribe() // fails only on a closed connection
}

// Replies returns the channel of the server's replies; pass each to Handle.
func (p *Publisher) Replies() <-chan *nats.Msg { return p.replies }

// pubAck is a reply to a publish: PubAck or error (ADR-1 of the JetStream API).
type pubAck struct {
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// Handle takes in a reply. Errors wrap ErrBroken.
func (p *Publisher) Handle(reply *nats.Msg) error {
	number, err := strconv.ParseUint(strings.TrimPrefix(reply.Subject, p.wire.inbox), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: reply on unknown subject %s", ErrBroken, reply.Subject)
	}

	if reply.Header.Get("Status") == "503" {
		return fmt.Errorf("%w: %w: nobody stores messages of flow %s", ErrBroken, nats.ErrNoResponders, p.wire.flow)
	}

	if len(reply.Data) == 0 && p.staged(number) {
		return nil // nothing is stored yet
	}

	var ack pubAck
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return fmt.Errorf("%w: reply to message %d: %w", ErrBroken, number, err)
	}

	if ack.Error != nil {
		return refusal(ack.Error)
	}

	// The server tests for duplicates before it tests what precedes, and answers
	// success without storing: somebody else has published the same message.
	if ack.Duplicate {
		return fmt.Errorf("%w: message %d was already published by another listener", ErrBroken, number)
	}

	if w := p.wire; ack.Stream != w.stream || ack.Sequence != w.base+number {
		return fmt.Errorf("%w: message %d was stored as %s/%d, expected %s/%d",
			ErrBroken, number, ack.Stream, ack.Sequence, w.stream, w.base+number)
	}

	return p.acked(p.Now(), number)
}

func refusal(refused *jetstream.APIError) error {
	switch {
	case refused.ErrorCode == codeStoreFailed && strings.Contains(refused.Description, textStreamFull):
		return fmt.Errorf("%w: %w", ErrStreamFull, refused)
	case refused.ErrorCode == codeStreamNotFound:
		return fmt.Errorf("%w: %w", ErrBroken, jetstream.ErrStreamNotFound)
	default:
		return fmt.Errorf("%w: %w", ErrBroken, refused)
	}
}
