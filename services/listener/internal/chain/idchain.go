package chain

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// idChain is the mode in which every message names the id of the one before it.
// It asks for replies as its Window says.
type idChain struct {
	Window

	wire   *wire
	lastID string // id of the last message published; empty: the next one names the sequence
}

// newIDChain begins a chain behind the tail. A server that has lost the message with
// its last sequence knows no id that the first one could name (stream.go of
// nats-server 2.15, rebuildDedupe), so that one names the sequence.
func newIDChain(w *wire, tail *Tail) *idChain {
	c := &idChain{wire: w, lastID: tail.Last.ID}
	if tail.Sequence > tail.Last.Sequence {
		c.lastID = ""
	}

	return c
}

func (c *idChain) Publish(now time.Time, m *event.Message, dry bool) error {
	msg := event.Encode(c.wire.flow, m, c.lastID)
	if c.lastID == "" {
		msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(c.wire.base, 10))
	}

	number, ask := c.Add(now, msg.Size(), dry)

	if err := c.wire.send(msg, number, ask); err != nil {
		return err
	}

	c.lastID = msg.Header[jetstream.MsgIDHeader][0]

	return nil
}

func (c *idChain) acked(_ time.Time, number uint64) error {
	c.Acked(number)

	return nil
}

// staged implements mode: every message is stored by itself.
func (*idChain) staged(uint64) bool { return false }
