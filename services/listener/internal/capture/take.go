package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// take brings one change into the stream, or counts it as left out.
func (s *session) take(ctx context.Context, change *changestream.Change) error {
	e := change.Event

	skip, err := s.arrive(ctx, change)
	if err != nil {
		return err
	}

	switch {
	case e == nil:
		s.ledger.Idle(change.Token)
	case event.IsInternal(e.Namespace):
		s.ledger.Ignore(e, change.Token)
	default:
		if err := s.takeEvent(ctx, change, skip); err != nil {
			return err
		}
	}

	if s.markerDue(false) {
		return s.sendMarker(ctx, change.Dry)
	}

	return nil
}

// takeEvent publishes an event, or counts it as skipped.
func (s *session) takeEvent(ctx context.Context, change *changestream.Change, skip bool) error {
	e := change.Event

	if !skip {
		taken, err := s.takes(e)
		if err != nil {
			return err
		}

		skip = !taken
	}

	if !skip {
		return s.capture(ctx, e, change)
	}

	if err := s.ledger.Skip(e, change.Token); err != nil {
		return ledgerTrouble(err)
	}

	return failpoint.Error(failpoint.EventSkipped)
}

// capture publishes an event.
func (s *session) capture(ctx context.Context, e *event.Event, change *changestream.Change) error {
	limit, err := event.PartLimit(s.maxPayload, change.Token)
	if err != nil {
		return failed(err, "raise max_payload of the NATS server")
	}

	number := s.ledger.Take
	if s.ddl && routing.IsBarrier(e) {
		number = s.ledger.Barrier
	}

	messages, err := number(e, change.Token, limit)
	if err != nil {
		return ledgerTrouble(err)
	}

	traceParent := s.traces.begin(ctx, e, messages)
	for i := range messages {
		messages[i].TraceParent = traceParent
		if err := s.send(ctx, &messages[i], change.Dry && i == len(messages)-1); err != nil {
			return err
		}

		if i < len(messages)-1 {
			if err := failpoint.Error(failpoint.PartSent); err != nil {
				return streamTrouble(err, s.options.Flow, true)
			}
		}
	}

	return nil
}

// ledgerTrouble classifies an event that cannot be numbered.
func ledgerTrouble(err error) *interruption {
	if errors.Is(err, chain.ErrHistoryChanged) {
		return &interruption{
			state: HistoryLost, err: err,
			remedy: "check that SOURCE_URI names the deployment that the stream was made from and that it was not restored from a backup; " + acceptGap,
		}
	}

	return failed(err, "the source sent an event that this version does not understand")
}

// send waits for room in the window and publishes.
func (s *session) send(ctx context.Context, m *event.Message, dry bool) error {
	for s.publisher.Full() {
		if err := s.awaitReply(ctx); err != nil {
			return err
		}
	}

	s.lastPublish = s.options.Clock.Time()

	if err := s.publisher.Publish(s.lastPublish, m, dry); err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	s.traces.sent++

	if err := failpoint.Error(failpoint.PublishSent); err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	if s.room.take(m) {
		s.ledger.RequestMarker()
	}

	return nil
}

// awaitReply takes in one reply, or fails when none comes.
func (s *session) awaitReply(ctx context.Context) error {
	timer := time.NewTimer(chain.AckTimeout)
	defer timer.Stop()

	select {
	case reply := <-s.publisher.Replies():
		return s.handle(reply)
	case <-timer.C:
		return s.timedOut()
	case <-s.disconnected:
		return streamTrouble(nats.ErrDisconnected, s.options.Flow, true)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handle takes in a reply of the server, and what it proves.
func (s *session) handle(reply *nats.Msg) error {
	if err := s.publisher.Handle(reply); err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	if err := failpoint.Error(failpoint.PublishAcked); err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	unproven, _ := s.publisher.Outstanding()
	s.traces.stored(s.traces.sent - unproven)

	return nil
}

func (s *session) timedOut() error {
	return streamTrouble(fmt.Errorf("%w: no reply to a publish within %s", chain.ErrBroken, chain.AckTimeout), s.options.Flow, true)
}
