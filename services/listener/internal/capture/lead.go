package capture

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// standbyCheck is how often a standby makes sure that it could take over.
const standbyCheck = 10 * time.Second

// errBeaten says that another listener has taken the stream's tail in our term.
var errBeaten = &interruption{state: Standby, err: errors.New("another listener has published to this flow; takes over when that one stops")}

// holder names this process in the lease's key: for people, and with the writer's
// number, which no other process has and which every message carries.
func (c *Capture) holder() string {
	return strings.TrimSpace(fmt.Sprintf("%s writer=%d", c.options.Holder, c.writer))
}

// lead runs one session while this listener is the active one. Until it is, it
// stands by, and returns from time to time, without an error, to look whether it
// still could lead. Its results are those of session; the end of a term is no
// error.
func (c *Capture) lead(ctx context.Context) (streamed bool, err error) {
	if !c.leader.Leads(ctx) {
		c.board.update(func(s *Status) { s.Term = 0 })

		if err := c.standBy(ctx); err != nil || !c.leader.Leads(ctx) {
			return false, err
		}

		c.lastTail = nil // who wrote before this term has not beaten us
	}

	term, end, revision := c.leader.Term(ctx)
	defer end()

	c.board.update(func(s *Status) { s.Term = revision })

	began := time.Now()
	streamed, err = c.session(term)

	if term.Err() != nil && ctx.Err() == nil {
		// Whoever has the lease now resumes from the tail; what is still on its
		// way from here is refused by the chain, or was first.
		c.board.update(func(s *Status) { s.Term = 0 })
		c.setState(Standby, "the lease has ended: "+context.Cause(term).Error())

		return streamed, nil
	}

	worked := time.Duration(0)
	if streamed {
		worked = time.Since(began)
	}

	c.concede(ctx, err, worked)

	return streamed, err
}

// concede gives the lease up where another listener should have it.
func (c *Capture) concede(ctx context.Context, err error, worked time.Duration) {
	var trouble *interruption
	if ctx.Err() != nil || !errors.As(err, &trouble) {
		return
	}

	switch {
	case trouble.terminal(), errors.Is(err, errBeaten):
		c.leader.StandBack(ctx)
	case trouble.state == Stalled:
		c.leader.Starved(ctx, worked)
	}

	if !c.leader.Leads(ctx) {
		c.board.update(func(s *Status) { s.Term, s.WindowMessages, s.WindowBytes = 0, 0, 0 })
	}
}

// standBy waits for the lease for a while. Only a listener that could stream asks
// for it, and stands by: one that cannot reach stream or source says that instead,
// and leaves the lease to others.
func (c *Capture) standBy(ctx context.Context) error {
	// Another listener may be publishing: it is no trouble that the end does not stand still.
	stream, tail, err := c.openTail(ctx, chain.Glance)
	if err != nil {
		return err
	}

	if err := c.sourceAnswers(ctx, stream); err != nil {
		return err
	}

	err = c.leader.Await(ctx, standbyCheck, func(why string) {
		c.setState(Standby, why)
		c.board.update(func(s *Status) {
			s.Total, s.Skipped, s.Position = tail.Last.Event, tail.Last.Skipped, tail.Last.Position
			s.WindowMessages, s.WindowBytes = 0, 0
		})
	})

	switch {
	case errors.Is(err, topology.ErrNoBucket), errors.Is(err, topology.ErrConfigDiffers):
		return &interruption{
			state: Waiting, err: fmt.Errorf("no listener can become the active one: %w", err),
			remedy: fmt.Sprintf("relayctl flow init (FLOW=%s) makes the bucket again and changes nothing else", c.options.Flow),
		}
	case err != nil:
		return streamTrouble(err, c.options.Flow, true)
	default:
		return nil
	}
}

// sourceAnswers checks the source thoroughly once, and later that it is there.
func (c *Capture) sourceAnswers(ctx context.Context, stream *topology.Stream) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	if !c.checked {
		return c.checkSource(ctx, stream)
	}

	if _, err := mongodb.SayHello(ctx, c.source); err != nil {
		return sourceTrouble(err)
	}

	return nil
}
