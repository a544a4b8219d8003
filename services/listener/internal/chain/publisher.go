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
)

// ErrBroken is wrapped by every error after which nothing may be published on
// this Publisher: what the server has stored is known only by reading the tail.
var ErrBroken = errors.New("id chain broken")

// ErrStreamFull says that the stream has reached its byte limit and discards
// new messages. It wraps ErrBroken.
var ErrStreamFull = fmt.Errorf("%w: the stream is full", ErrBroken)

// Codes of the server's refusals (server/errors.json of nats-server).
const (
	codeStoreFailed    = 10077 // "maximum bytes exceeded" and other refusals of the store
	codeStreamNotFound = 10059
)

// replyBuffer bounds the replies that wait to be handled; the window allows
// fewer requests than that.
const replyBuffer = maxWindowMessages

// Publisher publishes messages as a chain behind a tail. It asks for replies as
// its Window says; the caller hands them back to Handle. After the first error
// it is of no use. Not safe for concurrent use.
type Publisher struct {
	nc     *nats.Conn
	flow   string
	stream string

	window Window
	lastID string // id of the last message published
	base   uint64 // sequence of the tail: message n of the window has base + n

	inbox   string // prefix of the reply subjects, with its dot
	sub     *nats.Subscription
	replies chan *nats.Msg // filled by nats.go, never closed
}

// NewPublisher returns a publisher that goes on behind the tail. Close it.
func NewPublisher(nc *nats.Conn, flow, stream string, tail *Tail) (*Publisher, error) {
	p := &Publisher{
		nc:      nc,
		flow:    flow,
		stream:  stream,
		lastID:  tail.Last.ID,
		base:    tail.Last.Sequence,
		inbox:   nc.NewInbox() + ".",
		replies: make(chan *nats.Msg, replyBuffer),
	}

	sub, err := nc.ChanSubscribe(p.inbox+"*", p.replies)
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

// Publish puts the message on the wire, without waiting for the server. The
// caller makes sure that the window is not Full. dry says that no further
// message is at hand. Errors wrap ErrBroken.
func (p *Publisher) Publish(now time.Time, m *event.Message, dry bool) error {
	msg := event.Encode(p.flow, m, p.lastID)

	number, ask := p.window.Add(now, msg.Size(), dry)
	if ask {
		msg.Reply = p.inbox + strconv.FormatUint(number, 10)
	}

	if err := p.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("%w: publish event %d: %w", ErrBroken, m.Event, err)
	}

	p.lastID = msg.Header[jetstream.MsgIDHeader][0]

	return nil
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
	number, err := strconv.ParseUint(strings.TrimPrefix(reply.Subject, p.inbox), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: reply on unknown subject %s", ErrBroken, reply.Subject)
	}

	if reply.Header.Get("Status") == "503" {
		return fmt.Errorf("%w: %w: nobody stores messages of flow %s", ErrBroken, nats.ErrNoResponders, p.flow)
	}

	var ack pubAck
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return fmt.Errorf("%w: reply to message %d: %w", ErrBroken, number, err)
	}

	if ack.Error != nil {
		return refusal(ack.Error)
	}

	// The server tests for duplicates before it tests the chain, and answers
	// success without storing: somebody else has published the same message.
	if ack.Duplicate {
		return fmt.Errorf("%w: message %d was already published by another listener", ErrBroken, number)
	}

	if ack.Stream != p.stream || ack.Sequence != p.base+number {
		return fmt.Errorf("%w: message %d was stored as %s/%d, expected %s/%d",
			ErrBroken, number, ack.Stream, ack.Sequence, p.stream, p.base+number)
	}

	p.window.Acked(number)

	return nil
}

func refusal(refused *jetstream.APIError) error {
	switch refused.ErrorCode {
	case codeStoreFailed:
		return fmt.Errorf("%w: %w", ErrStreamFull, refused)
	case codeStreamNotFound:
		return fmt.Errorf("%w: %w", ErrBroken, jetstream.ErrStreamNotFound)
	default:
		return fmt.Errorf("%w: %w", ErrBroken, refused)
	}
}

// Full tells whether the next message has to wait for a reply.
func (p *Publisher) Full() bool { return p.window.Full() }

// Outstanding returns how many messages and bytes are not proven stored.
func (p *Publisher) Outstanding() (messages uint64, bytes int) { return p.window.Outstanding() }

// Deadline returns when the oldest unanswered request times out; ok is false
// when none is unanswered.
func (p *Publisher) Deadline() (deadline time.Time, ok bool) { return p.window.Deadline() }
