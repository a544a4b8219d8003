package chain

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// idChain is the mode in which every message names the id of the one before it.
// It asks for replies as its Window says.
type idChain struct {
	Window

	wire   *wire
	lastID string // id of the last message published
}

func (c *idChain) Publish(now time.Time, m *event.Message, dry bool) error {
	msg := event.Encode(c.wire.flow, m, c.lastID)
	number, ask := c.Add(now, msg.Size(), dry)

	if err := c.wire.send(msg, number, ask); err != nil {
		return err
	}

	c.lastID = msg.Header[jetstream.MsgIDHeader][0]

	return nil
}

func (c *idChain) acked(number uint64) error {
	c.Acked(number)

	return nil
}

// staged implements mode: every message is stored by itself.
func (*idChain) staged(uint64) bool { return false }
