package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/origin"
)

// trackOrigins returns what tells the changes of the flows that the stream skips.
// Writes to capped collections are in no transaction and would echo, and so would
// schema changes: such a stream has none, and refuses those collections (checkSource,
// refuseUnroutable).
func (c *Capture) trackOrigins(ctx context.Context, stream *topology.Stream, tail *chain.Tail) (*origin.Tracker, error) {
	if asked := slices.Sorted(slices.Values(c.options.SkipOrigins)); len(asked) > 0 &&
		!slices.Equal(asked, slices.Sorted(slices.Values(stream.SkipOrigins))) {
		return nil, failed(
			fmt.Errorf("SKIP_ORIGINS is %q, stream %s was made with %q", strings.Join(asked, ","), stream.Name(), strings.Join(stream.SkipOrigins, ",")),
			"unset SKIP_ORIGINS to take the stream's; only relayctl flow delete and a fresh copy change it",
		)
	}

	// checkSource has made sure that the source is still the stream's.
	if len(stream.SkipOrigins) > 0 && mongodb.IsSharded(stream.Source) {
		return nil, failed(
			fmt.Errorf("stream %s skips the changes of %s, and the source is a sharded cluster, whose change stream does not tell whose a change is",
				stream.Name(), strings.Join(stream.SkipOrigins, ",")),
			"start over with relayctl flow delete and relayctl flow init without SKIP_ORIGINS; two-way flows need replica sets",
		)
	}

	after, open := tail.Last.ResumeToken, openAt(tail)
	if point := c.rewindTo; point != nil {
		after, open = point.Token, nil // no checkpoint stands in a skipped transaction
	}

	tracker := origin.NewTracker(stream.SkipOrigins, after, open)

	if len(stream.SkipOrigins) > 0 {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()

		sessions, err := checkpoint.LoadSessions(ctx, c.source, stream.SkipOrigins)
		if err != nil {
			return nil, sourceTrouble(err)
		}

		tracker.Know(sessions)
	}

	return tracker, nil
}

// openAt returns the skipped transaction that the tail stands in. Only a marker
// can: nothing of such a transaction is published.
func openAt(tail *chain.Tail) *origin.Transaction {
	open := tail.Marker.GetOpenTransaction()
	if tail.Last.Kind != event.KindMarker || open == nil {
		return nil
	}

	return &origin.Transaction{LSID: open.GetLsid(), Number: open.GetTxnNumber(), Flow: open.GetOriginFlow()}
}

// arrive tells whether the change is to be skipped for its origin. It publishes
// the marker that has waited for the end of a skipped transaction.
func (s *session) arrive(ctx context.Context, change *changestream.Change) (skip bool, err error) {
	if change.Event == nil {
		s.origins.Idle(change.Token)

		return false, nil
	}

	if s.origins.Leaves(change.Event) && s.ledger.MarkerDue(s.idle(s.options.Clock.Time())) {
		if err := s.sendMarker(ctx, true); err != nil {
			return false, err
		}
	}

	return s.origins.Arrive(change.Event, change.Token), nil
}

// markerDue is chain.Ledger.MarkerDue outside of skipped transactions: no token
// of the stream may lie within one, see package origin.
func (s *session) markerDue(idle bool) bool {
	return !s.origins.Within() && s.ledger.MarkerDue(idle)
}

// idle tells whether so long nothing was published that a marker is wanted.
func (s *session) idle(now time.Time) bool {
	quiet := now.Sub(s.lastPublish)

	return quiet >= s.options.MarkerIdle || s.unasked() && quiet >= proveAfter
}

// unasked tells whether messages wait for their proof and no reply is to come: a marker asks for one.
func (s *session) unasked() bool {
	unproven, _ := s.publisher.Outstanding()
	_, asked := s.publisher.Deadline()

	return unproven > 0 && !asked
}

func (s *session) openTransaction() *relayv1.OpenTransaction {
	open := s.origins.Open()
	if open == nil {
		return nil
	}

	return &relayv1.OpenTransaction{Lsid: open.LSID, TxnNumber: open.Number, OriginFlow: open.Flow}
}
